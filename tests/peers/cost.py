"""How the cost of the data's way grows from 1,000 to 100,000 utterances, and what 1,000 hours would take, on paper.

    OMP_NUM_THREADS=1 python tests/peers/cost.py [--sizes 1000 10000 100000] [--json FILE]

The utterances are simulated: tiny sound files of different content, transcripts of random words, 100 clips a speaker,
and in the place of what a frozen encoder makes of them random features, 32 wide, at lengths like IEMOCAP's (log-normal,
4.5 s on average, 6 frames and 2.5 words a second). All else is the kit's own code, in one process for each size with
an empty cache. The features of 100,000 take 0.5 GB of disk, their sound files 0.4 GB in blocks of 4 KB.

Each step is taken once. "MB" is its peak above what the process held before; memory that an earlier step gave back is
used again unseen, so that small figures mean little, and pages of mapped files that were read count too, though the
system takes them back at need. "growth" is the power of the number of utterances that the step grows with from size to
size: log(cost / cost before) / log(size / size before), 1 = linear. A development list is a fifth of the clips. "an
epoch's batches" reads all of them, 64 clips each, from files that the system holds in memory.

On paper, for 1,000 hours at 4.5 s a clip (800,000 clips):
    a step         seconds and MB at the largest size x (clips / size) ^ its last growth, at least 1 (MB: 0 if none)
    features       seconds of speech x frames a second x width x 4 bytes
    the front      seconds of speech x (seconds for one clip of 4.5 s / 4.5), once; wav2vec2-base's size, measured here
    an epoch       seconds of speech x (seconds of a Turbo step of two such clips from the cache / 9), full depth
"""

import argparse
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from random_encoders import SMALL_CONVOLUTIONS, save_audio, save_text
from timing import alternate, arguments, keep, machine, peak_memory, spread
from transformers.utils.logging import disable_progress_bar
from two_passes import ours

from turbo_kit.config import EncoderConfig, ModelOptions
from turbo_kit.corpora import Corpus, load_corpus
from turbo_kit.corpora.batching import bucketed_batches
from turbo_kit.corpora.decoding import SAMPLE_RATE
from turbo_kit.encoders import Encoder, TrunkOutput, build_encoder
from turbo_kit.encoders.feature_cache import Features
from turbo_kit.model import TurboModel
from turbo_kit.model.inference import clip_features, clip_lengths, model_outputs, padded_batch
from turbo_kit.runs import fold_part
from turbo_kit.training.evaluation import predict_and_score

WIDTH = 32
FRAMES_A_SECOND = {"audio": 6.0, "text": 2.5}
SECONDS_A_CLIP = 4.5
HOURS = 1000
KINDS = {
    "frozen Whisper tiny (6 frames a second, 384)": 6 * 384,
    "frozen wav2vec2-base (6, 768)": 6 * 768,
    "frozen wav2vec2-base, mix of 13 states (6, 13 x 768)": 6 * 13 * 768,
    "wav2vec2-base, all layers and embeddings trained (50, 512)": 50 * 512,
    "wav2vec2-base, 12 layers trained (50, 768)": 50 * 768,
}
"""Floats that a second of speech is kept as."""


def write_corpus(folder: Path, size: int) -> Path:
    """A manifest of so many clips, each with a file of its own content."""
    (folder / "sound").mkdir()
    generator, silence = np.random.default_rng(0), io.BytesIO()
    soundfile.write(silence, np.zeros(4, dtype=np.int16), SAMPLE_RATE, format="WAV")
    with (folder / "clips.jsonl").open("w") as manifest:
        for number in range(size):
            path = folder / "sound" / f"{number}.wav"
            path.write_bytes(silence.getvalue()[:-8] + number.to_bytes(8, "little"))
            words = " ".join(f"w{word}" for word in generator.integers(0, 1000, 11))
            row = {"id": str(number), "path": str(path), "text": words, "label": "abcd"[number % 4]}
            manifest.write(json.dumps(row | {"speaker": f"s{number // 100}"}) + "\n")
    return folder / "clips.jsonl"


def small_model(folder: Path) -> TurboModel:
    """A model whose trunks are replaced by random features of the lengths that they would have."""
    shape = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": WIDTH}
    save_audio(folder / "audio", **shape, **SMALL_CONVOLUTIONS)
    save_text(folder / "text", **shape)
    model = TurboModel(
        classes=list("abcd"),
        options=ModelOptions(
            audio=str(folder / "audio"), text=str(folder / "text"), encoder=EncoderConfig(head_width=32)
        ),
    )
    for modality in model.modalities:
        replace_trunk(model.encoder(modality))
    return model


def replace_trunk(encoder: Encoder) -> None:
    generator = np.random.default_rng(1)

    def trunk(items: Any, names: Any = None) -> TrunkOutput:
        seconds = SECONDS_A_CLIP * generator.lognormal(-(0.65**2) / 2, 0.65, len(items)).clip(0.6 / 4.5, 34 / 4.5)
        lengths = torch.from_numpy(np.ceil(seconds * FRAMES_A_SECOND[encoder.modality]))
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        return TrunkOutput(torch.randn(*mask.shape, WIDTH), mask)

    encoder.trunk = trunk  # type: ignore[method-assign]


