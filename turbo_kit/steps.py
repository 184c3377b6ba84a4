"""From a config and two lists of clips to steps of training: features, batches, model, objective, optimiser."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from turbo_kit.batches import bucketed_batches
from turbo_kit.config import InputError, RunConfig
from turbo_kit.corpora import Corpus
from turbo_kit.corpora.utterance import UNLABELLED
from turbo_kit.encoders.cache import Features
from turbo_kit.evaluation import clip_features, clip_lengths, moved, padded_batch
from turbo_kit.gradient_cache import Batch, backward, memory_errors
from turbo_kit.model import TurboModel
from turbo_kit.objectives import Objective
from turbo_kit.objectives.pairs import PairKey
from turbo_kit.optimisation import agree, compiled, fabric_of, optimizer_of
from turbo_kit.resume import random_states, restore_random_states

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Ready:
    """All that training needs, prepared from a config and two lists of clips."""

    config: RunConfig
    fabric: "Fabric"
    model: TurboModel
    objective: Objective
    batches: "_Batches"
    dev: Corpus
    dev_features: dict[str, Features]


def prepare(
    config: RunConfig, train: Corpus, dev: Corpus, fabric: "Fabric | None" = None, *, progress: bool = False
) -> Ready:
    """Builds the model and the objective, and computes or reads what the frozen trunks make of the clips.

    Raises:
        InputError: a config that does not fit, or a clip that cannot be used.
    """
    fabric = fabric or fabric_of(config)
    fabric.seed_everything(config.seed, verbose=False)
    labels = _visible_labels(train, config)
    objective = build_objective(config, labels, len(train.classes))
    model = TurboModel.from_config(config, train.classes).to(fabric.device)
    train_features = clip_features(model, train, progress=progress)
    dev_features = clip_features(model, dev, progress=progress)
    batches = _Batches(config, train, train_features, labels, fabric)
    if fabric.world_size > 1:  # the same weights everywhere, and masks of its own for each process
        torch.manual_seed(int(np.random.SeedSequence([config.seed, fabric.global_rank]).generate_state(1)[0]))
    return Ready(config, fabric, model, objective, batches, dev, dev_features)


@dataclass(frozen=True)
class Step:
    """One batch that training has seen: `losses` holds `train_loss` and each term as `term.<name>`, detached."""

    epoch: int
    number: int
    losses: dict[str, Tensor]
    learning_rate: float


class Training:
    """Trains batch by batch, epoch by epoch: an iterator of steps; whoever asks for the next may look on.

    The model may be put into evaluation mode between two steps.
    """

    def __init__(self, ready: Ready, state: Mapping[str, Any] | None = None) -> None:
        """A training from the model's present weights, or one that goes on from a `state` of this very training.

        Raises:
            InputError: the state is that of another number of processes or kind of device.
            ValueError, or whatever comes of values of a wrong type: it is the state of no such training.
        """
        self.ready, config = ready, ready.config
        self.epoch, self.number = 1, 0  # of the batch that was seen last
        steps = config.epochs * -(-len(ready.batches) // config.accumulate)
        ready.objective.to(ready.fabric.device)
        self._optimizer, self._schedule = optimizer_of(config, ready.model, ready.objective, steps)
        if state:
            self._load(state)
        model = compiled(ready.model) if config.compile else ready.model
        self._wrapped, self._stepper = ready.fabric.setup(model, self._optimizer)

    def __iter__(self) -> Iterator[Step]:
        """The steps from here to the end of the last epoch."""
        while self.epoch <= self.ready.config.epochs:
            for batch in self.ready.batches.of_epoch(self.epoch, after=self.number):
                self.number += 1
                yield self._step(batch)
            self.epoch, self.number = self.epoch + 1, 0

    def _step(self, batch: Batch) -> Step:
        config, fabric, objective = self.ready.config, self.ready.fabric, self.ready.objective
        if not self.ready.model.training:  # telling every module took a seventh of a demo step, profiled on a GPU
            self.ready.model.train()
        with memory_errors(config):
            loss = backward(fabric, self._wrapped, objective, batch, config.accumulate, last=self.complete)
        if self.complete:
            if fabric.world_size > 1:
                agree(fabric, objective)
            if config.clip_norm:
                fabric.clip_gradients(self._wrapped, self._stepper, max_norm=config.clip_norm, error_if_nonfinite=False)
            self._stepper.step()
            self._schedule.step()
            self._stepper.zero_grad()
        losses = {"train_loss": loss.total.detach()} | {f"term.{name}": term for name, term in loss.terms.items()}
        return Step(self.epoch, self.number, losses, float(self._schedule.get_last_lr()[0]))

    @property
    def complete(self) -> bool:
        """Whether the optimiser takes its step after this batch; where not, its gradient waits for the next one's."""
        return self.number % self.ready.config.accumulate == 0 or self.number == len(self.ready.batches)

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, to be taken after a batch that is `complete`."""
        return {
            "epoch": self.epoch,
            "number": self.number,
            "model": self.ready.model.trained_state(),
            "objective": self.ready.objective.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": random_states(self.ready.fabric),
            "device": self.ready.fabric.device.type,
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        fabric = self.ready.fabric
        stopped, here = (len(state["random"]), state["device"]), (fabric.world_size, fabric.device.type)
        if stopped != here:
            raise InputError(
                f"this training was stopped in {stopped[0]} process(es) on {stopped[1]} and cannot go on in {here[0]} "
                f"on {here[1]} as if nothing had been: start it as before, or from its beginning with again=True."
            )
        self.epoch, self.number = state["epoch"], state["number"]
        if self.epoch not in range(1, self.ready.config.epochs + 1) or self.number not in range(
            len(self.ready.batches) + 1
        ):
            raise ValueError(f"there is no batch {self.number} of epoch {self.epoch}")
        self.ready.model.load_trained_state(state["model"])
        for name, value in self.ready.objective.state_dict().items():
            if state["objective"][name].shape != value.shape:  # torch 2.8 takes the first of several numbers for one
                raise ValueError(f"the objective's {name} is of another shape")
        self.ready.objective.load_state_dict(state["objective"])
        moments = {int(number): values for number, values in state["optimizer"]["state"].items()}
        self._optimizer.load_state_dict({**state["optimizer"], "state": moments})
        for parameter, own in self._optimizer.state.items():
            if {moment.shape for moment in own.values()} - {parameter.shape, torch.Size()}:
                raise ValueError("the optimiser's moments are of another shape than the parameters")
        self._schedule.load_state_dict(state["schedule"])
        restore_random_states(fabric, state["random"])


def build_objective(config: RunConfig, labels: Sequence[int], classes: int) -> Objective:
    """The objective that a config names.

    Args:
        config: of the run.
        labels: the training labels that the classifier sees, for class weights; -100 = none.
        classes: how many there are.

    Raises:
        InputError: no such objective, or one that needs a modality that the run leaves out.
    """
    switches = ("temperature", "similarity", "direction", "negatives", "cross_entropy", "r_drop_alpha")
    pair_weights: dict[PairKey, float] = dict(config.pair_weights.items())
    objective = Objective.preset(
        config.objective,
        contrastive_weight=config.contrastive_weight,
        normalize_pairs=config.normalize_pairs,
        exclude=config.exclude,
        pair_weights=pair_weights,
        class_weights=_class_weights(labels, classes) if config.class_weighting == "balanced" else None,
        **{name: value for name in switches if (value := getattr(config, name)) is not None},
    )
    letters = {modality[0] for modality in config.modalities}
    for letter in objective.modalities:
        if letter not in letters:
            raise InputError(
                f"objective {config.objective!r} compares views of {letter!r}, and this run leaves that modality out "
                f"(audio={config.audio!r}, text={config.text!r}): choose ce or ce-2pass, or name an encoder for it."
            )
    return objective


class _Batches:
    """The training clips as batches on the device, in an order that the seed and the epoch decide."""

    def __init__(
        self, config: RunConfig, train: Corpus, features: dict[str, Features], labels: list[int], fabric: "Fabric"
    ) -> None:
        self._features, self._lengths, self._device = features, clip_lengths(features), fabric.device
        self._rank, self._processes = fabric.global_rank, fabric.world_size
        if (smallest := min(len(train), config.batch_size)) < self._processes:
            raise InputError(f"a batch of {smallest} clips for {self._processes} processes: start fewer.")
        self._names = [utterance.id for utterance in train.utterances]
        self._labels = torch.tensor(labels)
        self._transcripts = torch.tensor(train.transcripts)
        self._size, self._chunk, self._seed = config.batch_size, config.chunk_size, config.seed

    def __len__(self) -> int:
        return max(1, len(self._lengths) // self._size)

    def clips(self, epoch: int, number: int) -> list[str]:
        """Who was in a batch, the first of an epoch being number 1."""
        return [self._names[index] for index in self._order(epoch)[number - 1]]

    def _order(self, epoch: int) -> "list[NDArray[np.int64]]":
        return bucketed_batches(self._lengths, self._size, seed=self._seed, epoch=epoch)

    def of_epoch(self, epoch: int, after: int = 0) -> Iterator[Batch]:
        """The batches of an epoch after so many, in chunks of `chunk_size` clips, padded no further than they need.

        Of several processes each takes its share of every batch: every so-manieth clip, so that all have long ones.
        """
        for indices in self._order(epoch)[after:]:
            shares = [indices[rank :: self._processes] for rank in range(self._processes)]
            own, everyone = shares[self._rank], np.concatenate(shares)
            parts = np.split(own, range(self._chunk, len(own), self._chunk)) if self._chunk else [own]
            chunks = [padded_batch(self._features, part, self._device) for part in parts]
            labels, transcripts = (moved(kind[everyone], self._device) for kind in (self._labels, self._transcripts))
            yield Batch(chunks, labels, transcripts, [len(share) for share in shares] if len(shares) > 1 else ())


def _visible_labels(train: Corpus, config: RunConfig) -> list[int]:
    """The training labels, of which `label_fraction` hides all but a share of each class (at least one clip)."""
    labels = np.array(train.labels)
    if not (labels >= 0).any():
        raise InputError(f"corpus {train.name!r}: no clip of the training list has a label; label some of them.")
    if config.label_fraction == 1:
        return list(map(int, labels))
    generator = np.random.default_rng([config.seed, len(labels)])
    visible = np.full_like(labels, UNLABELLED)
    for index in range(len(train.classes)):
        members = generator.permutation(np.flatnonzero(labels == index))
        kept = members[: max(1, round(config.label_fraction * len(members)))]
        visible[kept] = index
    return list(map(int, visible))


def _class_weights(labels: Sequence[int], classes: int) -> Tensor:
    """Weights that are inverse to how often a class occurs, with mean 1 over the clips; 0 for one that does not."""
    counts = np.bincount([label for label in labels if label >= 0], minlength=classes)
    weights = np.divide(counts.sum(), (counts > 0).sum() * counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)
