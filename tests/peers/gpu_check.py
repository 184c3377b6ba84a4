"""Does a GPU compute what the CPU computes, and how fast does it train? `make gpu-check` runs this.

    python tests/peers/gpu_check.py [--device auto|cuda|cpu] [--parts parity compile syncs table] [--json FILE]

parity: `gpu_parity.py`'s checks, each figure with its limit, in float32 without TF32 unless it says otherwise.
compile: the same of the model under torch.compile, and the breaks of its graph.
syncs: where one training step, its batch included, makes the host wait for the GPU. Told, and no failure.
table: clips a second of a training step. "demo" is light heads on the demo encoders' features; "wav2vec2-base" a random
audio encoder of that size, 12 layers trained, in chunks of `--chunk` clips; "its top 3 twice" the same with
`view_depth=3` and "once" with cross-entropy alone. A step is that of `Trainer`: padding and copying the batch, two
passes, loss, gradient, clipping, AdamW. Features are drawn at random, as of `--seconds`.

Without a CUDA device it says so in one sentence and ends with 0, so that a run of all targets passes on any machine.
`--device cuda` asks for one: without it the script ends with 1, as where a check fails, so that a machine that should
have a GPU cannot pass by losing it. `--device cpu` compares the CPU with itself, at small sizes, to try the script out.
"""

import argparse
import itertools
import math
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from timing import alternate, arguments, keep, machine, spread

PARTS = ("parity", "compile", "syncs", "table")
ARITHMETIC = {"fp32": "32-true", "bf16-mixed": "bf16-mixed"}
CLASSES = ("a", "b", "c", "d")
NO_GPU = "gpu-check: PyTorch finds no CUDA device here, so nothing was checked (--device cpu tries the script out)."
TINY = {"hidden_size": 32, "num_hidden_layers": 12, "num_attention_heads": 2, "intermediate_size": 64}


def run_checks(checks: Mapping[str, Callable[[torch.device], list[Any]]], device: torch.device) -> list[Any]:
    """Prints the figures of each check as they come; a check that stops with an error counts as a failed figure."""
    from gpu_parity import Finding, tf32

    found = []
    for name, check in checks.items():
        print(f"\n{name}", flush=True)
        try:
            with tf32(matmul=False, convolutions=False):
                some = check(device)
        except Exception as error:
            traceback.print_exc()
            some = [Finding(f"stopped: {type(error).__name__}", float("nan"), 0)]
        found += [one._replace(what=f"{name}: {one.what}") for one in some]
        for one in some:
            print(f"  {one}", flush=True)
    return found


def check_compiled(device: torch.device) -> list[Any]:
    """The checks of torch.compile; where it does not run at all, the reason is printed and nothing has failed."""
    from gpu_parity import compiled

    try:
        torch.compile(torch.nn.Linear(2, 2).to(device))(torch.ones(1, 2, device=device))
    except Exception as error:
        print(f"\ntorch.compile does not run here: {first_line(error)}")
        return []
    return run_checks({"torch.compile": compiled}, device)


def finite(value: float) -> float | None:
    """The number, or None where JSON has none for it."""
    return value if math.isfinite(value) else None


def first_line(error: Exception) -> str:
    """What an error says first."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def save_audio_encoder(folder: Path, small: bool) -> None:
    """A random encoder of wav2vec2-base's size, or a tiny one."""
    from random_encoders import SMALL_CONVOLUTIONS, save_audio
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.manual_seed(0)
    save_audio(folder, **TINY | SMALL_CONVOLUTIONS if small else {})


def steps_of(knobs: Mapping[str, Any], batch: int, seconds: float, compiled: bool = False) -> Iterator[Any]:
    """Endless training steps of one batch size, as `train` makes them, on clips whose features are random."""
    from turbo_kit import Corpus, RunConfig
    from turbo_kit.corpora import Utterance
    from turbo_kit.training.setup import prepare
    from turbo_kit.training.trainer import Trainer

    config = RunConfig(batch_size=batch, epochs=10**6, compile=compiled, **knobs)
    clips = tuple(Utterance(str(n), Path(), str(n), CLASSES[n % 4], "") for n in range(batch))
    corpus = Corpus("random", clips, CLASSES)
    with mock.patch("turbo_kit.training.setup.clip_features", partial(random_features, seconds=seconds)):
        ready = prepare(config, corpus, corpus)
    return iter(Trainer(ready))