def costs(size: int) -> dict[str, dict[str, float]]:
    """Seconds and MB of each step with a corpus of so many clips."""
    found: dict[str, dict[str, float]] = {}

    def step(name: str, task: Callable[[], Any]) -> Any:
        results: list[Any] = []

        def timed() -> None:
            started = time.perf_counter()
            results.append(task())
            found[name] = {"seconds": time.perf_counter() - started}

        megabytes = peak_memory(timed)
        found[name]["MB"] = megabytes
        return results[0]

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TURBO_KIT_CACHE"] = str(folder / "cache")
        manifest, model = write_corpus(folder, size), small_model(folder)
        corpus: Corpus = step("corpus read from a manifest", lambda: load_corpus(f"manifest:{manifest}"))
        step("fold proven, first time (sound hashed)", lambda: corpus.fold(0))
        fold = step("fold proven again", lambda: corpus.fold(0))
        step("what names a run: hash of train and dev", lambda: (fold.train.fingerprint, fold.dev.fingerprint))
        step("fold.json: what is kept of train", lambda: fold_part(fold.train))
        step("features written (without the encoder)", lambda: clip_features(model, corpus))
        features = step("features opened", lambda: clip_features(model, corpus))
        lengths = clip_lengths(features)
        batches = step("an epoch's order", lambda: bucketed_batches(lengths, 64, seed=0, epoch=1))
        step("an epoch's batches read", lambda: read_all(features, batches))
        dev = clip_features(model, fold.dev)
        step("development outputs, each epoch", lambda: model_outputs(model.eval(), dev))
        step("development scores, once a run", lambda: predict_and_score(model, dev, fold.dev, 0))
    return found


def read_all(features: dict[str, Features], batches: list[NDArray[np.int64]]) -> None:
    for batch in batches:
        padded_batch(features, batch, torch.device("cpu"))


def in_own_process(size: int) -> dict[str, dict[str, float]]:
    command = [sys.executable, __file__, "--costs-of", str(size)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, dict[str, float]] = json.loads(output)
    return found


def growths(table: dict[int, dict[str, dict[str, float]]], step: str, unit: str) -> list[float | None]:
    """The power that a cost grows with, from each size to the next; None from or to less than one MB."""
    least = 1.0 if unit == "MB" else 0.0

    def power(size: int, next_size: int) -> float | None:
        before, after = (table[one][step][unit] for one in (size, next_size))
        return math.log(after / before) / math.log(next_size / size) if min(before, after) > least else None

    return [power(*sizes) for sizes in pairwise(table)]


def on_paper(table: dict[int, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Seconds and MB of each step for 1,000 hours, growing on as between the two largest sizes, linearly at least."""
    largest = max(table)
    factor = HOURS * 3600 / SECONDS_A_CLIP / largest

    def extrapolated(step: str, unit: str) -> float:
        power = growths(table, step, unit)[-1]
        return 0.0 if power is None else float(f"{table[largest][step][unit] * factor ** max(1.0, power):.3g}")

    return {step: {unit: extrapolated(step, unit) for unit in ("seconds", "MB")} for step in table[largest]}


def encoder_seconds(rounds: int) -> dict[str, float]:
    """Seconds for each second of speech: front of wav2vec2-base's size, and a Turbo step of all layers above it."""
    generator = np.random.default_rng(0)
    clips = [generator.normal(0, 0.1, round(SAMPLE_RATE * SECONDS_A_CLIP)).astype("float32") for _ in range(2)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_audio(folder)
        encoder = build_encoder(str(folder), "audio", EncoderConfig(trainable_layers=12))
        tasks = {"front": lambda: encoder.trunk(clips), "step": ours(folder, clips, 2, None, cached=True)}
    times = alternate(tasks, rounds)
    return {name: spread(found)["median"] / len(clips) / SECONDS_A_CLIP for name, found in times.items()}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000], help="two sizes at least")
    parser.add_argument("--costs-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    disable_progress_bar()
    if options.costs_of:
        print(json.dumps(costs(options.costs_of)))
        return
    table = {size: in_own_process(size) for size in sorted(options.sizes)}
    paper = on_paper(table)
    print(f"{'':42}" + "".join(f"{size:>10,} s{'MB':>8}" for size in table) + "   growth s, MB    1,000 h: s      MB")
    for step in paper:
        row = "".join(f"{found[step]['seconds']:12.3g}{found[step]['MB']:8.0f}" for found in table.values())
        powers = [growths(table, step, unit) for unit in ("seconds", "MB")]
        grown = [" ".join("-" if power is None else f"{power:.2f}" for power in of_unit) for of_unit in powers]
        print(f"{step:42}{row}   {', '.join(grown)}   {paper[step]['seconds']:10.3g} {paper[step]['MB']:9.3g}")
    speech, each = HOURS * 3600, encoder_seconds(3)
    gigabytes = {kind: round(speech * floats * 4 / 1e9) for kind, floats in KINDS.items()}
    hours = {name: float(f"{speech * seconds / 3600:.3g}") for name, seconds in each.items()}
    print(f"\n{HOURS:,} hours of speech:")
    for kind, size in gigabytes.items():
        print(f"{kind:60} {size:6} GB")
    print(f"{'front of wav2vec2-base, once':60} {hours['front']:6} hours")
    print(f"{'an epoch of Turbo, 12 layers, features from the cache':60} {hours['step']:6} hours")
    figures: dict[str, Any] = {
        "machine": machine(),
        "costs": table,
        "growth": {step: {unit: growths(table, step, unit) for unit in ("seconds", "MB")} for step in paper},
        "1000 hours": {"steps": paper, "features_GB": gigabytes, "hours": hours},
    }
    keep(figures, options.json)


if __name__ == "__main__":
    main()
