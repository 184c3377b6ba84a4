"""The embedded corpus is what its datasheet says."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from turbo_kit import load_corpus
from turbo_kit.corpora.decoding import decode


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("demo-emotion")


def test_1440_clips_of_16_voices_with_balanced_classes(corpus):
    assert len(corpus) == 1440
    assert set(Counter(u.speaker for u in corpus.utterances).values()) == {90}
    assert set(Counter((u.group, u.label) for u in corpus.utterances).values()) == {90}
    assert len({u.speaker for u in corpus.utterances}) == 16
    assert "Synthetic speech" in corpus.about


def test_clips_are_16_khz_mono_opus_of_at_most_18_mb_together(corpus):
    for u in corpus.utterances[::15]:
        info = soundfile.info(u.path)
        assert (info.samplerate, info.channels, info.format, info.subtype) == (16000, 1, "OGG", "OPUS")
        samples = decode(u)
        assert len(samples) / 16000 == pytest.approx(u.seconds, abs=0.01)
        assert 0.001 < np.sqrt((samples**2).mean()) < 0.5
        assert np.abs(samples).max() <= 1.0
    paths = [u.path for u in corpus.utterances]
    assert sum(path.stat().st_size for path in paths) <= 18_000_000
    assert {path.name for path in Path(paths[0]).parent.iterdir()} == {path.name for path in paths}


def test_sound_follows_the_label_on_average(corpus):
    """Angry and happy are louder than neutral, sad is quieter: the rule that made the clips can be heard."""
    level = {label: [] for label in corpus.classes}
    for u in corpus.utterances[::6]:
        level[u.label].append(20 * np.log10(np.sqrt((decode(u) ** 2).mean())))
    mean = {label: np.mean(values) for label, values in level.items()}
    assert min(mean["angry"], mean["happy"]) > mean["neutral"] + 1 > mean["sad"] + 2
