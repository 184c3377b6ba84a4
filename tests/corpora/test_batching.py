import numpy as np
import pytest
import soundfile

from turbo_kit import InputError, Utterance
from turbo_kit.corpora.batching import bucketed_batches, ordered_batches
from turbo_kit.corpora.decoding import check_audio, decode, decode_all


def clip(path, id="one"):
    return Utterance(id, path, "text", None, "speaker")


def test_stereo_is_mixed_and_resampled_to_16_khz(tmp_path):
    seconds = np.arange(8000 * 2) / 8000
    tone = 0.5 * np.sin(2 * np.pi * 440 * seconds)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, np.zeros_like(tone)], axis=1), 8000)
    samples = decode(clip(tmp_path / "a.wav"))
    assert (samples.dtype, samples.shape) == (np.float32, (32000,))
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(32000) / 16000)
    assert np.abs(samples - expected)[1000:-1000].max() < 0.01


def test_long_clips_are_cut_and_counted(tmp_path, caplog):
    soundfile.write(tmp_path / "a.wav", np.full(32000, 0.1), 16000)
    (samples,) = decode_all([clip(tmp_path / "a.wav")], max_seconds=0.5)
    assert len(samples) == 8000
    assert "1 clips reached max_seconds = 0.5" in caplog.text


@pytest.fixture
def broken(tmp_path):
    """A clip for each way of being unusable."""
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan, 0.1]), 16000, subtype="FLOAT")
    (tmp_path / "noise.wav").write_bytes(b"this is no audio file")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.wav", r"missing.wav \(utterance 'one'\): no such audio file"),
        ("noise.wav", r"noise.wav \(utterance 'one'\): the audio cannot be decoded"),
        ("empty.wav", "0 samples"),
        ("nan.wav", "NaN"),
    ],
)
def test_a_clip_that_cannot_be_used_is_named(broken, name, message):
    with pytest.raises(InputError, match=message):
        decode(clip(broken / name))


def test_a_check_names_every_broken_clip(broken):
    with pytest.raises(InputError, match=r"(?s)empty.wav.*nan.wav"):
        check_audio([clip(broken / "empty.wav"), clip(broken / "nan.wav")])


def test_batches_hold_each_clip_at_most_once_and_follow_seed_and_epoch():
    lengths = np.random.default_rng(0).integers(10, 100, size=101)
    batches = bucketed_batches(lengths, 8, seed=0, epoch=1)
    assert [len(batch) for batch in batches] == [8] * 12
    assert len(np.unique(np.concatenate(batches))) == 96
    again, next_epoch, other = (bucketed_batches(lengths, 8, seed=s, epoch=e) for s, e in ((0, 1), (0, 2), (1, 1)))
    assert np.array_equal(np.concatenate(batches), np.concatenate(again))
    assert not np.array_equal(np.concatenate(batches), np.concatenate(next_epoch))
    assert not np.array_equal(np.concatenate(batches), np.concatenate(other))


def lengths_like_iemocap(clips):
    """Frames of so many clips, log-normal from 0.6 to 34 s with a mean of 4.5 s."""
    seconds = 4.5 * np.random.default_rng(0).lognormal(-(0.65**2) / 2, 0.65, size=2 * clips)
    return np.round(50 * seconds[(seconds > 0.6) & (seconds < 34)][:clips])


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_little_is_padded_at_the_lengths_of_iemocap(size):
    lengths = lengths_like_iemocap(4300)
    batches = bucketed_batches(lengths, size, seed=0, epoch=0)
    padded = sum(size * lengths[batch].max() for batch in batches)
    assert 1 - lengths[np.concatenate(batches)].sum() / padded < 0.08


@pytest.mark.parametrize("clips", [240, 4300])
def test_most_neighbours_in_a_batch_change_from_epoch_to_epoch(clips):
    one, next_one = (bucketed_batches(lengths_like_iemocap(clips), 16, seed=0, epoch=epoch) for epoch in (1, 2))
    number = np.full(clips, -1)
    for index, batch in enumerate(one):
        number[batch] = index
    again = [np.sum(number[batch] == number[clip]) - 1 for batch in next_one for clip in batch]
    assert np.mean(again) / 15 < 0.4


def test_no_clip_is_left_out_of_every_epoch():
    seen = np.concatenate([b for epoch in range(8) for b in bucketed_batches(range(20), 8, seed=0, epoch=epoch)])
    assert len(np.unique(seen)) == 20


def test_fewer_clips_than_a_batch_make_one_batch():
    assert [len(batch) for batch in bucketed_batches([5, 6, 7], 8, seed=0, epoch=0)] == [3]


def test_inference_takes_every_clip_once_longest_first():
    batches = ordered_batches([3, 9, 1, 7, 5], 2)
    assert [batch.tolist() for batch in batches] == [[1, 3], [4, 0], [2]]
