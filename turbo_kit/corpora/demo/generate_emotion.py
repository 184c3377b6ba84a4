"""Makes the clips and the manifest of demo-emotion: synthetic speech whose prosody is edited by rule.

Never needed at run time; kokoro.py says which packages it takes, how it is started and how the voices read. F0 is
edited by rule on the way, level and spectral tilt are set afterwards. The whole design (label, sentence, prosody) is
drawn from one seed before the first clip is rendered, and a clip's noise comes from its id alone, so that any part of
the corpus can be made again on its own. The design is the same everywhere; samples agree on one machine and version of
onnxruntime, and closely between machines. Clips that exist are kept. About 1 s a clip and core.
"""

import argparse
import tomllib
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from kokoro import GROUPS, KOKORO_RATE, RATE, Clip, Kokoro, trim, write_clip, write_manifest

SEED = 20261122
LABELS = ("angry", "happy", "neutral", "sad")
POOLS = ("positive", "negative", "ambiguous")
CLIPS_PER_VOICE = 90
# Text carries valence: how often a clip of each class takes a positive, a negative and an ambiguous sentence.
POOL_CHANCES = {
    "angry": (0.04, 0.80, 0.16),
    "happy": (0.80, 0.04, 0.16),
    "neutral": (0.12, 0.12, 0.76),
    "sad": (0.04, 0.80, 0.16),
}
# Audio carries arousal: change from the speaker's own habit (mean, standard deviation) of F0 level in semitones, F0
# range (factor), F0 slope in semitones a second, rate (factor), level in dB, tilt in dB above 1 kHz.
NEUTRAL = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0)
PROSODY = {
    "angry": ((2.3, 1.3), (1.42, 0.25), (-0.8, 0.8), (1.09, 0.07), (4.5, 2.0), (3.4, 1.4)),
    "happy": ((2.6, 1.2), (1.45, 0.25), (0.5, 0.8), (1.05, 0.06), (3.5, 2.0), (2.4, 1.4)),
    "neutral": ((0.0, 0.8), (0.90, 0.12), (-0.5, 0.5), (1.00, 0.05), (0.0, 2.0), (0.0, 1.2)),
    "sad": ((-1.5, 1.0), (0.64, 0.14), (-1.0, 0.6), (0.88, 0.05), (-3.5, 2.0), (-3.2, 1.3)),
}
STRENGTH = (0.45, 1.15)  # how much of the mean change a clip shows: people do not always overact
HABIT = (0.8, 0.08, 0.3, 0.04, 1.5, 1.0)  # standard deviation of the speakers' habits, same order
LIMITS = ((-6.0, 7.0), (0.35, 2.2), (-3.0, 3.0), (0.72, 1.35), (-9.0, 9.0), (-7.0, 7.0))
LEVEL = -27.0  # dB below full scale


def draw_design(seed: int = SEED) -> list[Clip]:
    """All clips, voice by voice, with every (voice, template, noun) used at most once and 360 clips a class."""
    sentences = tomllib.loads((Path(__file__).parent / "emotion_sentences.toml").read_text("utf-8"))
    clips: list[Clip] = []
    voices = [(voice, group) for group, members in GROUPS.items() for voice in members]
    for index, (voice, group) in enumerate(voices):
        rng = np.random.default_rng([seed, index])
        habit = rng.standard_normal(len(HABIT)) * HABIT
        decks = {pool: _deck(sentences[group][pool], sentences["nouns"], f"{group}-{pool[:3]}", rng) for pool in POOLS}
        for number, label in enumerate(_labels(index, rng), start=1):
            template, text = decks[POOLS[rng.choice(3, p=POOL_CHANCES[label])]].pop()
            clips.append(
                Clip(f"{voice}-{number:03d}", text, label, voice, group, template, _prosody(label, habit, rng))
            )
    return clips


def _deck(
    templates: Sequence[str], nouns: Sequence[str], prefix: str, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Every (template id, sentence) of a pool, shuffled."""
    cards = [(f"{prefix}-{i:02d}", t.format(noun=n)) for i, t in enumerate(templates, start=1) for n in nouns]
    return [cards[i] for i in rng.permutation(len(cards))]


def _labels(voice: int, rng: np.random.Generator) -> list[str]:
    """90 labels in random order: 22 a class, and two classes once more, in turn: 90 a class over four voices."""
    each, rest = divmod(CLIPS_PER_VOICE, len(LABELS))
    labels = [*LABELS] * each + [LABELS[(rest * voice + i) % len(LABELS)] for i in range(rest)]
    return [labels[i] for i in rng.permutation(len(labels))]


def _prosody(label: str, habit: np.ndarray, rng: np.random.Generator) -> tuple[float, ...]:
    """The speaker's habit + strength x the class's mean change + the clip's own scatter, within limits."""
    mean, scatter = np.array(PROSODY[label]).T
    values = NEUTRAL + habit + rng.uniform(*STRENGTH) * (mean - NEUTRAL) + scatter * rng.standard_normal(len(scatter))
    return tuple(round(float(v), 4) for v in np.clip(values, *np.array(LIMITS).T))


def finish(samples: np.ndarray, gain: float, tilt: float) -> np.ndarray:
    """24 kHz samples -> 16 kHz: pauses at the ends cut, tilt and level set."""
    from scipy import signal

    samples = trim(samples)
    b, a = signal.butter(1, 1000 / (KOKORO_RATE / 2))
    low = signal.lfilter(b, a, samples)
    samples = signal.resample_poly(low + (samples - low) * 10 ** (tilt / 20), RATE, KOKORO_RATE)
    return np.asarray(samples / np.sqrt((samples**2).mean()) * 10 ** ((LEVEL + gain) / 20))


_kokoro: Kokoro  # one for each process


def _start(scratch: Path, voices: Path) -> None:
    global _kokoro
    _kokoro = Kokoro(scratch, voices)


def render(clip: Clip, path: Path) -> None:
    """Writes one clip unless it exists."""
    if path.exists():
        return
    samples = finish(_kokoro.read(clip.text, clip.speaker, *clip.prosody[:4]), *clip.prosody[4:])
    write_clip(samples, path, np.random.default_rng([SEED, zlib.crc32(clip.id.encode())]))


def main() -> None:
    """Renders what is missing, then writes the manifest."""
    parser = argparse.ArgumentParser(description="Make the clips and the manifest of demo-emotion.")
    parser.add_argument("--voices", type=Path, required=True, help="folder of Kokoro's voices (NAME.bin)")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the model's two halves (170 MB)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "emotion", help="folder of the corpus")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--clips", type=int, default=CLIPS_PER_VOICE, help="clips a voice: fewer for a pilot")
    args = parser.parse_args()

    clips = [clip for clip in draw_design() if int(clip.id[-3:]) <= args.clips]
    Kokoro.build(args.scratch)
    (args.out / "clips").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.processes, initializer=_start, initargs=(args.scratch, args.voices)) as pool:
        list(pool.map(render, clips, [args.out / "clips" / f"{clip.id}.ogg" for clip in clips]))
    write_manifest(clips, args.out)


if __name__ == "__main__":
    main()
