"""What a run came to, and how to stop one, for tests that want two runs to be the same to the last bit."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from safetensors.torch import load_file

from turbo_kit.runs import Run
from turbo_kit.training import loop
from turbo_kit.training.trainer import Trainer


class Stopped(Exception):
    """What stops a training in tests."""


@contextmanager
def stopped_before(number: int) -> Iterator[None]:
    """A training in here stops before its step of this number, counted from 0 where it starts."""
    step, taken = Trainer._step, itertools.count()

    def stopping(self, batch):
        if next(taken) == number:
            raise Stopped
        return step(self, batch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop, "CHECKED_STEPS", 1)  # so that it can be saved after each step
        patch.setattr(Trainer, "_step", stopping)
        yield


def outcome(run: Run) -> dict[str, object]:
    """Scores, history, predictions, embeddings and weights; all but times."""
    result = run.result
    del result["timings"]
    files = [path for name in ("embeddings", "epochs") if (path := run.folder / f"{name}.safetensors").is_file()]
    weights = load_file(run.folder / "checkpoint" / "model.safetensors")
    return {
        "result": json.dumps(result, sort_keys=True),
        "history": run.history.drop(columns="seconds").to_dict("list"),
        "predictions": run.predictions("dev").to_dict("list"),
        "embeddings": {path.name: path.read_bytes() for path in files},
        "weights": {name: value.numpy().tobytes() for name, value in weights.items()},
    }