def random_features(model: Any, corpus: Any, *, seconds: float, progress: bool = False) -> dict[str, Any]:
    """What the trunks could give for clips of so many seconds: sixteen random arrays, over and over."""
    import numpy as np

    from turbo_kit.encoders.feature_cache import Features

    generator, features = np.random.default_rng(0), {}
    for modality in model.modalities:
        backbone = model.encoder(modality).backbone
        rate = backbone.frames_per_second or 3.0  # of text: about so many tokens a second
        if modality == "audio" and model.encoder(modality).light_head:
            rate = 6.0
        shape = round(seconds * rate), backbone.width
        some = [generator.standard_normal(shape, np.float32) for _ in range(16)]
        features[modality] = Features(tuple(itertools.islice(itertools.cycle(some), len(corpus))))
    return features


def kinds_of_model(folder: Path, chunk: int) -> dict[str, dict[str, Any]]:
    """The knobs of the models that are timed."""
    base = {"audio": str(folder), "text": "none", "trainable_layers": 12, "chunk_size": chunk}
    turbo = {**base, "objective": "simcse-audio"}
    return {
        "demo": {},
        "wav2vec2-base": turbo,
        "its top 3 twice": {**turbo, "view_depth": 3},
        "once": {**base, "objective": "ce"},
    }


def throughput(options: argparse.Namespace, device: torch.device, folder: Path) -> dict[str, Any]:
    """Prints and returns clips a second, smallest, middle and largest of the rounds, by model, batch and arithmetic."""
    figures: dict[str, Any] = {}
    print(f"\n{'model':15} {'batch':>6} {'arithmetic':22} {'clips/s: min':>12} {'median':>9} {'max':>9} {'peak MB':>9}")
    for name, knobs in kinds_of_model(folder, options.chunk).items():
        for batch in options.batches:
            tasks, peaks = ready_tasks(options, device, knobs, batch)
            seconds = alternate(tasks, options.rounds, warm=0)
            for way, times in seconds.items():
                rates = spread([batch * options.steps / time for time in times])
                figures[f"{name}, {batch}, {way}"] = {**rates, "peak_MB": finite(peaks[way])}
                numbers = "".join(f"{value:10.4g}" for value in (rates["median"], rates["max"], peaks[way]))
                print(f"{name:15} {batch:6} {way:22} {rates['min']:12.4g}{numbers}", flush=True)
    return figures


def ready_tasks(
    options: argparse.Namespace, device: torch.device, knobs: Mapping[str, Any], batch: int
) -> tuple[dict[str, Callable[[], None]], dict[str, float]]:
    """A task for each arithmetic, already warm, and the peak memory of its steps; those that cannot run are told."""
    from gpu_parity import device_peak

    tasks, peaks = {}, {}
    ways = {way: (precision, False) for way, precision in ARITHMETIC.items()}
    if "compile" in options.parts:
        ways |= {f"{way}, compiled": (precision, True) for way, (precision, _) in ways.items()}
    for way, (precision, compiled) in ways.items():
        try:
            all_knobs = {**knobs, "precision": precision, "device": device.type}
            task = several(steps_of(all_knobs, batch, options.seconds, compiled), options.steps, device)
            task()
            peaks[way] = device_peak(task, device)
        except Exception as error:  # out of memory, or no compiler
            print(f"batch {batch}, {way}: cannot run: {first_line(error)}")
            continue
        tasks[way] = task
    return tasks, peaks


def several(steps: Iterator[Any], count: int, device: torch.device) -> Callable[[], None]:
    """A task of so many steps, until the device has done them."""

    def task() -> None:
        for _ in range(count):
            next(steps)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return task


