"""What more processes bring: a step of Turbo by 1, 2 and 4 processes, with the same batch in all.

    python tests/peers/processes.py [--batch 64] [--layers 2] [--steps 4] [--rounds 5] [--json FILE]

The demo corpus and encoders, of each the top layers trained, dropout 0.1, fp32, gloo on one machine. A task is a start
of its own; after a step that is not counted, the first process times the steps. All processes share the cores of this
machine: with as many processes of one thread as there are cores nothing can be faster than one process with as many
threads, save for what threads waste, and with more processes than cores nothing is gained at all. What is seen here is
what sharing costs; what several GPUs gain was never measured.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from timing import arguments, keep, machine, ratio, spread, tell

from turbo_kit import RunConfig, load_fold
from turbo_kit.training.setup import prepare
from turbo_kit.training.trainer import Trainer

TASKS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes": (2, 1), "4 processes": (4, 1)}


def measured(batch: int, layers: int, steps: int, out: Path) -> None:
    """Runs in each process: trains, and has the first one write the seconds of a step."""
    config = RunConfig(batch_size=batch, trainable_layers=layers, device="cpu", epochs=100)
    fold = load_fold(config)
    ready = prepare(config, fold.train, fold.dev)
    taken = iter(Trainer(ready))
    next(taken)
    started = time.perf_counter()
    for _ in range(steps):
        next(taken)
    if ready.fabric.is_global_zero:
        out.write_text(str((time.perf_counter() - started) / steps))


def started(processes: int, threads: int, given: list[str]) -> Callable[[Path], float]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), __file__, *given, "--worker"]

    def run(out: Path) -> float:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run([*command, str(out)], check=True, env=environment, stderr=subprocess.DEVNULL)
        return float(out.read_text())

    return run


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, default=64, help="clips of all processes together")
    parser.add_argument("--layers", type=int, default=2, help="layers of each encoder that are trained")
    parser.add_argument("--steps", type=int, default=4, help="steps that are timed in a start")
    parser.add_argument("--worker", type=Path, help="for the script itself: where a process writes its figure")
    options = parser.parse_args()
    if options.worker:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        measured(options.batch, options.layers, options.steps, options.worker)
        return
    given = [f"--{name}={getattr(options, name)}" for name in ("batch", "layers", "steps")]
    tasks = {name: started(*how, given) for name, how in TASKS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 + options.rounds):  # the first round fills the cache
            for name, task in tasks.items():
                found = task(Path(folder) / "seconds")
                if number:
                    seconds[name].append(found)
    ratios = {f"1 process, 1 thread / {name}": ratio(seconds["1 process, 1 thread"], seconds[name]) for name in TASKS}
    figures = {"machine": machine(), "seconds": {name: spread(times) for name, times in seconds.items()}}
    tell(figures["seconds"] | ratios)
    keep(figures | {"ratios": ratios}, options.json)


if __name__ == "__main__":
    main()
