"""MELD in its true layout, small: Windows-1252 text, broken rows, clips without sound."""

import os
import subprocess

import pytest
from layouts import MELD_ROWS, assert_told, edit, write_meld, write_tone

from turbo_kit import InputError, load_corpus
from turbo_kit.corpora.meld import extract_command

TRAIN = "train/train_sent_emo.csv"
CLIPS = "train/train_splits"


@pytest.fixture
def folder(tmp_path):
    return write_meld(tmp_path)


def test_official_lists_share_speakers_as_the_corpus_says(folder):
    corpus = load_corpus(f"meld:{folder}", strict=True)
    assert corpus.classes == ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
    assert sum(corpus.published[name] for name in corpus.classes) == sum(
        corpus.published[name] for name in ("train", "dev", "test")
    )
    assert "train 7 of 9,989" in corpus.about and "fear 3 of 358" in corpus.about
    fold = corpus.fold(0)
    assert [[u.id.split("-")[0] for u in part.utterances] for part in (fold.train, fold.dev, fold.test)] == [
        ["train"] * 7,
        ["dev"] * 7,
        ["test"] * 7,
    ]
    assert "Rachel" in {u.speaker for u in fold.train.utterances} & {u.speaker for u in fold.test.utterances}


def test_one_recording_in_two_lists_is_still_an_error(folder):
    copy = folder / "output_repeated_splits_test" / "dia0_utt2.wav"
    copy.write_bytes((folder / CLIPS / "dia1_utt0.wav").read_bytes())
    with pytest.raises(InputError, match=r"one recording \(audio\).*'train-dia1_utt0'.*'test-dia0_utt2'"):
        load_corpus(f"meld:{folder}").fold(0)


def test_an_utterance_is_read_whole_in_any_encoding(folder):
    utterances = {u.id: u for u in load_corpus(f"meld:{folder}").utterances}
    for name in ("train", "test"):  # Windows-1252, UTF-8
        assert utterances[f"{name}-dia0_utt0"].text == "I told you, it’s “over”…"
        assert utterances[f"{name}-dia1_utt2"].text == 'He said "eat it", and it was blue.'
    one = utterances["dev-dia1_utt0"]
    assert (one.label, one.speaker, one.split) == ("joy", "The Waiter", "dev")
    assert one.extra == {
        "emotion": "joy",
        "sentiment": "positive",
        "dialogue": "dev-dia1",
        "season": "8",
        "episode": "21",
    }


def test_control_characters_in_utf_8_are_the_punctuation_that_they_were(folder):
    (folder / TRAIN).write_bytes((folder / TRAIN).read_bytes().decode("latin-1").encode("utf-8"))
    assert load_corpus(f"meld:{folder}").utterances[0].text == "I told you, it’s “over”…"


def test_sentiment_is_another_label(folder):
    corpus = load_corpus(f"meld:{folder}?labels=sentiment")
    assert corpus.classes == ("neutral", "positive", "negative")
    assert [u.label for u in corpus.utterances[:4]] == ["negative", "positive", "neutral", "negative"]


ROW = '2,"Oh my God!",Joey,surprise,positive,0,1,8,21,"00:16:01,059","00:16:02,731"'


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda f: edit(f / TRAIN, ROW, ROW.replace(",Joey", "")),
            f"{TRAIN}, line 3: 10 fields, and the header has 11",
        ),
        (lambda f: edit(f / TRAIN, ROW, ROW.replace('God!"', "God!")), f"{TRAIN}, line 3: not a row of CSV"),
        (lambda f: edit(f / TRAIN, ROW, ROW.replace("surprise", "suprise")), f"{TRAIN}, line 3: emotion 'suprise'"),
        (lambda f: edit(f / TRAIN, ROW, ROW.replace("Oh my God!", " ")), f"{TRAIN}, line 3: dia0_utt1 has no words"),
        (lambda f: edit(f / TRAIN, ROW, ROW.replace("Joey", "")), f"{TRAIN}, line 3: dia0_utt1 has no speaker"),
        (
            lambda f: edit(f / TRAIN, ROW, ROW.replace("0,1,8", "0,0,8")),
            f"{TRAIN}, line 3: id 'train-dia0_utt0' stands in",
        ),
        (
            lambda f: edit(f / TRAIN, ROW, ROW.replace("0,1,8", "0,one,8")),
            f"{TRAIN}, line 3: dialogue '0', utterance 'one'",
        ),
        (lambda f: (f / CLIPS / "dia0_utt1.wav").unlink(), f"{TRAIN}, line 3: there is no "),
        (lambda f: (f / CLIPS / "dia0_utt1.wav").write_bytes(b"RIFF"), f"{CLIPS}/dia0_utt1.wav holds no sound"),
    ],
)
def test_what_cannot_be_used_is_told_with_file_and_line_and_left_out(folder, caplog, spoil, said):
    spoil(folder)
    assert_told(f"meld:{folder}", said, 3 * len(MELD_ROWS) - 1, caplog)


def test_a_list_that_cannot_be_read_leaves_the_others(folder, caplog):
    table = folder / "dev_sent_emo.csv"
    edit(table, "Utterance,", "Words,")
    assert_told(f"meld:{folder}", f"{table}, line 1: no column 'Utterance'", 14, caplog)
    table.unlink()
    assert_told(f"meld:{folder}", "no dev_sent_emo.csv", 14, caplog)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_over_several_lines_is_one_row_and_lines_are_counted_on(folder, caplog, end):
    edit(folder / TRAIN, "Oh my God!", f"Oh my{end}God!")
    edit(folder / TRAIN, "neutral,neutral,0,2", "neutrall,neutral,0,2")
    assert_told(f"meld:{folder}", f"{TRAIN}, line 5: emotion 'neutrall'", 20, caplog)
    corpus = load_corpus(f"meld:{folder}")
    assert (corpus.utterances[1].text, len(corpus.problems)) == ("Oh my\nGod!", 1)


def test_the_clip_that_is_known_to_be_broken_is_told_as_such(folder, caplog):
    edit(folder / TRAIN, "positive,0,1,", "positive,125,3,")
    assert_told(f"meld:{folder}", "issues/39", 20, caplog)


def test_without_sound_the_command_that_extracts_it_is_told_and_does(folder, tmp_path, monkeypatch):
    for sound in folder.rglob("*.wav"):
        sound.unlink()
    (folder / CLIPS / "._dia0_utt0.mp4").write_bytes(b"what macOS leaves")
    with pytest.raises(InputError) as error:
        load_corpus(f"meld:{folder}")
    command = extract_command(folder)
    assert command in str(error.value)
    # a stand-in for ffmpeg, which writes a sound of its own to its last argument
    write_tone(tmp_path / "tone.wav")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "ffmpeg").write_text(f'#!/bin/sh\nfor last; do :; done\ncp {tmp_path}/tone.wav "$last"\n')
    (bin_folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    subprocess.run(["sh", "-c", command], check=True)
    assert len(load_corpus(f"meld:{folder}", strict=True)) == 21
    assert not (folder / CLIPS / "._dia0_utt0.wav").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("meld:{folder}/train/train_splits", "curl -LO http"),
        ("meld:{folder}?labels=emotions", "did you mean 'emotion'"),
    ],
)
def test_what_cannot_be_read_says_why(folder, name, said):
    with pytest.raises(InputError, match=said):
        load_corpus(name.format(folder=folder))
