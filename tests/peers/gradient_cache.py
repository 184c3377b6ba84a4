"""A Turbo step of a large batch in chunks, by gradient caching, beside the same batch in one piece.

    OMP_NUM_THREADS=1 python tests/peers/gradient_cache.py [--batch 512] [--chunk 32] [--rounds 5] [--json FILE]

The model is a random wav2vec 2.0 and a random BERT of 4 layers, all of which are trained, with dropout. All clips are
of one length: what chunks save by being padded to their own longest clip is left out. The steps alternate in one
process. Peak memory is that of a process of its own, above what it holds before the step, weights and gradients
included. The difference of the gradients is taken without dropout, whose masks the two draw in another order.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from random_encoders import SMALL_CONVOLUTIONS, save_audio, save_text
from timing import alternate, arguments, keep, machine, peak_memory, ratio, spread
from transformers.utils.logging import disable_progress_bar

from turbo_kit.config import RunConfig
from turbo_kit.encoders import TrunkOutput
from turbo_kit.model import TurboModel
from turbo_kit.objectives import Objective
from turbo_kit.training.gradient_cache import Batch, backward

SHAPE = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 768}
LENGTHS = {"audio": 24, "text": 8}
WAYS = ("in chunks", "in one piece")
Step = Callable[[], float]


def save_encoders(folder: Path) -> dict[str, str]:
    """Folders of two random encoders; what comes before their layers plays no part here."""
    save_audio(folder / "audio", **SHAPE, **SMALL_CONVOLUTIONS)
    save_text(folder / "text", **SHAPE)
    return {modality: str(folder / modality) for modality in LENGTHS}


def prepare(
    batch: int, chunk: int, dropout: float = 0.1, dtype: torch.dtype = torch.float32
) -> tuple[TurboModel, dict[str, Step]]:
    """The model, and a step of each way on the same clips; a step returns the loss."""
    torch.manual_seed(0)
    rates = {"audio_dropout": dropout, "text_dropout": dropout}
    with tempfile.TemporaryDirectory() as folder:
        encoders = save_encoders(Path(folder))
        model = TurboModel.from_config(
            RunConfig(trainable_layers=SHAPE["num_hidden_layers"], **encoders, **rates), list("abcd")
        )
    fabric, objective = Fabric(accelerator="cpu", devices=1), Objective.preset("turbo")
    wrapped = fabric.setup(model.train().to(dtype))
    clips = {
        modality: TrunkOutput(
            torch.randn(batch, length, SHAPE["hidden_size"], dtype=dtype), torch.ones(batch, length).bool()
        )
        for modality, length in LENGTHS.items()
    }
    labels, transcripts = torch.arange(batch) % 4, torch.arange(batch)

    def step(size: int) -> float:
        model.zero_grad()
        parts = [
            {m: TrunkOutput(*(x[at : at + size] for x in h)) for m, h in clips.items()} for at in range(0, batch, size)
        ]
        return float(backward(fabric, wrapped, objective, Batch(parts, labels, transcripts)).total.detach())

    return model, {"in chunks": lambda: step(chunk), "in one piece": lambda: step(batch)}


def gradient_difference(batch: int, chunk: int, dtype: torch.dtype) -> float:
    """How far the gradient by all parameters is from that of the batch in one piece, relative to its norm."""
    model, steps = prepare(batch, chunk, dropout=0.0, dtype=dtype)
    gradients = []
    for way in WAYS:
        steps[way]()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    found, expected = gradients
    return float((found - expected).norm() / expected.norm())


def peak(way: str, batch: int, chunk: int) -> float:
    """MB above what a process holds before the step."""
    command = [sys.executable, __file__, "--peak-of", way, "--batch", str(batch), "--chunk", str(chunk)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def print_peak(way: str, batch: int, chunk: int) -> None:
    prepare(4, 2)[1]["in chunks"]()  # loads whatever the first step loads
    _, steps = prepare(batch, chunk)
    print(peak_memory(steps[way]))


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, default=512, help="clips in the batch")
    parser.add_argument("--chunk", type=int, default=32, help="clips that pass the model at once")
    parser.add_argument("--peak-of", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    disable_progress_bar()
    if options.peak_of:
        print_peak(options.peak_of, options.batch, options.chunk)
        return
    memory = {way: peak(way, options.batch, options.chunk) for way in WAYS}
    _, steps = prepare(options.batch, options.chunk)
    seconds = alternate(steps, options.rounds)
    figures: dict[str, Any] = {
        "machine": machine(),
        "batch": options.batch,
        "chunk": options.chunk,
        "seconds": {way: spread(times) for way, times in seconds.items()},
        "in chunks / in one piece": ratio(seconds["in chunks"], seconds["in one piece"]),
        "peak_MB": {way: round(value) for way, value in memory.items()},
        "peak in chunks / in one piece": round(memory["in chunks"] / memory["in one piece"], 3),
        "relative difference of the gradient": {
            str(dtype): gradient_difference(options.batch, options.chunk, dtype)
            for dtype in (torch.float32, torch.float64)
        },
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    keep(figures, options.json)


if __name__ == "__main__":
    main()
