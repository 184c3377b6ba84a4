"""Sound files that are odd or broken: each is decoded to finite samples of a sane length, or refused by its name.

A long run by hand: TURBO_KIT_EXAMPLES=10000 pytest --timeout=0 tests/test_hostile_audio.py -k mutated
"""

import io
import logging
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hostile import examples, spliced
from hypothesis import given
from hypothesis import strategies as st

from turbo_kit import Corpus, InputError, Utterance, evaluate, train
from turbo_kit.corpora import decoding
from turbo_kit.corpora.corpus import Fold
from turbo_kit.corpora.decoding import SAMPLE_RATE, decode, decode_all, read_audio


def clip(path: Path) -> Utterance:
    return Utterance("odd", path, "text", None, "speaker")


def tone(seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


def encoded(samples: np.ndarray, rate: int = SAMPLE_RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=format)
    return file.getvalue()


def assert_sane(samples: np.ndarray, most: float) -> None:
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert 1 <= len(samples) <= most
    assert np.isfinite(samples).all()


# --- odd, and sound ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_usual_rate_keeps_the_tone_and_its_length(tmp_path: Path, rate: int, channels: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(0.5, rate)] * channels, axis=1), rate)
    samples = decode(clip(tmp_path / "a.wav"))
    assert len(samples) == SAMPLE_RATE // 2
    assert np.abs(samples - tone(0.5))[800:-800].max() < 0.01


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"])
def test_every_usual_coding_of_samples_is_read(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5), SAMPLE_RATE, subtype=subtype)
    samples = decode(clip(tmp_path / "a.wav"), max_seconds=0.4)
    assert len(samples) == 6400
    assert np.abs(samples - tone(0.4))[400:].max() < 0.05  # ADPCM has to swing in


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("samples", [[0.5], [0.0], [1.0, -1.0], [0.0] * 100, [2.5] * 100], ids=str)
def test_a_clip_of_a_sample_silence_and_clipping_are_decoded(tmp_path: Path, rate: int, samples: list[float]) -> None:
    soundfile.write(tmp_path / "a.wav", np.array(samples), rate, subtype="FLOAT")
    assert_sane(decode(clip(tmp_path / "a.wav")), most=2 * len(samples) + 1)
    assert_sane(decode(replace(clip(tmp_path / "a.wav"), snr=10.0)), most=2 * len(samples) + 1)


def test_what_is_read_in_blocks_is_what_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 2))
    for name in ("a.wav", "a.flac", "a.ogg"):
        soundfile.write(tmp_path / name, noise, SAMPLE_RATE)
        for seconds in (0.25, 1.0, np.inf):
            whole = decode(clip(tmp_path / name), seconds)
            for block in (1000, 2000, 2500, 10_000):
                monkeypatch.setattr(decoding, "BLOCK", block)
                np.testing.assert_array_equal(decode(clip(tmp_path / name), seconds), whole)
            monkeypatch.undo()


# --- headers that tell of what is not there ------------------------------------------------------------------------


def with_header(content: bytes, **fields: int) -> bytes:
    """A WAV file of 16-bit samples with other numbers in its header."""
    places = {"riff": (4, "I"), "channels": (22, "H"), "rate": (24, "I"), "align": (32, "H"), "bits": (34, "H")}
    changed = bytearray(content)
    for name, value in fields.items():
        place, kind = {**places, "coding": (20, "H"), "data": (40, "I")}[name]
        struct.pack_into(f"<{kind}", changed, place, value)
    return bytes(changed)


def with_stream_info(content: bytes, rate: int, frames: int, channels: int = 1) -> bytes:
    """A FLAC file of 16-bit samples whose first block tells of another rate, length and number of channels."""
    packed = rate << 44 | (channels - 1) << 41 | 15 << 36 | frames
    return content[:18] + packed.to_bytes(8, "big") + content[26:]