def synchronisations(step: Callable[[], object]) -> Counter[str]:
    """How often each place makes the host wait for the GPU in a step, by the kit's own line and the innermost one."""
    places: Counter[str] = Counter()

    def note(message: Any, *_: Any, **__: Any) -> None:
        if "synchroniz" not in str(message):
            return
        frames = [frame for frame in traceback.extract_stack()[:-1] if frame.filename != warnings.__file__]
        own = [frame for frame in frames if "turbo_kit" in Path(frame.filename).parts]
        lines = [f"{Path(frame.filename).name}:{frame.lineno} {frame.line}" for frame in (*own[-1:], frames[-1])]
        places[" <- ".join(dict.fromkeys(lines))] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        step()
    return places


def tell_synchronisations(options: argparse.Namespace, device: torch.device, folder: Path) -> dict[str, Any]:
    """Prints and returns where a step waits, for each model in one piece or in chunks."""
    found: dict[str, Any] = {}
    if device.type != "cuda":
        print("\nsyncs: a CPU has none to look for.")
        return found
    for name, knobs in kinds_of_model(folder, options.chunk).items():
        steps = steps_of({**knobs, "device": device.type}, min(options.batches), options.seconds)
        for _ in range(3):  # what waits only at first is not meant
            next(steps)
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            places = synchronisations(lambda steps=steps: next(steps))
        finally:
            torch.cuda.set_sync_debug_mode(before)
        found[name] = dict(places)
        print(f"\nsyncs: a step of {name}, {min(options.batches)} clips, waits for the GPU {places.total()} times")
        for place, count in places.most_common():
            print(f"  {count:3} x {place}")
    return found


def options_of() -> argparse.Namespace:
    """The command line; on a CPU the sizes are tiny unless they are given."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to run")
    parser.add_argument("--checks", nargs="+", help="only these of the parity checks, by a part of their names")
    parser.add_argument("--batches", type=int, nargs="+", help="clips in a batch of the table: 64 256 1024; on a CPU 8")
    parser.add_argument("--chunk", type=int, default=32, help="clips of wav2vec2-base that pass at once")
    parser.add_argument("--seconds", type=float, help="length of a clip in the table: 4; on a CPU 0.5")
    parser.add_argument("--steps", type=int, help="training steps in a round: 5; on a CPU 1")
    parser.add_argument("--small", action="store_true", help="a tiny encoder for wav2vec2-base; on a CPU always")
    options = parser.parse_args()
    cpu = options.device == "cpu"
    options.batches = options.batches or ([8] if cpu else [64, 256, 1024])
    options.seconds = options.seconds or (0.5 if cpu else 4.0)
    options.steps = options.steps or (1 if cpu else 5)
    options.small = options.small or cpu
    return options


def main() -> int:
    """Runs what is asked for and returns the exit code."""
    options = options_of()
    if options.device != "cpu" and not torch.cuda.is_available():
        print(NO_GPU)
        return int(options.device == "cuda")
    device = torch.device("cpu" if options.device == "cpu" else "cuda")
    name = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name()
    print(f"gpu-check on {name}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    figures: dict[str, Any] = {"machine": {**machine(), "device": name, "cuda": torch.version.cuda}}
    found = []
    if "parity" in options.parts:
        from gpu_parity import CHECKS

        wanted = options.checks or [""]
        found += run_checks({n: c for n, c in CHECKS.items() if any(part in n for part in wanted)}, device)
    if "compile" in options.parts:
        found += check_compiled(device)
    with tempfile.TemporaryDirectory() as folder:
        if {"syncs", "table"} & set(options.parts):
            save_audio_encoder(Path(folder), options.small)
        if "syncs" in options.parts:
            figures["syncs"] = tell_synchronisations(options, device, Path(folder))
        if "table" in options.parts:
            figures["clips a second"] = throughput(options, device, Path(folder))
    figures["checks"] = {
        one.what: {"value": finite(one.value), "limit": finite(one.limit), "good": one.good} for one in found
    }
    keep(figures, options.json)
    failed = [one.what for one in found if not one.good]
    if found:
        print(f"\n{len(found) - len(failed)} of {len(found)} figures are within their limits.")
    for what in failed:
        print(f"FAILED {what}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
