"""IEMOCAP in its true layout, small: real (tiny) sound, the odd lines and files that the distribution has."""

import pytest
from layouts import assert_told, edit, write_iemocap, write_iemocap_dialogue, write_tone
from torchaudio.datasets import IEMOCAP

from turbo_kit import InputError, load_corpus
from turbo_kit.cli import main
from turbo_kit.corpora.decoding import check_audio

LABELS = ["neu", "hap", "exc", "sad", "ang", "fru", "xxx", "sur"]
SCRIPTED = [("ang", "Cliché, no?"), ("neu", "It’s over…")]


@pytest.fixture
def folder(tmp_path):
    root = write_iemocap(tmp_path, dialogues=1, turns=8, labels=LABELS)
    for number in range(1, 6):
        session, name = root / f"Session{number}", f"Ses0{number}M_script01_1b"
        turns = [(f"{name}_{'FM'[i]}000", label, text) for i, (label, text) in enumerate(SCRIPTED)]
        for turn, _, _ in turns:
            write_tone(session / "sentences" / "wav" / name / f"{turn}.wav", turn)
        write_iemocap_dialogue(session, name, turns)
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
    assert sum(corpus.published.values()) == 5531 and corpus.published["happy"] == 1636
    assert "neu 10 of 1,708" in corpus.about and "exc 5 of 1,041" in corpus.about
    assert check_audio(corpus.utterances) == pytest.approx(35 * 0.05)
    assert "not used: fru 5, sur 5, xxx 5" in corpus.about


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
    assert set(corpus.published) == (set() if "part" in options else set(classes))


def test_a_turn_is_read_whole_and_windows_1252_text_as_it_is_meant(folder):
    turns = {u.id: u for u in load_corpus(f"iemocap:{folder}").utterances}
    turn = turns["Ses02M_script01_1b_F000"]
    assert (turn.text, turn.label, turn.speaker, turn.group) == ("Cliché, no?", "angry", "Session2-F", "Session2")
    assert turn.seconds == 0.05
    assert turn.extra == {"emotion": "ang", "valence": 2.5, "arousal": 3.0, "dominance": 3.5, "part": "scripted"}
    assert turns["Ses02M_script01_1b_M000"].text == "It’s over…"
    assert turns["Ses01F_impro01_F001"].extra["emotion"] == "exc"


def test_the_turns_are_those_that_torchaudio_reads(folder, tmp_path):
    (tmp_path / "IEMOCAP").symlink_to(folder)
    peer = IEMOCAP(tmp_path)
    theirs = {turn: (folder / path, label) for path, _, turn, label, _ in map(peer.get_metadata, range(len(peer)))}
    corpus = load_corpus(f"iemocap:{folder}?classes=6")
    assert {u.id: (u.path, u.extra["emotion"]) for u in corpus.utterances} == theirs


def test_folds_leave_a_session_out_and_develop_on_another(folder):
    corpus = load_corpus(f"iemocap:{folder}")
    assert corpus.folds == 5
    for index in range(5):
        fold = corpus.fold(index)
        groups = [{u.group for u in part.utterances} for part in (fold.train, fold.dev, fold.test)]
        assert [len(group) for group in groups] == [3, 1, 1]
        assert {u.speaker for u in fold.test.utterances} == {f"Session{index + 1}-F", f"Session{index + 1}-M"}


RATINGS = "dialog/EmoEvaluation/Ses03F_impro01.txt"
WORDS = "dialog/transcriptions/Ses03F_impro01.txt"
SOUND = "sentences/wav/Ses03F_impro01/Ses03F_impro01_F000.wav"
TURN = "\tSes03F_impro01_F000\tneu\t[2.5000, 3.0000, 3.5000]"


@pytest.mark.parametrize(
    ("spoil", "left_out", "said"),
    [
        (lambda s: edit(s / RATINGS, TURN, TURN.replace("3.0000", "3,0")), 1, f"{RATINGS}, line 3: not [START - END]"),
        (lambda s: edit(s / RATINGS, "[0.0000 - 0.0500]", "0.0000 - 0.0500]"), 1, f"{RATINGS}, line 3: not [START"),
        (lambda s: edit(s / RATINGS, "\tneu\t", "\tnue\t"), 1, f"{RATINGS}, line 3: label 'nue' is none of IEMOCAP's"),
        (
            lambda s: edit(s / RATINGS, "_M000\t", "_F000\t"),
            1,
            f"{RATINGS}, line 10: id 'Ses03F_impro01_F000' stands in",
        ),
        (lambda s: (s / SOUND).unlink(), 1, f"{RATINGS}, line 3: there is no "),
        (lambda s: (s / SOUND).write_bytes(b"RIFF"), 1, f"{SOUND} holds no sound"),
        (lambda s: edit(s / WORDS, "_F000 [0", "_F000 0"), 1, f"{WORDS}, line 2: not TURN [START-END]: WORDS"),
        (
            lambda s: edit(s / WORDS, "_F000 [", "_F009 ["),
            1,
            f"{RATINGS}, line 3: no words of turn Ses03F_impro01_F000",
        ),
        (lambda s: edit(s / WORDS, "_M000 [", "_F000 ["), 1, f"{WORDS}, line 3: the words of turn Ses03F_impro01_F000"),
        (lambda s: (s / WORDS).unlink(), 5, f"{WORDS}: cannot be read (No such file"),
        (lambda s: (s / RATINGS).unlink(), 5, f"{RATINGS}: missing; this dialogue is transcribed"),
        (lambda s: (s / "dialog" / "EmoEvaluation").rename(s / "gone"), 7, "EmoEvaluation: no file of labels"),
        (lambda s: s.rename(s.parent / "gone"), 7, "Session3: this session is missing"),
    ],
)
def test_what_cannot_be_used_is_told_with_file_and_line_and_left_out(folder, caplog, spoil, left_out, said):
    spoil(folder / "Session3")
    assert_told(f"iemocap:{folder}", said, 35 - left_out, caplog)


def test_what_is_as_distributed_has_no_problem(folder):
    assert load_corpus(f"iemocap:{folder}", strict=True).problems == ()


def test_a_folder_of_which_nothing_is_left_says_what_is_wrong_first(folder):
    for number in range(1, 6):
        (folder / f"Session{number}" / "sentences").rename(folder / f"gone{number}")
    with pytest.raises(InputError, match=r"none of its clips can be used.*\n.*line 3: there is no"):
        load_corpus(f"iemocap:{folder}")


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