WAV, FLAC, OGG = (encoded(tone(0.02), format=format) for format in ("WAV", "FLAC", "OGG"))
HEADERS: dict[str, bytes] = {
    "rate 0": with_header(WAV, rate=0),
    "rate 1": with_header(WAV, rate=1),
    "rate 44,101": with_header(WAV, rate=44_101),
    "rate 2^31": with_header(WAV, rate=2**31),
    "rate 2^32 - 1": with_header(WAV, rate=2**32 - 1),
    "no channels": with_header(WAV, channels=0),
    "255 channels": with_header(WAV, channels=255),
    "255 channels, aligned": with_header(WAV, channels=255, align=510),
    "65,535 channels": with_header(WAV, channels=65_535, align=65_535),
    "2^31 bytes": with_header(WAV, riff=2**31 + 36, data=2**31),
    "2^32 - 1 bytes": with_header(WAV, riff=2**32 - 1, data=2**32 - 1),
    "no bytes": with_header(WAV, riff=36, data=0),
    "24 bits": with_header(WAV, bits=24),
    "no bits": with_header(WAV, bits=0),
    "no such coding": with_header(WAV, coding=0x7777),
    "as floats": with_header(WAV, coding=3, bits=32, align=4),
    "FLAC of 2^36 - 1 frames": with_stream_info(FLAC, SAMPLE_RATE, 2**36 - 1),
    "FLAC of 2^31 frames, 8 channels": with_stream_info(FLAC, 655_350, 2**31, 8),
    "FLAC of rate 0": with_stream_info(FLAC, 0, 320),
    "header cut": WAV[:30],
    "header alone": WAV[:44],
    "half a sample": WAV[:45],
    "one sample": WAV[:46],
    "FLAC cut": FLAC[: len(FLAC) // 2],
    "FLAC header alone": FLAC[:42],
    "Ogg cut": OGG[: len(OGG) // 2],
    "nothing": b"",
    "a text": b"this is no sound\n" * 100,
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a web page": b"<!DOCTYPE html><html>" + b" " * 1000,
    "zeros": b"\0" * 1000,
}


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.raw", "a"])
def test_a_header_that_lies_is_seen_through_or_refused_by_name(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HEADERS[kind])
    tracemalloc.start()
    try:
        for seconds in (30.0, np.inf):
            try:
                assert_sane(decode(clip(path), seconds), most=16 * len(HEADERS[kind]))
            except InputError as error:
                assert f"{path} (utterance 'odd'): " in str(error)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["rate 1", "rate 44,101", "rate 2^31", "FLAC of rate 0", "header alone", "a text"])
def test_such_a_file_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.wav").write_bytes(HEADERS[kind])
    with pytest.raises(InputError, match=r"a\.wav \(utterance 'odd'\): "):
        read_audio(clip(tmp_path / "a.wav"))  # as a check of the corpus does


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 3e38])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_no_sound_are_refused(tmp_path: Path, value: float, channels: int) -> None:
    samples = np.full((100, channels), 0.1)
    samples[50] = value
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=r"a\.wav \(utterance 'odd'\): the clip holds (NaN or infinite )?samples"):
        decode(clip(tmp_path / "a.wav"))


@pytest.mark.parametrize("name", ["nul\0.wav", "n" * 300, "\ud800.wav", "", "folder"])
def test_a_path_that_can_be_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="no such audio file"):
        decode(clip(tmp_path / name))


# --- mutated files -------------------------------------------------------------------------------------------------

