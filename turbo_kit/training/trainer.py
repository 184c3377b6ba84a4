"""A training as an iterator of steps, which can be saved after one and go on from there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from turbo_kit.config import InputError
from turbo_kit.training.checkpoint import random_states, restore_random_states
from turbo_kit.training.gradient_cache import Batch, backward, memory_errors
from turbo_kit.training.optimizer import build_optimizer, compile_model
from turbo_kit.training.setup import TrainingSetup


@dataclass(frozen=True)
class Step:
    """One batch that training has seen: `losses` holds `train_loss` and each term as `term.<name>`, detached."""

    epoch: int
    number: int
    losses: dict[str, Tensor]
    learning_rate: float


class Trainer:
    """Trains batch by batch, epoch by epoch: an iterator of steps; whoever asks for the next may look on.

    The model may be put into evaluation mode between two steps.
    """

    def __init__(self, setup: TrainingSetup, state: Mapping[str, Any] | None = None) -> None:
        """A training from the model's present weights, or one that goes on from a `state` of this very training.

        Raises:
            InputError: the state is that of another number of processes or kind of device.
            ValueError, or whatever comes of values of a wrong type: it is the state of no such training.
        """
        self.setup, config = setup, setup.config
        self.epoch, self.number = 1, 0  # of the batch that was seen last
        steps = config.training.epochs * -(-len(setup.batches) // config.training.accumulate)
        setup.objective.to(setup.fabric.device)
        self._optimizer, self._schedule = build_optimizer(config.training, setup.model, setup.objective, steps)
        if state:
            self._load(state)
        model = compile_model(setup.model) if config.hardware.compile else setup.model
        self._wrapped, self._stepper = setup.fabric.setup(model, self._optimizer)

    def __iter__(self) -> Iterator[Step]:
        """The steps from here to the end of the last epoch."""
        while self.epoch <= self.setup.config.training.epochs:
            for batch in self.setup.batches.of_epoch(self.epoch, after=self.number):
                self.number += 1
                yield self._step(batch)
            self.epoch, self.number = self.epoch + 1, 0

    def _step(self, batch: Batch) -> Step:
        options, fabric, objective = self.setup.config.training, self.setup.fabric, self.setup.objective
        if not self.setup.model.training:  # telling every module took a seventh of a demo step, profiled on a GPU
            self.setup.model.train()
        with memory_errors(options):
            loss = backward(fabric, self._wrapped, objective, batch, options.accumulate, last=self.complete)
        if self.complete:
            if fabric.world_size > 1:  # each has the objective's own gradient of all clips: their mean, to the last bit
                for parameter in objective.parameters():
                    if parameter.grad is not None:
                        parameter.grad = fabric.all_reduce(parameter.grad)  # type: ignore[assignment]
            if norm := options.clip_norm:
                fabric.clip_gradients(self._wrapped, self._stepper, max_norm=norm, error_if_nonfinite=False)
            self._stepper.step()
            self._schedule.step()
            self._stepper.zero_grad()
        losses = {"train_loss": loss.total.detach()} | {f"term.{name}": term for name, term in loss.terms.items()}
        return Step(self.epoch, self.number, losses, float(self._schedule.get_last_lr()[0]))

    @property
    def complete(self) -> bool:
        """Whether the optimiser takes its step after this batch; where not, its gradient waits for the next one's."""
        return self.number % self.setup.config.training.accumulate == 0 or self.number == len(self.setup.batches)

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, to be taken after a batch that is `complete`."""
        return {
            "epoch": self.epoch,
            "number": self.number,
            "model": self.setup.model.trained_state(),
            "objective": self.setup.objective.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": random_states(self.setup.fabric),
            "device": self.setup.fabric.device.type,
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        fabric = self.setup.fabric
        stopped, here = (len(state["random"]), state["device"]), (fabric.world_size, fabric.device.type)
        if stopped != here:
            raise InputError(
                f"this training was stopped in {stopped[0]} process(es) on {stopped[1]} and cannot go on in {here[0]} "
                f"on {here[1]} as if nothing had been: start it as before, or from its beginning with again=True."
            )
        self.epoch, self.number = state["epoch"], state["number"]
        epochs, batches = self.setup.config.training.epochs, len(self.setup.batches)
        if self.epoch not in range(1, epochs + 1) or self.number not in range(batches + 1):
            raise ValueError(f"there is no batch {self.number} of epoch {self.epoch}")
        self.setup.model.load_trained_state(state["model"])
        for name, value in self.setup.objective.state_dict().items():
            if state["objective"][name].shape != value.shape:  # torch 2.8 takes the first of several numbers for one
                raise ValueError(f"the objective's {name} is of another shape")
        self.setup.objective.load_state_dict(state["objective"])
        moments = {int(number): values for number, values in state["optimizer"]["state"].items()}
        self._optimizer.load_state_dict({**state["optimizer"], "state": moments})
        for parameter, own in self._optimizer.state.items():
            if {moment.shape for moment in own.values()} - {parameter.shape, torch.Size()}:
                raise ValueError("the optimiser's moments are of another shape than the parameters")
        self._schedule.load_state_dict(state["schedule"])
        restore_random_states(fabric, state["random"])
