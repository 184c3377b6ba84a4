"""What one of several processes does in the tests; `torchrun` starts it.

torchrun --nproc-per-node 2 tests/processes/process_worker.py gradients|training|saving|killed configs.json FOLDER
"""

import json
import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

import torch

from turbo_kit import RunConfig, load_fold, train
from turbo_kit.objectives import Objective
from turbo_kit.training import loop
from turbo_kit.training.gradient_cache import backward
from turbo_kit.training.setup import prepare

DTYPE = torch.float64


def gradients(config: RunConfig) -> dict[str, Any]:
    """In float64: loss, terms and gradients of the first two batches, summed as `accumulate` has it."""
    fold = load_fold(config)
    ready = prepare(config, fold.train, fold.dev)
    random = torch.rand(3)
    ready.model.to(DTYPE).train()
    ready.objective.to(DTYPE)
    model, batches = ready.fabric.setup(ready.model), ready.batches.of_epoch(1)
    for last in (False, True):
        batch = next(batches)
        chunks = [{m: h._replace(sequence=h.sequence.to(DTYPE)) for m, h in chunk.items()} for chunk in batch.chunks]
        batch = batch._replace(chunks=chunks)
        loss = backward(ready.fabric, model, ready.objective, batch, config.accumulate, last=last)
    parameters = [*ready.model.named_parameters(), *ready.objective.named_parameters()]
    found = {name: value.grad for name, value in parameters if value.grad is not None}
    terms = {"total": loss.total.detach(), **loss.terms}
    return {"gradients": found, "losses": terms, "shares": list(batch.shares), "random": random}


def kill_at_the_third_loss() -> None:
    """Has this process die in the middle of a training."""
    computed, losses = Objective.forward, count(1)

    def dying(self: Objective, *arguments: Any, **options: Any) -> Any:
        if next(losses) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return computed(self, *arguments, **options)

    Objective.forward = dying  # type: ignore[method-assign]


def main() -> None:
    torch.set_num_threads(1)
    what, configs, folder = sys.argv[1:]
    for name, values in json.loads(Path(configs).read_text()).items():
        config, here = RunConfig(**values), Path(folder) / name
        if what == "gradients":
            here.mkdir(exist_ok=True)
            torch.save(gradients(config), here / f"{torch.distributed.get_rank()}.pt")
        else:
            if what == "killed" and os.environ["RANK"] == "1":
                kill_at_the_third_loss()
            fold = load_fold(config)
            loop.CHECKED_STEPS = 1 if what == "saving" else loop.CHECKED_STEPS
            run = train(config, fold.train, fold.dev, here, save_every=0.0 if what == "saving" else 60.0)
            assert run.trained  # also where another process has written it


if __name__ == "__main__":
    main()
