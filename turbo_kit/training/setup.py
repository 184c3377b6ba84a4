"""What a training needs, prepared from a config and two lists of clips: features, batches, model, objective."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turbo_kit.board import PairKey
from turbo_kit.config import InputError, RunConfig, TrainingOptions
from turbo_kit.corpora import Corpus
from turbo_kit.corpora.batching import bucketed_batches
from turbo_kit.corpora.utterance import UNLABELLED
from turbo_kit.encoders.feature_cache import Features
from turbo_kit.model import TurboModel
from turbo_kit.model.inference import clip_features, clip_lengths, padded_batch, to_device
from turbo_kit.objectives import Objective
from turbo_kit.training.gradient_cache import Batch
from turbo_kit.training.optimizer import build_fabric

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class TrainingSetup:
    """All that training needs, prepared from a config and two lists of clips."""

    config: RunConfig
    fabric: Fabric
    model: TurboModel
    objective: Objective
    batches: TrainingBatches
    dev: Corpus
    dev_features: dict[str, Features]


def prepare(
    config: RunConfig, train: Corpus, dev: Corpus, fabric: Fabric | None = None, *, progress: bool = False
) -> TrainingSetup:
    """Builds the model and the objective, and computes or reads what the frozen trunks make of the clips.

    Raises:
        InputError: a config that does not fit, or a clip that cannot be used.
    """
    fabric = fabric or build_fabric(config.hardware)
    fabric.seed_everything(config.training.seed, verbose=False)
    labels = _visible_labels(train, config)
    objective = build_objective(config, labels, len(train.classes))
    model = TurboModel.from_config(config, train.classes).to(fabric.device)
    train_features = clip_features(model, train, progress=progress)
    dev_features = clip_features(model, dev, progress=progress)
    batches = TrainingBatches(config.training, train, train_features, labels, fabric)
    if fabric.world_size > 1:  # the same weights everywhere, and masks of its own for each process
        torch.manual_seed(int(np.random.SeedSequence([config.training.seed, fabric.global_rank]).generate_state(1)[0]))
    return TrainingSetup(config, fabric, model, objective, batches, dev, dev_features)


def build_objective(config: RunConfig, labels: Sequence[int], classes: int) -> Objective:
    """The objective that a config names.

    Args:
        labels: the training labels that the classifier sees, for class weights; -100 = none.
        classes: how many there are.

    Raises:
        InputError: no such objective, or one that needs a modality that the run leaves out.
    """
    loss = config.loss
    switches = ("temperature", "similarity", "direction", "negatives", "cross_entropy", "r_drop_alpha")
    pair_weights: dict[PairKey, float] = dict(loss.pair_weights.items())
    objective = Objective.preset(
        loss.objective,
        contrastive_weight=loss.contrastive_weight,
        normalize_pairs=loss.normalize_pairs,
        exclude=loss.exclude,
        pair_weights=pair_weights,
        class_weights=_class_weights(labels, classes) if loss.class_weighting == "balanced" else None,
        **{name: value for name in switches if (value := getattr(loss, name)) is not None},
    )
    for letter in objective.modalities:
        if letter not in {modality[0] for modality in config.modalities}:
            raise InputError(
                f"objective {loss.objective!r} compares views of {letter!r}, and this run leaves that modality "
                f"out (audio={config.model.audio!r}, text={config.model.text!r}): choose ce or ce-2pass, or "
                "name an encoder for it."
            )
    return objective


class TrainingBatches:
    """The training clips as batches on the device, in an order that the seed and the epoch decide."""

    def __init__(
        self, options: TrainingOptions, train: Corpus, features: dict[str, Features], labels: list[int], fabric: Fabric
    ) -> None:
        self._features, self._lengths, self._device = features, clip_lengths(features), fabric.device
        self._rank, self._processes = fabric.global_rank, fabric.world_size
        if (smallest := min(len(train), options.batch_size)) < self._processes:
            raise InputError(f"a batch of {smallest} clips for {self._processes} processes: start fewer.")
        self._names = [utterance.id for utterance in train.utterances]
        self._numbers = torch.tensor([labels, train.transcripts])  # (2, N): see `Batch`
        self._size, self._chunk, self._seed = options.batch_size, options.chunk_size, options.seed

    def __len__(self) -> int:
        return max(1, len(self._lengths) // self._size)

    def clips(self, epoch: int, number: int) -> list[str]:
        """Who was in a batch, the first of an epoch being number 1."""
        return [self._names[index] for index in self._order(epoch)[number - 1]]

    def _order(self, epoch: int) -> list[NDArray[np.int64]]:
        return bucketed_batches(self._lengths, self._size, seed=self._seed, epoch=epoch)

    def of_epoch(self, epoch: int, after: int = 0) -> Iterator[Batch]:
        """The batches of an epoch after so many, in chunks of `chunk_size` clips, padded no further than they need.

        Of several processes each takes its share of every batch: rank r takes clips r, r + n, r + 2n, ..., so every
        rank gets long and short clips.
        """
        for indices in self._order(epoch)[after:]:
            shares = [indices[rank :: self._processes] for rank in range(self._processes)]
            own, everyone = shares[self._rank], np.concatenate(shares)
            parts = np.split(own, range(self._chunk, len(own), self._chunk)) if self._chunk else [own]
            chunks = [padded_batch(self._features, part, self._device) for part in parts]
            labels, transcripts = to_device(self._numbers[:, everyone], self._device)
            yield Batch(chunks, labels, transcripts, [len(share) for share in shares] if len(shares) > 1 else ())


def _visible_labels(train: Corpus, config: RunConfig) -> list[int]:
    """The training labels, of which `label_fraction` hides all but a share of each class (at least one clip)."""
    labels = np.array(train.labels)
    if not (labels >= 0).any():
        raise InputError(f"corpus {train.name!r}: no clip of the training list has a label; label some of them.")
    if config.data.label_fraction == 1:
        return list(map(int, labels))
    generator = np.random.default_rng([config.training.seed, len(labels)])
    visible = np.full_like(labels, UNLABELLED)
    for index in range(len(train.classes)):
        members = generator.permutation(np.flatnonzero(labels == index))
        kept = members[: max(1, round(config.data.label_fraction * len(members)))]
        visible[kept] = index
    return list(map(int, visible))


def _class_weights(labels: Sequence[int], classes: int) -> Tensor:
    """Weights that are inverse to how often a class occurs, with mean 1 over the clips; 0 for one that does not."""
    counts = np.bincount([label for label in labels if label >= 0], minlength=classes)
    weights = np.divide(counts.sum(), (counts > 0).sum() * counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)
