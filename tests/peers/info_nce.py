"""The six InfoNCE losses of a Turbo batch, forward and backward, beside what one would write or take instead.

    python tests/peers/info_nce.py [--sizes 256 1024 4096 8192] [--rounds 5] [--memory 8192 32768] [--json FILE]

Peers: six plain losses (logits of all clips, cross-entropy of rows and columns); and six times the NTXentLoss of
pytorch-metric-learning and of lightly, against ours with their negatives ("both"). All on the same views of 256
features, in alternating rounds of one process: `--rounds` at 8,192 clips, up to twenty times as many of smaller
batches, whose milliseconds are easily disturbed. Peak memory is that of a process of its own, above what it holds
before the loss. A peer that takes over ten seconds is run once and at no larger size; one that does not fit into memory
is left out.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import torch
from timing import alternate, arguments, keep, machine, peak_memory, ratio, spread
from torch import Tensor
from torch.nn import functional as F

from turbo_kit.objectives import PairBoard, pair_losses
from turbo_kit.objectives.directions import Negatives

NAMES = ("a1", "a2", "t1", "t2")
WIDTH, TEMPERATURE, PATIENCE = 256, 0.05, 10.0
PAIRS = PairBoard.parse(dict.fromkeys(combinations(NAMES, 2), 1.0)).pairs
Views = dict[str, Tensor]
Loss = Callable[[Views], Tensor]


def draw(size: int) -> Views:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(size, WIDTH, generator=generator)
    return {name: (shared + torch.randn(size, WIDTH, generator=generator)).requires_grad_() for name in NAMES}


def ours(views: Views, negatives: Negatives = "other") -> Tensor:
    return sum(pair_losses(views, PAIRS, temperature=TEMPERATURE, negatives=negatives).values())


ours_both = partial(ours, negatives="both")


def plain(views: Views) -> Tensor:
    unit = {name: F.normalize(view, dim=1) for name, view in views.items()}
    target = torch.arange(len(unit["a1"]))
    total = torch.zeros(())
    for one, other in combinations(NAMES, 2):
        logits = unit[one] @ unit[other].T / TEMPERATURE
        total = total + (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    return total


def of_all_pairs(loss: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    return lambda views: sum(loss(views[one], views[other]) for one, other in combinations(NAMES, 2))


def metric_learning() -> Loss:
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    return of_all_pairs(SelfSupervisedLoss(NTXentLoss(temperature=TEMPERATURE)))


def lightly() -> Loss:
    from lightly.loss import NTXentLoss

    return of_all_pairs(NTXentLoss(temperature=TEMPERATURE))


PEERS = {"pytorch-metric-learning": metric_learning, "lightly": lightly}


def step(loss: Loss, views: Views) -> float:
    for view in views.values():
        view.grad = None
    total = loss(views)
    total.backward()
    return total.item()


def measure(size: int, rounds: int, peers: dict[str, Loss]) -> dict[str, Any]:
    """Times and ratios at one size; takes out of `peers` what is too slow or too large for the next one."""
    views = draw(size)
    rounds *= max(1, min(20, 8192 // size))
    expect_same(step(ours, views), step(plain, views))
    seconds = alternate({"ours": lambda: step(ours, views), "plain": lambda: step(plain, views)}, rounds)
    figures = {name: spread(times) for name, times in seconds.items()}
    figures["plain / ours"] = ratio(seconds["plain"], seconds["ours"])
    for name, peer in list(peers.items()):
        started = time.perf_counter()
        try:
            expect_same(step(peer, views), step(ours_both, views))
        except RuntimeError as error:
            print(f"{size:6} {name} cannot run: {str(error)[-90:]}")
            del peers[name]
            continue
        slow = time.perf_counter() - started > PATIENCE
        if slow:
            del peers[name]
        tasks = {name: lambda peer=peer: step(peer, views), "ours": lambda: step(ours_both, views)}
        seconds = alternate(tasks, 1 if slow else rounds, warm=0 if slow else 1)
        figures |= {name: spread(seconds[name]), f"ours beside {name}": spread(seconds["ours"])}
        figures[f"{name} / ours"] = ratio(seconds[name], seconds["ours"])
    return figures


def expect_same(found: float, expected: float) -> None:
    assert abs(found - expected) < 1e-3 * abs(expected), f"{found} is not {expected}: not the same work"


def peak(name: str, size: int) -> float:
    """MB above what the process held before the loss."""
    command = [sys.executable, __file__, "--peak-of", name, "--sizes", str(size)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def print_peak(name: str, size: int) -> None:
    loss = {"ours": ours, "plain": plain}[name]
    step(loss, draw(300))  # loads whatever the first call loads
    views = draw(size)
    print(peak_memory(lambda: step(loss, views)))


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 1024, 4096, 8192], help="clips in a batch")
    parser.add_argument("--memory", type=int, nargs="*", default=[8192, 32768], help="clips, for the peak memory")
    parser.add_argument("--peak-of", choices=("ours", "plain"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print_peak(options.peak_of, *options.sizes)
        return
    peers = {name: load() for name, load in PEERS.items()}
    figures: dict[str, Any] = {"machine": machine(), "seconds": {}, "peak_MB": {}}
    for size in options.memory:
        names = ("ours", "plain") if size <= 8192 else ("ours",)  # six plain ones of 32,768 clips would take 60 GB
        figures["peak_MB"][size] = {name: round(peak(name, size)) for name in names}
        print(f"{size:6} peak MB {figures['peak_MB'][size]}", flush=True)
    for size in options.sizes:
        figures["seconds"][size] = measure(size, options.rounds, peers)
        for what, found in figures["seconds"][size].items():
            print(f"{size:6} {what:32} {found['min']:8} {found['median']:8} {found['max']:8}", flush=True)
    keep(figures, options.json)


if __name__ == "__main__":
    main()
