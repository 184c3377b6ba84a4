"""A batch of clips, and its views under any dropout rate."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from turbo_kit.config import InputError, unknown
from turbo_kit.corpora import Corpus, Utterance
from turbo_kit.encoders import Encoder, TrunkOutput
from turbo_kit.model import ModelOutput, TurboModel
from turbo_kit.model.inference import clip_features, padded_batch


@dataclass(frozen=True)
class Batch:
    """B clips with their trunk features: everything the heads need for any number of passes."""

    utterances: tuple[Utterance, ...]
    hidden: dict[str, TrunkOutput]
    """By modality, B clips padded to the longest."""
    labels: Tensor
    """(B,) the place of each clip's class; -100 where it has no label."""
    transcripts: Tensor
    """(B,) equal numbers for equal transcripts."""
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.utterances)


def draw_batch(model: TurboModel, corpus: Corpus, size: int = 64, seed: int = 0) -> Batch:
    """Draws clips at random, and reads or computes their trunk features.

    Args:
        model: whose trunks are asked.
        corpus: the clips to draw from, such as the training list of a fold.
        size: clips in the batch, at least 2.
        seed: of the draw; the same clips each time.

    Raises:
        InputError: more clips than there are, or fewer than two.
    """
    if not 2 <= size <= len(corpus):
        raise InputError(
            f"a batch of {size} clips: corpus {corpus.name!r} has {len(corpus)} here; draw 2 to that many."
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(len(corpus))[:size])
    part = corpus.subset(corpus.utterances[i] for i in chosen)
    hidden = padded_batch(clip_features(model, part), range(size), model.classifier.weight.device)
    return Batch(part.utterances, hidden, torch.tensor(part.labels), torch.tensor(part.transcripts), part.classes)


def dropout_views(
    model: TurboModel, batch: Batch, passes: int = 2, rates: Mapping[str, float] | None = None, seed: int = 0
) -> ModelOutput:
    """Runs the heads on a batch with dropout on, whatever mode the model is in.

    Args:
        model: the model; it is left in the mode it was in.
        batch: B clips.
        passes: how many views of each clip.
        rates: dropout rate by modality in the place of the model's own.
        seed: of the masks; the same views each time.

    Returns:
        `views` a1, a2, ... (B, projection), `logits` (passes, B, C), `pooled` (passes, B, D) by modality.
    """
    with dropout_on(model, rates or {}, seed):
        output: ModelOutput = model(batch.hidden, passes)
    return output


@contextmanager
def dropout_on(model: TurboModel, rates: Mapping[str, float], seed: int) -> Iterator[None]:
    """Puts a model into training mode with seeded masks; restores mode, rates and random state afterwards."""
    device = model.classifier.weight.device
    was_training = model.training
    model.train()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), override_dropout_rates(model, rates):
            torch.manual_seed(seed)
            yield
    finally:
        model.train(was_training)


@contextmanager
def override_dropout_rates(model: TurboModel, rates: Mapping[str, float]) -> Iterator[None]:
    """Overrides the dropout rate of the named modalities, as `RunConfig` would set it, within the context.

    Raises:
        InputError: the model has no such modality, or a rate outside 0 to 0.95.
    """
    places: list[tuple[nn.Module, str, float, float]] = []
    for modality, rate in rates.items():
        if modality not in model.modalities:
            raise unknown("modality", modality, model.modalities)
        if not 0 <= rate <= 0.95:
            raise InputError(f"dropout rate {rate} of {modality!r} is out of range: it must be from 0 to 0.95.")
        places += [(*place, rate) for place in _dropouts(model.encoder(modality), off=rate == 0)]
    try:
        for part, name, _, rate in places:
            setattr(part, name, rate)
        yield
    finally:
        for part, name, before, _ in places:
            setattr(part, name, before)


def _dropouts(encoder: Encoder, off: bool) -> Iterator[tuple[nn.Module, str, float]]:
    """Every place in an encoder that holds its dropout rate: the module, its attribute and the rate.

    Some families drop by modules, others by numbers that they hand to a function. Activation dropout and the like have
    rates of their own, which the kit leaves alone unless dropout is switched `off`.
    """
    own = (encoder.backbone.embedding_dropout if encoder.light_head is None else encoder.light_head.dropout).p
    for part in encoder.modules():
        for name in ("p",) if isinstance(part, nn.Dropout) else ("dropout", "activation_dropout"):
            rate = getattr(part, name, None)
            if isinstance(rate, float | int) and (off or (rate == own and name != "activation_dropout")):
                yield part, name, rate
