"""Fluent Speech Commands in its true layout, small."""

import pytest
from layouts import assert_told, edit, write_fluent
from torchaudio.datasets import FluentSpeechCommands

from turbo_kit import InputError, load_corpus


@pytest.fixture
def folder(tmp_path):
    return write_fluent(tmp_path)


def test_official_lists_keep_speakers_apart_and_repeat_sentences(folder):
    corpus = load_corpus(f"fluent-speech-commands:{folder}", strict=True)
    assert corpus.classes == (
        "activate-lights-none",
        "change language-none-none",
        "deactivate-lamp-none",
        "increase-heat-kitchen",
    )
    assert corpus.shared == ()
    assert "train 12 of 23,132, dev 4 of 3,118, test 4 of 3,793" in corpus.about
    fold = corpus.fold(0)
    assert [len(part) for part in (fold.train, fold.dev, fold.test)] == [12, 4, 4]
    assert len(fold.repeated_texts("test")) == 4


def test_utterances_are_those_that_torchaudio_reads(folder):
    utterances = load_corpus(f"fluent-speech-commands:{folder.parent}").utterances
    for name, split in (("train", "train"), ("valid", "dev"), ("test", "test")):
        peer = FluentSpeechCommands(folder.parent, name)
        theirs = []
        for path, _, stem, speaker, text, *slots in map(peer.get_metadata, range(len(peer))):
            theirs.append((folder / path, f"{speaker}/{stem}", speaker, text, "-".join(slots)))
        assert [(u.path, u.id, u.speaker, u.text, u.label) for u in utterances if u.split == split] == theirs


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("action", ("activate", "change language", "deactivate", "increase")),
        ("object", ("heat", "lamp", "lights", "none")),
        ("location", ("kitchen", "none")),
    ],
)
def test_each_slot_is_a_label(folder, labels, classes):
    corpus = load_corpus(f"fluent-speech-commands:{folder}?labels={labels}")
    assert corpus.classes == classes
    assert corpus.utterances[2].extra == {"action": "increase", "object": "heat", "location": "kitchen"}


TRAIN = "data/train_data.csv"
ROW = ",2BqVo8,Turn on the lights,activate,lights,none"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (ROW, ROW.removesuffix(",none"), f"{TRAIN}, line 2: 6 fields, and the header has 7"),
        (ROW, ROW.replace("Turn", '"Turn'), f"{TRAIN}, line 2: not a row of CSV"),
        (ROW, ROW.replace(",activate", ",actvate"), f"{TRAIN}, line 2: action 'actvate': none of"),
        (ROW, ROW.replace("Turn on the lights", ""), f"{TRAIN}, line 2: no transcription"),
        (ROW, ROW.replace("2BqVo8", ""), f"{TRAIN}, line 2: no speakerId"),
        (ROW, ROW.replace("2BqVo8", "5o9BvR"), "is not wavs/speakers/5o9BvR/FILE.wav"),
        ("0,wavs/speakers/", "0,/wavs/speakers/", f"{TRAIN}, line 2: path '/wavs/speakers/2BqVo8/"),
        ("0,wavs/speakers/2BqVo8/", "0,wavs/speakers/2BqVo8/x", f"{TRAIN}, line 2: there is no "),
    ],
)
def test_what_cannot_be_used_is_told_with_file_and_line_and_left_out(folder, caplog, old, new, said):
    edit(folder / TRAIN, old, new)
    assert_told(f"fluent-speech-commands:{folder}", said, 19, caplog)


def test_a_path_that_occurs_twice_and_a_list_that_is_missing_are_told(folder, caplog):
    lines = (folder / TRAIN).read_text().splitlines(keepends=True)
    (folder / "data" / "test_data.csv").write_text("".join([lines[0], lines[2]]))
    assert_told(f"fluent-speech-commands:{folder}", f"line 2: id '{lines[2].split('/')[2]}", 16, caplog)
    (folder / "data" / "test_data.csv").unlink()
    assert_told(f"fluent-speech-commands:{folder}", "test_data.csv: cannot be read", 16, caplog)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fluent-speech-commands:{folder}/wavs", r"Public License(.|\n)*curl"),
        ("fluent-speech-commands:{folder}?labels=acton", "did you mean 'action'"),
    ],
)
def test_what_cannot_be_read_says_why(folder, name, said):
    with pytest.raises(InputError, match=said):
        load_corpus(name.format(folder=folder))
