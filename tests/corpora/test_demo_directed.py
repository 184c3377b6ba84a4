"""The embedded corpus of device-directed speech is what its datasheet says."""

import json
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile

from turbo_kit import load_corpus
from turbo_kit.corpora import EMBEDDED
from turbo_kit.corpora.decoding import decode

FOLDER = EMBEDDED["demo-directed"].parent


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("demo-directed")


@pytest.fixture(scope="module")
def design():
    """The generator; to draw its design takes nothing but numpy."""
    sys.path.insert(0, str(FOLDER.parent))
    try:
        import generate_directed
    finally:
        sys.path.remove(str(FOLDER.parent))
    return generate_directed


def test_768_clips_of_16_voices_with_balanced_classes(corpus):
    assert len(corpus) == 768
    assert set(Counter((u.speaker, u.label) for u in corpus.utterances).values()) == {24}
    assert set(Counter((u.group, u.label) for u in corpus.utterances).values()) == {96}
    assert len({u.speaker for u in corpus.utterances}) == 16
    assert "Synthetic speech" in corpus.about


def test_the_positive_class_of_binary_metrics_is_speech_to_a_device(corpus):
    assert corpus.classes == ("human-directed", "device-directed")


def test_the_same_words_go_either_way(corpus):
    """Two thirds of the sentence templates occur in both classes, whole sentences too."""
    of_class = [{u.template for u in corpus.utterances if u.label == label} for label in corpus.classes]
    assert len(of_class[0] & of_class[1]) >= 80  # of 120
    texts = [{u.text for u in corpus.utterances if u.label == label} for label in corpus.classes]
    assert len(texts[0] & texts[1]) >= 60


def test_the_manifest_is_the_design_that_its_generator_draws(design):
    rows = [json.loads(line) for line in (FOLDER / "manifest.jsonl").read_text("utf-8").splitlines()]
    keys = ("id", "text", "label", "speaker", "group", "template")
    assert [tuple(row[k] for k in keys) for row in rows] == [
        tuple(getattr(clip, k) for k in keys) for clip in design.draw_design()
    ]


def test_what_is_drawn_overlaps_between_the_classes(design):
    """No number of the design settles the class: the best threshold on any of them stays below 0.75."""
    clips = design.draw_design()
    directed = np.array([clip.label == "device-directed" for clip in clips])
    for column in np.array([clip.prosody for clip in clips]).T:
        order = np.argsort(column)
        right = np.cumsum(np.where(directed[order], 1, -1)) / len(clips)
        assert np.abs(right).max() + 0.5 < 0.75


def test_babble_comes_from_other_voices_of_the_same_group(design):
    clips = {clip.id: clip for clip in design.draw_design()}
    for clip in clips.values():
        behind = [clips[name] for name in clip.babble]
        assert {other.group for other in behind} == {clip.group}
        assert len({other.speaker for other in behind} - {clip.speaker}) == 3
        assert clip.speaker not in {other.speaker for other in behind}


def test_clips_are_16_khz_mono_opus_of_at_most_10_mb_together(corpus):
    for u in corpus.utterances[::8]:
        info = soundfile.info(u.path)
        assert (info.samplerate, info.channels, info.format, info.subtype) == (16000, 1, "OGG", "OPUS")
        assert len(decode(u)) / 16000 == pytest.approx(u.seconds, abs=0.01)
        assert 0.8 < u.seconds < 4.5
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) <= 10_000_000
    paths = {u.path for u in corpus.utterances}
    assert set((FOLDER / "clips").iterdir()) == paths


@pytest.mark.slow
def test_no_clip_is_silent_or_clipped(corpus):
    for u in corpus.utterances:
        samples, _ = soundfile.read(u.path, dtype="float32")
        assert 0.005 < np.sqrt((samples**2).mean()) < 0.2, u.id
        assert np.abs(samples).max() < 1.0, u.id
