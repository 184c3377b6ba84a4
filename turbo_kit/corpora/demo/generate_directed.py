"""Makes the clips and the manifest of demo-directed: synthetic speech to a device or to another person, by rule.

Never needed at run time; kokoro.py says which packages it takes, how it is started and how the voices read. A clip is a
reading with its pace and F0 edited, its level made steadier or livelier, heard in a room from near or far, over the
babble of readings of the other three voices of its group. Both classes have all of this; they differ in how much, and
overlap in everything. The whole design (label, sentence, prosody, scene, whose babble) is drawn from one seed before
the first clip is rendered, and a clip's noise comes from its id alone, so that any part of the corpus can be made again
on its own. The design is the same everywhere; samples agree on one machine and version of onnxruntime, and closely
between machines. Clips that exist are kept. About 1 s a clip and core.
"""

import argparse
import hashlib
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from kokoro import GROUPS, KOKORO_RATE, RATE, Clip, Kokoro, trim, write_clip, write_manifest

SEED = 20261124
LABELS = ("human-directed", "device-directed")  # the second is the positive class of binary metrics
POOLS = ("command", "either", "talk")
CLIPS_PER_VOICE = 48
# How often a clip of each class takes a sentence that suits a device, either or a person.
POOL_CHANCES = {
    "human-directed": (0.10, 0.28, 0.62),
    "device-directed": (0.62, 0.28, 0.10),
}
# Mean and standard deviation of F0 level in semitones, F0 range (factor), rate (factor), liveliness of the level (power
# of its course), level in dB, direct sound over room in dB, speech over babble in dB.
NEUTRAL = (0.0, 1.0, 1.0, 1.0, 0.0, 6.0, 20.0)
PROSODY = {
    "human-directed": ((0.2, 1.0), (1.20, 0.35), (1.055, 0.10), (1.18, 0.28), (-1.0, 3.0), (3.0, 5.5), (16.0, 7.0)),
    "device-directed": ((0.0, 1.0), (0.80, 0.30), (0.945, 0.09), (0.82, 0.28), (1.0, 3.0), (9.0, 5.5), (24.0, 7.0)),
}
STRENGTH = (0.3, 1.2)  # how much of the mean change a clip shows
HABIT = (0.8, 0.08, 0.04, 0.08, 1.5, 1.5, 2.0)  # standard deviation of the speakers' habits, same order
LIMITS = ((-4.0, 4.0), (0.35, 2.0), (0.74, 1.35), (0.4, 1.7), (-8.0, 7.0), (-6.0, 18.0), (3.0, 38.0))
LEVEL = -27.0  # dB below full scale
REVERBERATION = (0.25, 0.60)  # seconds until a room's sound has fallen by 60 dB, the same range for both classes
PAUSE = (0.10, 0.40)  # seconds before and after the reading, the same range for both classes
BABBLE_CLIPS, BABBLE_READINGS = 8, 2  # two readings of each of the three others, out of their first eight


@dataclass(frozen=True, slots=True)
class Scene(Clip):
    """One clip as it was designed; prosody has the columns of PROSODY, babble the ids of the readings behind it."""

    babble: tuple[str, ...]


