"""The waveform and the mel spectrogram of clips, and simple acoustic measures of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.corpora import Utterance
from turbo_kit.corpora.decoding import SAMPLE_RATE, decode
from turbo_kit.figures.style import MUTED, OKABE_ITO, drawing, wrap_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEL_BINS = 80
WINDOW, HOP = 400, 160
"""Samples: windows of 25 ms, 10 ms apart, as Whisper takes them."""
FLOOR, STEP = 60.0, 6.0
"""Decibels below the loudest cell of all clips at which the shading ends, and between its shades: as fine as an eye
tells them apart, and half the size in a notebook."""
PITCH_RANGE = (70, 400)
"""Hz: between these F0 is looked for, in windows of 50 ms that repeat themselves to at least the share `VOICED`."""
PITCH_WINDOW, VOICED, OCTAVE_COST = 800, 0.6, 0.02


def waveform_and_mel(clips: Mapping[str, Utterance]) -> "Figure":
    """The waveform of each clip and, below it, its mel spectrogram, one column a clip, all on the same axes and shades.

    Args:
        clips: by the name above the column.

    Raises:
        InputError: no clip, or one that cannot be decoded.
    """
    if not clips:
        raise InputError("no clip to draw: give at least one.")
    samples = {name: decode(clip) for name, clip in clips.items()}
    seconds = max(map(len, samples.values())) / SAMPLE_RATE
    mels = {name: log_mel(wave) for name, wave in samples.items()}
    highest = max(float(np.abs(wave).max()) for wave in samples.values())
    loudest = max(float(mel.max()) for mel in mels.values())
    with drawing(max(4.2, 2.05 * len(clips)), 3.7) as figure:
        grid = figure.subplots(2, len(clips), sharex=True, sharey="row", squeeze=False, height_ratios=(2, 3))
        for (above, below), (name, wave) in zip(grid.T, samples.items(), strict=True):
            above.plot(np.arange(len(wave)) / SAMPLE_RATE, wave, color=OKABE_ITO[0], linewidth=0.5)
            above.set_title(wrap_name(name))
            above.set_ylim(-1.05 * highest, 1.05 * highest)
            _draw_mel(below, mels[name], loudest)
            below.set_xlim(0, seconds)
            below.set_xlabel("seconds")
        grid[0, 0].set_ylabel("amplitude")
        grid[1, 0].set_ylabel("frequency, kHz")
        return figure


def log_mel(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """(80, T) power in mel bands, in decibels, every 10 ms: a Hann window, and HTK's triangles, as in torchaudio."""
    padded = np.pad(np.asarray(wave, dtype=np.float64), WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1])) ** 2
    decibels: NDArray[np.float64] = 10 * np.log10(np.maximum(power @ _mel_filters(), 1e-10)).T
    return decibels


def clip_measures(clips: Sequence[Utterance]) -> pd.DataFrame:
    """Loudness, pitch and speaking rate, one row a clip.

    Returns:
        `id`, `speaker`, `label`, `seconds`, `level` (RMS, dB below full scale), `pitch` (median F0 where there is a
        voice, Hz) and `words_per_second`.
    """
    rows = []
    for clip in clips:
        wave = decode(clip)
        seconds = len(wave) / SAMPLE_RATE
        level = 10 * np.log10(max(float(np.mean(np.square(wave, dtype=np.float64))), 1e-10))
        facts = {"id": clip.id, "speaker": clip.speaker, "label": clip.label, "seconds": seconds}
        pace = len(clip.text.split()) / seconds
        rows.append(facts | {"level": level, "pitch": _median_pitch(wave), "words_per_second": pace})
    return pd.DataFrame(rows)


def _median_pitch(wave: NDArray[np.float32]) -> float:
    """Median F0 in Hz of the louder half of the clip, where it is voiced; NaN where it is not.

    The highest peak of the autocorrelation, divided by that of the window, with a small cost for each octave
    down, since two periods fit as well as one (P. Boersma, IFA Proceedings 17, 1993).
    """
    shortest, longest = SAMPLE_RATE // PITCH_RANGE[1], SAMPLE_RATE // PITCH_RANGE[0]
    padded = np.pad(np.asarray(wave, dtype=np.float64), (0, PITCH_WINDOW))
    shape = np.hanning(PITCH_WINDOW)
    frames = np.lib.stride_tricks.sliding_window_view(padded, PITCH_WINDOW)[::HOP] * shape
    own, power = _autocorrelation(shape[None])[0], _autocorrelation(frames)
    alike = power / np.maximum(power[:, :1], 1e-12) / (own / own[0])
    peaks = alike[:, shortest:longest]
    voiced = (peaks.max(axis=1) > VOICED) & (power[:, 0] >= np.median(power[:, 0]))
    cost = OCTAVE_COST * np.log2(np.arange(shortest, longest) / shortest)
    periods = shortest + (peaks[voiced] - cost).argmax(axis=1)
    return float(np.median(SAMPLE_RATE / periods)) if voiced.any() else float("nan")


def _autocorrelation(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F, lags) of (F, samples), for lags up to the longest period that F0 is looked for."""
    spectrum = np.abs(np.fft.rfft(frames, 2 * frames.shape[1])) ** 2
    return np.fft.irfft(spectrum)[:, : SAMPLE_RATE // PITCH_RANGE[0]]


def _draw_mel(axes: "Axes", mel: NDArray[np.float64], loudest: float) -> None:
    edges = np.arange(mel.shape[1] + 1) * HOP / SAMPLE_RATE
    bands = np.linspace(0, _mel(SAMPLE_RATE / 2), MEL_BINS + 1)
    shading: Any = {"cmap": "cividis", "vmin": loudest - FLOOR, "vmax": loudest, "rasterized": True}
    axes.pcolormesh(edges, bands, STEP * np.floor(mel / STEP), **shading)
    kilohertz = (0.5, 1, 2, 4, 8)
    axes.set_yticks([_mel(1000 * value) for value in kilohertz], [f"{value:g}" for value in kilohertz])
    axes.spines[:].set_color(MUTED)


def _mel(hertz: float) -> float:
    """The mel scale of HTK, torchaudio's default."""
    return 2595 * float(np.log10(1 + hertz / 700))


def _mel_filters() -> NDArray[np.float64]:
    """(WINDOW // 2 + 1, MEL_BINS) triangles that overlap by half, evenly spread over the mel scale, of height 1."""
    bins = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    edges = 700 * (10 ** (np.linspace(0, _mel(SAMPLE_RATE / 2), MEL_BINS + 2) / 2595) - 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins[:, None] - low) / (middle - low), (high - bins[:, None]) / (high - middle)
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None))
