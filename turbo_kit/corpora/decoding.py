"""From utterances to batches: decode and resample audio, and put clips of similar length together."""

import logging
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.corpora.files import is_file
from turbo_kit.corpora.fingerprints import audio_fingerprint
from turbo_kit.corpora.utterance import Utterance

if TYPE_CHECKING:
    from soundfile import SoundFile

SAMPLE_RATE = 16_000
"""Hz; every encoder of the kit hears audio at this rate."""

RATES = range(1000, 1_000_001)  # Hz; a file of another rate holds no speech, or its header is broken
# Resampling takes a table of rate x 16,000 / gcd^2 numbers: 70,560 from 44,100 Hz, and 705,616,000 from 44,101.
LONGEST_FILTER = 2**24
LOUDEST = 2.0**31  # the largest sample of 32 bits not scaled to [-1, 1]; of larger ones encoders make infinities
BLOCK = 2**24  # so many samples, of all channels, are read at once: a header may tell of any number

log = logging.getLogger(__name__)


def decode(utterance: Utterance, max_seconds: float = math.inf) -> NDArray[np.float32]:
    """Reads a clip as mono samples at 16 kHz, cut after `max_seconds`, and lays noise over it where it has an `snr`.

    Returns:
        (samples,) in [-1, 1], as the file says; with noise some may lie beyond.

    Raises:
        InputError: a clip that `read_audio` refuses.
    """
    samples, rate = read_audio(utterance, max_seconds)
    mono = _resample(samples.mean(axis=1), rate)
    return mono if math.isinf(utterance.snr) else _noised(mono, utterance.snr, audio_fingerprint(utterance.path))


def read_audio(utterance: Utterance, max_seconds: float = math.inf) -> tuple[NDArray[np.float32], int]:
    """Reads a clip as it is stored, cut after `max_seconds`.

    Returns:
        (samples, channels) in [-1, 1], as the file says; samples in a second.

    Raises:
        InputError: a missing or broken file, one of a sample rate that is not from 1 kHz to 1 MHz or that cannot be
            resampled, a clip without samples, or one that holds NaN, infinite or huge samples.
    """
    import soundfile

    where = f"{utterance.path} (utterance {utterance.id!r})"
    if not is_file(utterance.path):
        raise InputError(f"{where}: no such audio file. Correct the path, or leave the row out.")
    try:
        with soundfile.SoundFile(utterance.path) as file:
            rate = int(file.samplerate)
            if rate not in RATES or rate * SAMPLE_RATE // math.gcd(rate, SAMPLE_RATE) ** 2 > LONGEST_FILTER:
                raise InputError(f"{where}: {rate} samples a second cannot be resampled. Convert it to 16000.")
            samples = _samples(file, math.inf if math.isinf(max_seconds) else round(max_seconds * rate))
    except (RuntimeError, TypeError, ValueError) as error:  # libsndfile's, of raw samples, of a name, of a stream
        raise InputError(f"{where}: the audio cannot be decoded ({error}). Convert it to WAV, FLAC or Ogg.") from error
    if len(samples) == 0:
        raise InputError(f"{where}: the clip has 0 samples. Leave the row out, or replace the file.")
    if not np.isfinite(samples).all():
        raise InputError(f"{where}: the clip holds NaN or infinite samples. Leave the row out, or replace the file.")
    if np.abs(samples).max() > LOUDEST:
        raise InputError(f"{where}: the clip holds samples beyond {LOUDEST:g}; expected -1 to 1. Replace the file.")
    return samples, rate


def _samples(file: "SoundFile", frames: float) -> NDArray[np.float32]:
    """What is left of a file, and at most so many frames of it: (frames, channels)."""
    blocks: list[NDArray[np.float32]] = []
    most = max(1, BLOCK // file.channels)
    while not blocks or (len(blocks[-1]) == most and frames > 0):
        blocks.append(file.read(int(min(frames, most)), dtype="float32", always_2d=True))
        frames -= len(blocks[-1])
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _resample(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    if rate == SAMPLE_RATE:
        return samples
    import torch
    from torchaudio.functional import resample

    return np.asarray(resample(torch.from_numpy(samples), rate, SAMPLE_RATE), dtype=np.float32)


def _noised(samples: NDArray[np.float32], snr: float, content: str) -> NDArray[np.float32]:
    """White noise over samples, its mean power `snr` dB below theirs; the same content always gets the same noise."""
    noise = np.random.default_rng(int(content, 16)).standard_normal(len(samples), dtype=np.float32)
    power = np.mean(samples**2) / np.mean(noise**2) / 10 ** (snr / 10)
    return np.asarray(samples + noise * np.float32(np.sqrt(power)), dtype=np.float32)


def decode_all(utterances: Iterable[Utterance], max_seconds: float = math.inf) -> Iterator[NDArray[np.float32]]:
    """Decodes clips side by side, gives them in their order, and says once how many were cut at `max_seconds`."""
    cut = 0
    with ThreadPoolExecutor() as pool:
        for samples in pool.map(lambda utterance: decode(utterance, max_seconds), utterances):
            cut += len(samples) >= max_seconds * SAMPLE_RATE
            yield samples
    if cut:
        log.warning("%d clips reached max_seconds = %g and were cut there.", cut, max_seconds)


def check_audio(utterances: Iterable[Utterance]) -> float:
    """Decodes every clip and returns the seconds of all of them.

    Raises:
        InputError: clips that cannot be used, all of them named.
    """
    seconds, problems = 0.0, []
    for utterance in utterances:
        try:
            seconds += len(decode(utterance)) / SAMPLE_RATE
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return seconds