def draw_design(seed: int = SEED) -> list[Scene]:
    """All clips, voice by voice, with no sentence twice in a voice and 24 clips of each class."""
    sentences = tomllib.loads((Path(__file__).parent / "directed_sentences.toml").read_text("utf-8"))
    clips: list[Scene] = []
    voices = [(voice, group) for group, members in GROUPS.items() for voice in members]
    for index, (voice, group) in enumerate(voices):
        rng = np.random.default_rng([seed, index])
        habit = rng.standard_normal(len(HABIT)) * HABIT
        decks = {pool: _deck(sentences[group][pool], sentences, f"{group}-{pool[:3]}", rng) for pool in POOLS}
        labels = rng.permutation([*LABELS] * (CLIPS_PER_VOICE // len(LABELS))).tolist()
        others = [other for other in GROUPS[group] if other != voice]
        for number, label in enumerate(labels, start=1):
            template, text = decks[POOLS[rng.choice(3, p=POOL_CHANCES[label])]].pop()
            prosody = _prosody(label, habit, rng)
            babble = tuple(
                f"{other}-{1 + n:03d}"
                for other in others
                for n in rng.choice(BABBLE_CLIPS, BABBLE_READINGS, replace=False)
            )
            clips.append(Scene(f"{voice}-{number:03d}", text, label, voice, group, template, prosody, babble))
    return clips


def _deck(
    templates: Sequence[str], fillings: Mapping[str, Sequence[str]], prefix: str, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Every (template id, sentence) of a pool, in rounds: each round takes every template that has a sentence left."""
    cards = []
    for number, template in enumerate(templates, start=1):
        gap = next((name for name in fillings if "{" + name + "}" in template), "")
        texts = [template.format(**{gap: filling}) for filling in fillings[gap]] if gap else [template]
        for turn, i in enumerate(rng.permutation(len(texts))):
            cards.append((turn + rng.uniform(), f"{prefix}-{number:02d}", texts[i]))
    return [(template, text) for _, template, text in sorted(cards, reverse=True)]


def _prosody(label: str, habit: np.ndarray, rng: np.random.Generator) -> tuple[float, ...]:
    """The speaker's habit + strength x the class's mean change + the clip's own scatter, within limits."""
    mean, scatter = np.array(PROSODY[label]).T
    values = NEUTRAL + habit + rng.uniform(*STRENGTH) * (mean - NEUTRAL) + scatter * rng.standard_normal(len(scatter))
    return tuple(round(float(v), 4) for v in np.clip(values, *np.array(LIMITS).T))


def liven(samples: np.ndarray, power: float) -> np.ndarray:
    """24 kHz samples whose level, over 0.15 s, runs as a power of its own course: 0.5 halves its range in dB."""
    from scipy import ndimage

    samples = samples.astype(float)
    energy = ndimage.uniform_filter1d(samples**2, int(0.15 * KOKORO_RATE))
    level = np.sqrt(np.maximum(energy, 0.0)) / _rms(samples)  # the running sum may fall below 0 by rounding
    change = np.maximum(level, 10 ** (-20 / 20)) ** (power - 1)
    return samples * np.clip(change, 10 ** (-12 / 20), 10 ** (12 / 20))


def room(samples: np.ndarray, direct: float, rng: np.random.Generator) -> np.ndarray:
    """16 kHz samples as heard in a room: themselves and, `direct` dB below, decaying noise that they set off."""
    from scipy import signal

    seconds = rng.uniform(*REVERBERATION)
    time = np.arange(int(seconds * RATE)) / RATE
    tail = signal.lfilter(
        *signal.butter(1, 4000 / (RATE / 2)), rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    )
    tail = np.concatenate([np.zeros(RATE // 200), tail])  # the first wall is 0.85 m away
    echo = signal.fftconvolve(samples, tail)[: len(samples)]
    return samples + echo / _rms(echo) * _rms(samples) * 10 ** (-direct / 20)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt((samples**2).mean()))


class Studio:
    """Reads and mixes; readings are kept, since each serves its own clip and the babble of others."""

    def __init__(self, scratch: Path, voices: Path, clips: Sequence[Scene]) -> None:
        self._kokoro = Kokoro(scratch, voices)
        self._readings = scratch / "readings"
        self._readings.mkdir(exist_ok=True)
        self._clips = {clip.id: clip for clip in clips}

    def reading(self, clip: Scene) -> np.ndarray:
        """24 kHz samples of the clip's sentence with its rate and F0, before anything else."""
        shift, span, rate = clip.prosody[:3]
        words = f"{clip.speaker} {clip.text} {clip.prosody[:3]}"
        path = self._readings / f"{hashlib.sha256(words.encode()).hexdigest()[:24]}.npy"
        if not path.exists():
            samples = trim(self._kokoro.read(clip.text, clip.speaker, shift, span, 0.0, rate))
            part = path.with_name(f"{path.stem}-{clip.id}.part.npy")
            np.save(part, samples)
            part.replace(path)
        return np.asarray(np.load(path))

    def mix(self, clip: Scene, rng: np.random.Generator) -> np.ndarray:
        """16 kHz samples of the clip: the reading in its room, over babble that begins and ends with the clip."""
        from scipy import signal

        power, gain, direct, over_babble = clip.prosody[3:]
        near = signal.resample_poly(liven(self.reading(clip), power), RATE, KOKORO_RATE)
        pauses = [int(rng.uniform(*PAUSE) * RATE) for _ in range(2)]
        near = room(np.pad(near, pauses), direct, rng)
        near *= 10 ** ((LEVEL + gain) / 20) / _rms(near)
        babble = np.zeros(len(near))
        for name in clip.babble:
            voice = signal.resample_poly(self.reading(self._clips[name]), RATE, KOKORO_RATE)
            start = rng.integers(len(voice))
            babble += np.resize(np.roll(voice / _rms(voice), -start), len(near))
        babble = room(babble, 0.0, rng)
        return near + babble * (_rms(near) / _rms(babble) * 10 ** (-over_babble / 20))


_studio: Studio  # one for each process


def _start(scratch: Path, voices: Path, clips: Sequence[Scene]) -> None:
    global _studio
    _studio = Studio(scratch, voices, clips)


def render(clip: Scene, folder: Path, seed: int) -> None:
    """Writes one clip unless it exists."""
    path = folder / f"{clip.id}.ogg"
    if path.exists():
        return
    rng = np.random.default_rng([seed, zlib.crc32(clip.id.encode())])
    write_clip(_studio.mix(clip, rng), path, rng)


def main() -> None:
    """Renders what is missing, then writes the manifest."""
    parser = argparse.ArgumentParser(description="Make the clips and the manifest of demo-directed.")
    parser.add_argument("--voices", type=Path, required=True, help="folder of Kokoro's voices (NAME.bin)")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for model and readings (300 MB)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "directed", help="folder of the corpus")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--clips", type=int, default=CLIPS_PER_VOICE, help="clips a voice: fewer for a pilot")
    parser.add_argument("--seed", type=int, default=SEED, help="another one for a pilot, whose clips the corpus lacks")
    args = parser.parse_args()

    design = draw_design(args.seed)
    clips = [clip for clip in design if int(clip.id[-3:]) <= args.clips]
    Kokoro.build(args.scratch)
    (args.out / "clips").mkdir(parents=True, exist_ok=True)
    start = (args.scratch, args.voices, design)
    with ProcessPoolExecutor(args.processes, initializer=_start, initargs=start) as pool:
        list(pool.map(partial(render, folder=args.out / "clips", seed=args.seed), clips))
    write_manifest(clips, args.out)


if __name__ == "__main__":
    main()
