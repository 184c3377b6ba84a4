"""Running a model over many clips: features from the cache, padded batches on the device, outputs in order."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turbo_kit.corpora import Corpus
from turbo_kit.corpora.batching import ordered_batches
from turbo_kit.encoders import TrunkOutput
from turbo_kit.encoders.feature_cache import Features, trunk_features
from turbo_kit.model.turbo_model import Arrays, TurboModel

Module = TypeVar("Module", bound=torch.nn.Module)

INFERENCE_BATCH = 128


def on_device(model: Module, device: str) -> Module:
    """The model or encoder where a config's `device` says: cpu, cuda, mps, or the best there is."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return model.to(device)


def clip_features(model: TurboModel, corpus: Corpus, *, progress: bool = False) -> dict[str, Features]:
    """What each modality's frozen trunk gives for the clips, from the cache where it is there."""
    return {
        modality: trunk_features(model.encoder(modality), corpus.utterances, model.max_seconds, progress=progress)
        for modality in model.modalities
    }


def clip_lengths(features: Mapping[str, Features]) -> NDArray[np.int64]:
    """(N,) positions of each clip over all modalities: what a batch of similar clips goes by."""
    return np.asarray(np.sum([feature.lengths for feature in features.values()], axis=0))


def padded_batch(
    features: Mapping[str, Features], indices: Sequence[int] | NDArray[np.int64], device: torch.device
) -> dict[str, TrunkOutput]:
    """Some of the clips by modality, padded to the longest of them, on the device."""
    batch = {m: feature.batch(indices, pinned=device.type == "cuda") for m, feature in features.items()}
    return {m: TrunkOutput(*(to_device(part, device) for part in hidden)) for m, hidden in batch.items()}


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; on the way to a GPU the host goes on without waiting."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@torch.inference_mode()
def model_outputs(
    model: TurboModel, features: Mapping[str, Features], passes: int = 1, missing: str | None = None
) -> Arrays:
    """Runs all clips through the heads in the model's present mode (training mode: with dropout).

    Args:
        features: what the model's trunks gave for the N clips.
        passes: how many views of each clip.
        missing: a modality that the classifier has to do without.

    Returns:
        `logits` (passes, N, C), `pooled.<modality>` (passes, N, D) and `view.<view>` (N, projection), in the order of
        the clips.
    """
    device = model.classifier.weight.device
    order, parts = [], []
    for indices in ordered_batches(clip_lengths(features), INFERENCE_BATCH):
        absent = {missing: torch.ones(len(indices), dtype=torch.bool, device=device)} if missing else None
        output = model(padded_batch(features, indices, device), passes, absent)
        named = {"logits": output.logits} | {f"pooled.{m}": pooled for m, pooled in output.pooled.items()}
        named |= {f"view.{name}": view[None] for name, view in output.views.items()}
        parts.append({name: value.float().cpu().numpy() for name, value in named.items()})
        order.append(indices)
    back = np.argsort(np.concatenate(order))
    joined = {name: np.concatenate([part[name] for part in parts], axis=1)[:, back] for name in parts[0]}
    return {name: array[0] if name.startswith("view.") else array for name, array in joined.items()}
