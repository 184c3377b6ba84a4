"""What the benchmarks share: arguments, times of alternating rounds, ratios round by round, and a file of figures."""

import argparse
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def arguments(description: str | None, rounds: int | None = None) -> argparse.ArgumentParser:
    """The parser of a benchmark; one that takes `rounds` has an option for their number."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    if rounds:
        parser.add_argument("--rounds", type=int, default=rounds, help="how often each task is timed")
    return parser


def alternate(tasks: Mapping[str, Callable[[], object]], rounds: int, warm: int = 1) -> dict[str, list[float]]:
    """Seconds of each task in each round: all tasks once, in turn, after `warm` rounds that are not counted.

    Whatever else the machine does meets all tasks alike, so ratios hold where single times do not.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(warm + rounds):
        for name, task in tasks.items():
            gc.collect()
            started = time.perf_counter()
            task()
            if number >= warm:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, middle and largest of some figures, to three digits."""
    found = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """The spread of the ratios of two tasks, round by round."""
    return spread([one / other for one, other in zip(above, below, strict=True)])


def tell(figures: Mapping[str, Mapping[str, float]]) -> None:
    """Prints a row for each spread."""
    for name, found in figures.items():
        print(f"{name:60} {found['min']:8} {found['median']:8} {found['max']:8}")


def peak_memory(task: Callable[[], object]) -> float:
    """MB that a task takes at most, above what the process holds before it; Linux only.

    Run it in a process that has done little before: memory that was given back to the allocator is used again unseen.
    """
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status("VmRSS")
    task()
    return (_status("VmHWM") - before) / 1000


def _status(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{entry}:"))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[0], 1),
    }


def keep(figures: Mapping[str, Any], path: Path | None) -> None:
    """Write figures as JSON where a path is given."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=1) + "\n")
