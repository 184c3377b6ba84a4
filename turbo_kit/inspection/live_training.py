"""A short live training with the kit's own steps, from the same weights and dropout masks for every board."""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from turbo_kit.config import InputError, RunConfig
from turbo_kit.corpora import Corpus
from turbo_kit.objectives import Objective
from turbo_kit.training.loop import development_outputs, development_scores
from turbo_kit.training.setup import TrainingSetup, prepare
from turbo_kit.training.trainer import Trainer


@dataclass(frozen=True)
class LiveTraining:
    """A training that can be restarted: its setup and its initial state."""

    setup: TrainingSetup
    weights: dict[str, Tensor]
    random: Tensor
    UA: float
    """On the development clips, before the first step."""

    @property
    def steps(self) -> int:
        """Total number of steps."""
        return self.setup.config.training.epochs * len(self.setup.batches)


@dataclass(frozen=True)
class LiveStep:
    """One step of a live training: the losses of its batch, as `total` and by term."""

    step: int
    losses: dict[str, float]
    UA: float | None
    """On the development clips, at the end of an epoch; None between."""


def prepare_live_training(config: RunConfig, train: Corpus, dev: Corpus, *, progress: bool = False) -> LiveTraining:
    """Does the slow preparation once, so that a live training shows its first point immediately.

    Args:
        config: of the training; `epochs` says how long it goes on. It runs on the CPU: light heads need no more.
        train: the clips to learn from.
        dev: the clips for the UA. The test list is not among the arguments.
        progress: show progress bars where features have to be computed.

    Raises:
        InputError: a config that does not fit, or a clip that cannot be used.
    """
    setup = prepare(config.replace(device="cpu"), train, dev, progress=progress)
    weights = {name: value.clone() for name, value in setup.model.trained_state().items()}
    return LiveTraining(setup, weights, torch.get_rng_state(), _UA(setup))


def live_training(live: LiveTraining, objective: Objective) -> Iterator[LiveStep]:
    """Trains from the start and yields the losses of each step; to stop it, stop iterating.

    Args:
        live: what is trained; the model's weights are its start's again at the first step.
        objective: the terms and their weights; a learned temperature starts anew each time as well.

    Yields:
        One point a step. Random numbers outside are left alone.

    Raises:
        InputError: the loss is not finite any more.
    """
    setup = replace(live.setup, objective=deepcopy(objective))
    setup.model.load_trained_state(live.weights)
    setup.model.zero_grad()  # a training that was stopped inside a step may have left a gradient
    steps, random, done = iter(Trainer(setup)), live.random, 0
    while True:
        outside = torch.get_rng_state()
        torch.set_rng_state(random)
        try:
            step = next(steps, None)
            random = torch.get_rng_state()
        finally:
            torch.set_rng_state(outside)
        if step is None:
            return
        done += 1
        losses = {name.removeprefix("term."): float(loss) for name, loss in step.losses.items()}
        losses["total"] = losses.pop("train_loss")
        if not math.isfinite(losses["total"]):
            raise InputError(
                f"the loss is not finite any more at step {done}: lower learning_rate, or raise temperature."
            )
        yield LiveStep(done, losses, _UA(setup) if step.number == len(setup.batches) else None)


def _UA(setup: TrainingSetup) -> float:
    return float(development_scores(setup, development_outputs(setup))[1]["UA"])
