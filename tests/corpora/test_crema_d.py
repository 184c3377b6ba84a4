"""CREMA-D in its true layout, small."""

import pytest
from layouts import assert_told, edit, write_crema_d, write_tone

from turbo_kit import InputError, load_corpus


@pytest.fixture
def folder(tmp_path):
    return write_crema_d(tmp_path)


def test_what_a_file_name_says_is_read(folder):
    corpus = load_corpus(f"crema-d:{folder}", strict=True)
    assert len(corpus) == 6 * 3 * 6
    assert corpus.classes == ("angry", "disgust", "fear", "happy", "neutral", "sad")
    clip = {u.id: u for u in corpus.utterances}["1004_IEO_FEA_HI"]
    assert (clip.label, clip.speaker, clip.text) == ("fear", "1004", "It's eleven o'clock.")
    assert clip.extra == {"level": "high", "age": 24.0, "sex": "female"}
    assert sum(corpus.published.values()) == 7442
    assert "angry 18 of 1,271" in corpus.about and "transcript cannot carry the label" in corpus.about


def test_folds_keep_speakers_apart_and_sentences_too_where_asked(folder):
    corpus = load_corpus(f"crema-d:{folder}")
    fold = corpus.fold(0)
    assert not {u.speaker for u in fold.train.utterances} & {u.speaker for u in fold.test.utterances}
    assert len(fold.repeated_texts("test")) == 3
    assert corpus.fold(0, "speaker-text").repeated_texts("test") == []


@pytest.mark.parametrize(
    ("change", "said", "less"),
    [
        (
            lambda f: (f / "AudioWAV/1001_DFA_ANG_XX.wav").rename(f / "AudioWAV/1001_DFA_ANG.wav"),
            "1001_DFA_ANG.wav: not",
            1,
        ),
        (
            lambda f: (f / "AudioWAV/1001_DFA_ANG_XX.wav").rename(f / "AudioWAV/1001_ABC_ANG_XX.wav"),
            "ABC_ANG_XX.wav: not",
            1,
        ),
        (lambda f: (f / "AudioWAV/1001_DFA_ANG_XX.wav").write_bytes(b""), "1001_DFA_ANG_XX.wav holds no sound", 1),
        (
            lambda f: (f / "AudioWAV/1001_DFA_ANG_XX.wav").write_text(
                "version https://git-lfs.github.com/spec/v1\noid\n"
            ),
            "pointer of Git LFS",
            1,
        ),
        (lambda f: write_tone(f / "AudioWAV/1001_DFA_ANG_X.wav"), "id '1001_DFA_ANG_XX' stands in", 0),
        (lambda f: write_tone(f / "AudioWAV/1076_MTI_SAD_XX.wav"), "1076_MTI_SAD_XX.wav holds no speech", 0),
        (lambda f: edit(f / "VideoDemographics.csv", "1002,22", "1002,?"), "VideoDemographics.csv, line 3: age '?'", 0),
        (
            lambda f: edit(f / "VideoDemographics.csv", '22,"Female",', "22,"),
            "VideoDemographics.csv, line 3: 4 fields",
            0,
        ),
    ],
)
def test_what_cannot_be_used_is_told_and_left_out(folder, caplog, change, said, less):
    change(folder)
    assert_told(f"crema-d:{folder}", said, 108 - less, caplog)


def test_the_file_that_is_named_with_one_x_is_read_and_hidden_files_are_not(folder):
    sounds = folder / "AudioWAV"
    (sounds / "1001_DFA_ANG_XX.wav").rename(sounds / "1001_DFA_ANG_X.wav")
    (sounds / "._1001_DFA_ANG_X.wav").write_bytes(b"what macOS leaves")
    (folder / "VideoDemographics.csv").unlink()
    clip = load_corpus(f"crema-d:{folder}", strict=True).utterances[0]
    assert (clip.id, clip.extra) == ("1001_DFA_ANG_XX", {"level": "unspecified"})


def test_where_it_may_be_had_is_told(folder):
    with pytest.raises(InputError, match=r"Open Database License(.|\n)*git clone"):
        load_corpus(f"crema-d:{folder}/AudioWAV")
