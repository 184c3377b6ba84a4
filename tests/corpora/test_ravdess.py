"""RAVDESS in its true layout: all 24 actors, since what is missing is told."""

import shutil
from collections import Counter

import pytest
from layouts import assert_told, write_ravdess, write_tone

from turbo_kit import InputError, load_corpus


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_ravdess(tmp_path_factory.mktemp("ravdess"))


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "RAVDESS")


def test_what_a_file_name_says_is_read(whole):
    corpus = load_corpus(f"ravdess:{whole}", strict=True)
    assert len(corpus) == 1440
    for kind in ("label", "speaker"):  # this folder is whole
        found = Counter(getattr(u, kind) for u in corpus.utterances)
        assert all(corpus.published[name] == count for name, count in found.items())
    assert "neutral 96 of 96, calm 192 of 192" in corpus.about and "transcript cannot carry the label" in corpus.about
    clip = {u.id: u for u in corpus.utterances}["03-01-06-01-02-01-12"]
    assert (clip.label, clip.speaker, clip.text) == ("fearful", "12", "Dogs are sitting by the door.")
    assert clip.extra == {"emotion": "fearful", "intensity": "normal", "repetition": 1.0, "sex": "female"}


def test_seven_classes_count_calm_as_neutral(whole):
    corpus = load_corpus(f"ravdess:{whole}?classes=7")
    labels = [u.label for u in corpus.utterances]
    assert len(corpus.classes) == 7 and labels.count("neutral") == corpus.published["neutral"] == 288
    assert [u.extra["emotion"] for u in corpus.utterances].count("calm") == 192


def test_folds_keep_actors_apart(whole):
    fold = load_corpus(f"ravdess:{whole}").fold(0)
    speakers = [{u.speaker for u in part.utterances} for part in (fold.train, fold.dev, fold.test)]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 24


def move(folder, name, new):
    (folder / name).rename(folder / new)


@pytest.mark.parametrize(
    ("change", "said", "less"),
    [
        (lambda f: (f / "Actor_05/03-01-06-01-02-01-05.wav").unlink(), "there is no ", 1),
        (lambda f: (f / "Actor_05/03-01-06-01-02-01-05.wav").write_bytes(b"RIFF"), "05.wav holds no sound", 1),
        (
            lambda f: move(f, "Actor_05/03-01-06-01-02-01-05.wav", "Actor_05/03-01-09-01-02-01-05.wav"),
            "05.wav: not named",
            1,
        ),
        (
            lambda f: move(f, "Actor_05/03-01-06-01-02-01-05.wav", "Actor_05/03-01-06-01-02-01-06.wav"),
            "06.wav: not named",
            1,
        ),
        (lambda f: write_tone(f / "Actor_05/03-01-01-02-02-01-05.wav"), "03-01-01-02-02-01-05.wav: not named", 0),
        (lambda f: shutil.rmtree(f / "Actor_07"), "Actor_07: this actor is missing", 60),
    ],
)
def test_what_cannot_be_used_is_told_and_left_out(folder, caplog, change, said, less):
    change(folder)
    assert_told(f"ravdess:{folder}", said, 1440 - less, caplog)


def test_songs_and_hidden_files_are_not_speech(folder):
    write_tone(folder / "Actor_05/03-02-06-01-02-01-05.wav")
    (folder / "Actor_05/._03-01-06-01-02-01-05.wav").write_bytes(b"what macOS leaves")
    assert len(load_corpus(f"ravdess:{folder}", strict=True)) == 1440


@pytest.mark.parametrize(
    ("name", "said"),
    [("ravdess:{whole}/Actor_01", r"CC BY-NC-SA 4\.0(.|\n)*curl"), ("ravdess:{whole}?classes=6", "7 .* or 8 classes")],
)
def test_what_cannot_be_read_says_why(whole, name, said):
    with pytest.raises(InputError, match=said):
        load_corpus(name.format(whole=whole))
