import json
from threading import Event

import numpy as np
import pytest

from turbo_kit import InputError, Utterance
from turbo_kit.config import EncoderConfig
from turbo_kit.corpora.decoding import decode, decode_all
from turbo_kit.encoders import build_encoder
from turbo_kit.encoders import feature_cache as cache_module
from turbo_kit.encoders.feature_cache import FeatureStore, trunk_features


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TURBO_KIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def encoder():
    return build_encoder("demo", "audio")


@pytest.fixture
def computed(monkeypatch):
    """Counts the clips that the trunk is run on."""
    counts = []
    original = cache_module._computed

    def counting(encoder, wanted, *rest):
        counts.append(len(wanted))
        return original(encoder, wanted, *rest)

    monkeypatch.setattr(cache_module, "_computed", counting)
    return counts


def test_features_are_what_the_trunk_gives_and_batches_are_padded_with_zeros(own_cache, encoder, tones_corpus):
    clips = tones_corpus.utterances[:5]
    features = trunk_features(encoder, clips, 30.0)
    assert features.lengths == [len(item) for item in features.items]
    for clip, item in zip(clips, features.items, strict=True):
        np.testing.assert_array_equal(item, encoder.trunk([decode(clip)]).sequence[0].numpy())
    hidden = features.batch([3, 0])
    assert hidden.mask.sum(dim=1).tolist() == [features.lengths[3], features.lengths[0]]
    assert hidden.sequence[~hidden.mask].abs().sum() == 0
    np.testing.assert_array_equal(hidden.sequence[1][hidden.mask[1]].numpy(), features.items[0])


def test_all_hidden_states_are_kept_as_the_last_one_is(own_cache, encoder, tones_corpus, computed):
    clips = tones_corpus.utterances[:3]
    mixing = build_encoder("demo", "audio", EncoderConfig(layer_mix=True))
    last = trunk_features(encoder, clips, 30.0)
    for _ in range(2):
        features = trunk_features(mixing, clips, 30.0)
    assert computed == [3, 3] and features.lengths == last.lengths
    batch, expected = features.batch([2, 0]), last.batch([2, 0])
    assert batch.sequence.shape == (*expected.mask.shape, 3, 384)
    np.testing.assert_array_equal(batch.sequence[:, :, -1], expected.sequence)
    np.testing.assert_array_equal(batch.mask, expected.mask)


def test_each_clip_is_computed_once_by_its_content(own_cache, encoder, tones_corpus, computed, tmp_path):
    clips = tones_corpus.utterances[:4]
    first = trunk_features(encoder, clips, 30.0)
    copy = tmp_path / "copy.wav"
    copy.write_bytes(clips[0].path.read_bytes())
    again = trunk_features(encoder, [Utterance("copied", copy, "other", None, "s"), *clips], 30.0)
    assert computed == [4]
    np.testing.assert_array_equal(again.items[0], first.items[0])
    trunk_features(encoder, clips, 0.25)  # cut elsewhere: other features
    trunk_features(encoder, tones_corpus.utterances[3:6], 30.0)
    assert computed == [4, 4, 2]


def test_the_next_shard_is_decoded_while_one_is_computed(own_cache, encoder, tones_corpus, monkeypatch):
    clips = tones_corpus.utterances[:5]
    expected = [encoder.trunk([decode(clip)]).sequence[0].numpy() for clip in clips]
    begun = [Event() for _ in range(3)]
    parts, compute = iter(begun), cache_module._computed

    def decoded(utterances, max_seconds):
        next(parts).set()
        return decode_all(utterances, max_seconds)

    def patient(encoder, keys, *rest):
        """Computes a shard of two once the next one has been begun."""
        seen.append((len(keys), [event.wait(5 if event in begun[: len(seen) + 2] else 0) for event in begun]))
        return compute(encoder, keys, *rest)

    seen = []
    monkeypatch.setattr(cache_module, "SHARD", 2)
    monkeypatch.setattr(cache_module, "decode_all", decoded)
    monkeypatch.setattr(cache_module, "_computed", patient)
    for item, own in zip(trunk_features(encoder, clips, 30.0).items, expected, strict=True):
        np.testing.assert_array_equal(item, own)
    assert seen == [(2, [True, True, False]), (2, [True, True, True]), (1, [True, True, True])]


def test_another_encoder_never_reads_these_features(own_cache, encoder, tones_corpus, computed):
    shallow = build_encoder("demo", "audio", depth=1)
    deep_items = trunk_features(encoder, tones_corpus.utterances[:2], 30.0).items
    shallow_items = trunk_features(shallow, tones_corpus.utterances[:2], 30.0).items
    assert computed == [2, 2]
    assert not np.allclose(deep_items[0], shallow_items[0])


@pytest.mark.parametrize("damage", ["array", "index", "other index"])
def test_damaged_features_are_computed_again(own_cache, encoder, tones_corpus, computed, caplog, damage):
    clips = tones_corpus.utterances[:3]
    before = trunk_features(encoder, clips, 30.0).items
    before = [np.array(item) for item in before]
    (file,) = own_cache.rglob("*.npy" if damage == "array" else "*.json")
    if damage == "other index":
        lengths = json.loads(file.read_text())
        file.write_text(json.dumps({key: length - 1 for key, length in lengths.items()}))
    else:
        file.write_bytes(file.read_bytes()[:-40])
    after = trunk_features(encoder, clips, 30.0).items
    assert computed == [3, 3]
    assert "damaged features" in caplog.text
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_shard_that_was_not_finished_does_not_count(tmp_path):
    store = FeatureStore(tmp_path)
    store.add({"a": np.ones((3, 2), np.float32)})
    (index,) = tmp_path.glob("*.json")
    index.unlink()  # as if the process had been killed between the array and its index
    later = FeatureStore(tmp_path)
    later.refresh()
    assert "a" not in later


def test_what_another_process_added_is_found(tmp_path):
    one, other = FeatureStore(tmp_path), FeatureStore(tmp_path)
    one.refresh()
    other.add({"a": np.arange(6.0).reshape(3, 2)})
    assert "a" not in one
    one.refresh()
    np.testing.assert_array_equal(one["a"], np.arange(6.0).reshape(3, 2))


def test_a_broken_clip_is_named_and_leaves_no_features(own_cache, encoder, tones_corpus, tmp_path):
    broken = Utterance("broken", tmp_path / "broken.wav", "text", None, "s")
    broken.path.write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"broken\.wav"):
        trunk_features(encoder, [*tones_corpus.utterances[:2], broken], 30.0)
    assert not list(own_cache.rglob("*.npy"))
