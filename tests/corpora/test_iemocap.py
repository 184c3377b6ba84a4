"""IEMOCAP in its true layout, small: real (tiny) sound, the odd lines and files that the distribution has."""

import logging
import zlib

import numpy as np
import pytest
import soundfile

from turbo_kit import InputError, load_corpus
from turbo_kit.batches import check_audio
from turbo_kit.cli import main

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
TURNS = [("neu", "Excuse me."), ("hap", "Really?"), ("exc", "I got it!"), ("sad", "He left."), ("ang", "Get out!")]
OTHERS = [("fru", "Not again."), ("xxx", "Well."), ("sur", "Oh!")]


def write_dialogue(session, name, labels):
    """One dialogue: ratings, transcript and a sound file a turn."""
    ratings, words = [HEADER], ["M: (breathing)\n"]
    for number, (label, text) in enumerate(labels):
        turn = f"{name}_{'FM'[number % 2]}{number:03d}"
        start, end = 2.0 * number, 2.0 * number + 1.5
        ratings.append(
            f"[{start:.4f} - {end:.4f}]\t{turn}\t{label}\t[2.5000, 3.0000, 3.5000]\n"
            "C-E2:\tNeutral;\t()\nC-F1:\tNeutral; Other;\t(curious)\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
        )
        words.append(f"{turn} [{start:08.4f}-{end:08.4f}]: {text}\n")
        sound = session / "sentences" / "wav" / name / f"{turn}.wav"
        sound.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(sound, 0.1 * np.sin(np.arange(800) / 9 + zlib.crc32(turn.encode())), 16000)
    words.append(f"{name}_MXX0 [099.0000-099.5000]: Mm.\n")
    for folder, content in (("EmoEvaluation", ratings), ("transcriptions", words)):
        file = session / "dialog" / folder / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(
            "".join(content).replace("\n", "\r\n" if folder == "transcriptions" else "\n").encode("latin-1")
        )


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "IEMOCAP_full_release"
    for number in range(1, 6):
        session = root / f"Session{number}"
        write_dialogue(session, f"Ses0{number}F_impro01", TURNS + OTHERS)
        write_dialogue(session, f"Ses0{number}M_script01_1b", [("ang", "Cliché, no?"), ("neu", "Yes.")])
        evaluation = session / "dialog" / "EmoEvaluation"
        (evaluation / f"._Ses0{number}F_impro01.txt").write_bytes(b"\x00\x05\x16\x07")
        (evaluation / "Categorical").mkdir()
        (evaluation / "Categorical" / f"Ses0{number}F_impro01_e1_cat.txt").write_text(
            "Ses01F_impro01_F000 :Neutral; ()"
        )
    return root


def test_four_classes_merge_happy_and_excited_and_leave_other_labels_out(folder):
    corpus = load_corpus(f"iemocap:{folder}")
    assert corpus.classes == ("neutral", "happy", "sad", "angry")
    labels = [u.label for u in corpus.utterances]
    assert {label: labels.count(label) for label in corpus.classes} == {
        "neutral": 10,
        "happy": 10,
        "sad": 5,
        "angry": 10,
    }
    assert "neu 10 of 1,708" in corpus.about and "exc 5 of 1,041" in corpus.about
    assert check_audio(corpus.utterances) == pytest.approx(35 * 0.05)


@pytest.mark.parametrize(
    ("options", "classes", "clips"),
    [
        ("classes=5", ("neutral", "happy", "sad", "angry", "frustrated"), 40),
        ("classes=6", ("neutral", "happy", "excited", "sad", "angry", "frustrated"), 40),
        ("part=improvised", ("neutral", "happy", "sad", "angry"), 25),
        ("classes=5&part=scripted", ("neutral", "happy", "sad", "angry", "frustrated"), 10),
    ],
)
def test_other_classes_and_parts(folder, options, classes, clips):
    corpus = load_corpus(f"iemocap:{folder}?{options}")
    assert (corpus.classes, len(corpus)) == (classes, clips)


def test_a_turn_is_read_whole(folder):
    turn = {u.id: u for u in load_corpus(f"iemocap:{folder}").utterances}["Ses02M_script01_1b_F000"]
    assert (turn.text, turn.label, turn.speaker, turn.group) == ("Cliché, no?", "angry", "Session2-F", "Session2")
    assert turn.seconds == 1.5
    assert turn.extra == {"valence": 2.5, "arousal": 3.0, "dominance": 3.5, "part": "scripted"}


def test_folds_leave_a_session_out_and_develop_on_another(folder):
    corpus = load_corpus(f"iemocap:{folder}")
    assert corpus.folds == 5
    for index in range(5):
        fold = corpus.fold(index)
        groups = [{u.group for u in part.utterances} for part in (fold.train, fold.dev, fold.test)]
        assert [len(group) for group in groups] == [3, 1, 1]
        assert {u.speaker for u in fold.test.utterances} == {f"Session{index + 1}-F", f"Session{index + 1}-M"}


def test_what_is_missing_is_named(folder, caplog):
    sound = folder / "Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_M001.wav"
    sound.rename(sound.with_suffix(".gone"))
    with pytest.raises(InputError, match=r"Ses03F_impro01_M001\.wav: no sound of the labelled turn"):
        load_corpus(f"iemocap:{folder}")
    sound.with_suffix(".gone").rename(sound)
    words = folder / "Session4/dialog/transcriptions/Ses04F_impro01.txt"
    words.write_text(words.read_text().replace("Ses04F_impro01_F000 ", "F: "))
    with pytest.raises(InputError, match=r"Ses04F_impro01\.txt: no words of the labelled turn Ses04F_impro01_F000"):
        load_corpus(f"iemocap:{folder}")
    words.unlink()
    with pytest.raises(InputError, match=r"Ses04F_impro01\.txt: cannot be read"):
        load_corpus(f"iemocap:{folder}")
    (folder / "Session4").rename(folder / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert load_corpus(f"iemocap:{folder}").folds == 4
    assert "holds 4 of the 5 sessions" in caplog.text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("iemocap:", "lacks its path"),
        ("iemocap:{folder}/Session1", "no Session1 to Session5 in it"),
        ("iemocap:{folder}?classes=7", "4, 5 or 6 classes"),
        ("iemocap:{folder}?part=impro", "all, improvised, scripted"),
        ("iemocap:{folder}?clases=5", "did you mean 'classes'"),
    ],
)
def test_what_cannot_be_read_says_why(folder, name, said):
    with pytest.raises(InputError, match=said):
        load_corpus(name.format(folder=folder))


def test_check_tells_counts_beside_the_published_ones(folder, capsys):
    main(["corpus", "check", f"iemocap:{folder}"])
    said = capsys.readouterr().out
    assert "sad 5 of 1,084" in said and "35 clips" in said and "10 speakers: good" in said