SOUNDS = {
    "16 bits": WAV,
    "24 bits, stereo": encoded(np.stack([tone(0.01)] * 2, axis=1), 44_100, subtype="PCM_24"),
    "floats": encoded(tone(0.01), 8_000, subtype="FLOAT"),
    "ADPCM": encoded(tone(0.05), 8_000, subtype="IMA_ADPCM"),
    "FLAC": FLAC,
    "FLAC, stereo": encoded(np.stack([tone(0.02)] * 2, axis=1), 48_000, "FLAC", "PCM_24"),
    "Ogg": OGG,
}
PIECES = st.one_of(
    st.binary(min_size=1, max_size=4),
    st.sampled_from(
        [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\x3e\0\0", b"data", b"fmt ", b"OggS"]
    ),
    st.integers(0, 2**32 - 1).map(lambda number: struct.pack("<I", number)),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sound file with a few bits or bytes changed, the first hundred bytes more often; cut; or grown onto another."""
    content = draw(st.sampled_from(sorted(SOUNDS.items())))[1]
    kind = draw(st.sampled_from(["bits", "head", "splice", "cut", "joined"]))
    if kind == "bits":
        changed = bytearray(content)
        for bit in draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=8)):
            changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)
    if kind == "head":
        return draw(spliced(content[:100], PIECES)) + content[100:]
    if kind == "splice":
        return draw(spliced(content, PIECES, most=6))
    cut = content[: draw(st.integers(0, len(content)))]
    if kind == "cut":
        return cut
    other = draw(st.sampled_from(sorted(SOUNDS.items())))[1]
    return cut + other[draw(st.integers(0, len(other))) :]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated") / "odd.wav"


@examples(200)
@given(content=mutated())
def test_a_mutated_file_is_decoded_or_refused_by_name(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    for seconds in (30.0, np.inf):
        try:
            assert_sane(decode(clip(place), seconds), most=30 * SAMPLE_RATE)
        except InputError as error:
            assert f"{place} (utterance 'odd'): " in str(error)


# --- down the line -------------------------------------------------------------------------------------------------


def with_sound(corpus: Corpus, **paths: Path) -> Corpus:
    return corpus.subset(replace(u, path=paths.get(u.id, u.path)) for u in corpus.utterances)


@pytest.fixture(scope="module")
def odd_sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Silence, a clip of ten minutes, one with clipping, one that is short, and one of a single sample."""
    folder = tmp_path_factory.mktemp("sounds")
    sounds = {
        "silent": (np.zeros(8000), 16_000),
        "silent-too": (np.zeros(9000), 16_000),
        "long": (np.tile(tone(1, 8000), 600), 8000),
        "long-too": (np.tile(0.9 * tone(1, 8000), 601), 8000),
        "clipped": (np.clip(4 * tone(1), -1, 1), 16_000),
        "short": (tone(0.03), 16_000),
        "sample": (tone(1)[:1], 16_000),
    }
    for name, (samples, rate) in sounds.items():
        soundfile.write(folder / f"{name}.wav", samples, rate)
    return {name: folder / f"{name}.wav" for name in sounds}


def test_silent_clipped_short_and_long_clips_go_all_the_way(
    quick: Callable[..., Any], tones_corpus: Corpus, odd_sounds: dict[str, Path], tmp_path: Path, caplog: Any
) -> None:
    fold = tones_corpus.fold(0)
    ids = {name: [u.id for u in getattr(fold, name).utterances] for name in ("train", "dev", "test")}
    training = dict(zip(ids["train"], (odd_sounds[n] for n in ("silent", "clipped", "short", "long")), strict=False))
    test = dict(zip(ids["test"], (odd_sounds[name] for name in ("silent-too", "long-too")), strict=False))
    fold = Fold(with_sound(fold.train, **training), fold.dev, with_sound(fold.test, **test))
    run = train(quick(epochs=1), fold.train, fold.dev, tmp_path)
    assert "1 clips reached max_seconds = 30 and were cut there" in caplog.text
    assert 0 <= evaluate(run, fold.test)["UA"] <= 1
    assert len(run.predictions("test")) == len(fold.test)
    assert all(np.isfinite(array).all() for array in run.embeddings("test").values())

    caplog.clear()
    first = fold.test.utterances[:2]
    found = run.model().predict([u.path for u in first], [u.text for u in first])
    expected = run.predictions("test")[list(found.columns[1:])].to_numpy()[:2]
    np.testing.assert_allclose(found.to_numpy()[:, 1:].astype(float), expected, atol=1e-5)
    assert "1 clips reached max_seconds = 30 and were cut there" in caplog.text
    with pytest.raises(InputError, match=r"sample\.wav: found 1 samples"):
        run.model().predict([first[0].path, odd_sounds["sample"]], ["one", "two"])
    with pytest.raises(InputError, match=r"'.ud800': found half of a surrogate pair"):
        run.model().predict([first[0].path], ["\ud800"])


def test_a_clip_of_one_sample_is_refused_by_name_and_leaves_no_run(
    quick: Callable[..., Any], tones_corpus: Corpus, odd_sounds: dict[str, Path], tmp_path: Path
) -> None:
    fold = tones_corpus.fold(0)
    odd = fold.train.utterances[5].id
    with pytest.raises(InputError, match=rf"sample\.wav \(utterance '{odd}'\): found 1 samples .*leave the clip out"):
        train(quick(), with_sound(fold.train, **{odd: odd_sounds["sample"]}), fold.dev, tmp_path)
    assert not list(tmp_path.iterdir())


def test_all_clips_that_are_cut_are_counted(odd_sounds: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lengths = [len(samples) for samples in decode_all(map(clip, odd_sounds.values()), max_seconds=30.0)]
    assert lengths == [8000, 9000, 480_000, 480_000, 16_000, 480, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "2 clips reached max_seconds = 30 and were cut there."
    ]
