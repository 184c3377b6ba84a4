"""Distances between the dropout views of a clip, compared with the distance to other clips.

Distances are cosine distances, 1 - cos, between pooled embeddings (what the classifier reads before fusion). On unit
vectors the squared distance is twice that, so in-modal alignment (arXiv 2005.10242) is twice the mean spread.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from turbo_kit.config import InputError, unknown
from turbo_kit.encoders import Encoder
from turbo_kit.inspection.one_batch import Batch, dropout_on
from turbo_kit.metrics.geometry import uniformity
from turbo_kit.model import TurboModel

Views = NDArray[np.floating[Any]]
"""(passes, B, D) pooled embeddings of B clips."""


@dataclass(frozen=True)
class ViewDistances:
    """Cosine distances (B,) of each clip's views to each other and to other clips."""

    spread: NDArray[np.float64]
    """Mean distance between two views of the clip."""
    farthest: NDArray[np.float64]
    """Largest distance between two views of the clip."""
    nearest: NDArray[np.float64]
    """Distance from a view to the nearest other clip in another pass, mean over the clip's views and the passes."""
    identified: NDArray[np.float64]
    """Share of (view, other pass) in which the clip's own view is nearer than that of every other clip."""

    def means(self) -> dict[str, float]:
        """Each measure as its mean over the clips."""
        return {name: float(getattr(self, name).mean()) for name in ("spread", "farthest", "nearest", "identified")}


def encoder_views(
    model: TurboModel, batch: Batch, modality: str, passes: int = 2, rate: float | None = None, seed: int = 0
) -> Views:
    """The pooled embeddings of one modality, pass by pass, with dropout on whatever mode the model is in.

    Only this modality's head runs: for the views of all of them, and their logits, there is `dropout_views`.

    Args:
        model: the model; it is left in the mode it was in.
        batch: B clips.
        modality: whose head runs.
        passes: how many views of each clip.
        rate: dropout rate in the place of the model's own; 0 gives the dropout-free embeddings in every pass.
        seed: of the masks; the same views each time.

    Returns:
        (passes, B, D).

    Raises:
        InputError: no such modality, fewer than one pass, or a rate outside 0 to 0.95.
    """
    with _passes(model, modality, passes, rate, seed) as encoder:
        return _numpy(encoder(batch.hidden[modality], passes).pooled)


def layer_views(
    model: TurboModel, batch: Batch, modality: str, passes: int = 2, rate: float | None = None, seed: int = 0
) -> dict[str, Views]:
    """The views after each step of one modality's stem and head, each pooled over its real positions.

    Args:
        model, batch, modality, passes, rate, seed: as for `encoder_views`.

    Returns:
        (passes, B, D) by step, in the order in which they run: "first dropout" (of a light head, or of embeddings that
        are trained), "layer 1", "layer 2", ... and "norm", which is what the classifier reads where there is a final
        norm and the model pools by the mean. In a step that the passes share (the stem) they are equal.

    Raises:
        InputError: as for `encoder_views`.
    """
    found: dict[str, Views] = {}
    with _passes(model, modality, passes, rate, seed) as encoder:
        mask = batch.hidden[modality].mask

        def keep(name: str) -> Any:
            def hook(_: nn.Module, __: Any, output: Any) -> None:
                state: Tensor = output[0] if isinstance(output, tuple) else output
                weights = mask.repeat(len(state) // len(mask), 1).to(state.dtype)[:, :, None]
                pooled = ((state * weights).sum(1) / weights.sum(1)).view(-1, len(mask), state.shape[-1])
                found[name] = _numpy(pooled.expand(passes, -1, -1))

            return hook

        handles = [part.register_forward_hook(keep(name)) for name, part in _steps(encoder).items()]
        try:
            encoder(batch.hidden[modality], passes)
        finally:
            for handle in handles:
                handle.remove()
    return found


def _steps(encoder: Encoder) -> dict[str, nn.Module]:
    head = encoder.light_head
    layers = encoder.backbone.layers if head is None else head.layers
    norm = encoder.backbone.final_norm() if head is None else head.norm_out
    first = encoder.backbone.embedding_dropout if head is None else head.dropout
    steps = {"first dropout": first} | {f"layer {number}": layer for number, layer in enumerate(layers, start=1)}
    return steps if norm is None else {**steps, "norm": norm}


def view_distances(views: Views, same: "NDArray[np.int64] | Tensor | None" = None) -> ViewDistances:
    """Distances between the views of each clip, and to the nearest other clip.

    Args:
        views: (passes, B, D), at least two passes and two clips.
        same: (B,) numbers; clips with the same number are not each other's neighbours, such as those with the same
            transcript where text is compared: nothing could tell them apart. None: every other clip is a neighbour.

    Raises:
        InputError: too few passes or clips, a view without a direction, or clips that have no neighbour.
    """
    passes, size = views.shape[:2]
    if passes < 2 or size < 2:
        raise InputError(f"{passes} passes of {size} clips: distances between views need at least 2 of each.")
    unit = _unit(views)
    numbers = np.arange(size) if same is None else np.asarray(same)
    neighbour = numbers[:, None] != numbers[None]
    if not neighbour.any(axis=1).all():
        raise InputError("a clip has no neighbour, since all the others count as the same: draw a larger batch.")
    distance = np.clip(1 - np.einsum("pid,qjd->pqij", unit, unit), 0, None)
    ordered = ~np.eye(passes, dtype=bool)  # (pass of the view, pass that it is compared with)
    own = distance.diagonal(axis1=2, axis2=3)[ordered]  # (ordered pairs of passes, B)
    others = np.where(neighbour, distance, np.inf).min(axis=3)[ordered]
    return ViewDistances(own.mean(0), own.max(0), others.mean(0), (own < others).mean(0))


def view_sweep(
    models: Mapping[str, TurboModel],
    batch: Batch,
    rates: Sequence[float] = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    passes: Sequence[int] = (2,),
    seed: int = 0,
) -> pd.DataFrame:
    """The distances of each modality by dropout rate and number of passes.

    Args:
        models: by name; all with the trunks that the batch was drawn with.
        batch: B clips; those with the same transcript are not each other's neighbours in text.
        rates: dropout rates.
        passes: numbers of passes.
        seed: of the masks, the same for every row, so that rows differ by what they say alone.

    Returns:
        One row for each model, modality, rate and number of passes: `spread`, `farthest`, `nearest`, `identified`
        (means over the clips, see `ViewDistances`), and `alignment` and `uniformity` of the views.

    Raises:
        InputError: a rate or a number of passes that cannot be used, or models whose trunks differ.
    """
    check_shared_trunk(models)
    rows = []
    for name, model in models.items():
        for modality in model.modalities:
            for rate in rates:
                for count in passes:
                    views = encoder_views(model, batch, modality, count, rate, seed)
                    about = {"model": name, "modality": modality, "rate": rate, "passes": count}
                    rows.append(about | _measures(views, batch, modality))
    return pd.DataFrame(rows)


def layer_sweep(models: Mapping[str, tuple[TurboModel, Batch]], passes: int = 2, seed: int = 0) -> pd.DataFrame:
    """The distances after each step of each modality's stem and head, at the model's own dropout rate.

    Args:
        models: a model and a batch drawn with it, by name.
        passes: how many views of each clip.
        seed: of the masks.

    Returns:
        One row for each model, modality and step (`layer`, see `layer_views`), with the columns of `view_sweep`.
    """
    return pd.DataFrame(
        [
            {"model": name, "modality": modality, "layer": layer} | _measures(views, batch, modality)
            for name, (model, batch) in models.items()
            for modality in model.modalities
            for layer, views in layer_views(model, batch, modality, passes, seed=seed).items()
        ]
    )


class Forces(NamedTuple):
    """InfoNCE between two views, split into its attracting and its repelling part."""

    loss: float
    pull: float
    """Norm of the gradient that draws each clip's two views together."""
    push: float
    """Norm of the gradient that drives the clips of the batch apart."""
    same_class: float
    """Share of the push's softmax weight that falls on other clips of the anchor's own class."""


def pull_and_push(first: Tensor, second: Tensor, labels: Tensor, temperature: float = 0.05) -> Forces:
    """InfoNCE of two views, both directions, cut into the positive's pull and the other clips' push.

    With s_ij = cos(x_i, y_j) / temperature the loss is the mean of log sum_j exp(s_ij) - s_ii: the second part pulls,
    the first pushes. A pair of equal views has the highest cosine there is, so that nothing is left to pull.

    Args:
        first: (B, D).
        second: (B, D), row i the other view of the same clip.
        labels: (B,) class of each clip; -100 where it has none.
        temperature: above 0.
    """
    with torch.enable_grad():
        both = torch.stack([first, second]).detach().clone().requires_grad_()
        x, y = F.normalize(both, dim=-1)
        logits = x @ y.T / temperature
        attraction = -logits.diagonal().mean()
        repulsion = (logits.logsumexp(0) + logits.logsumexp(1)).mean() / 2
        (pull,) = torch.autograd.grad(attraction, both, retain_graph=True)
        (push,) = torch.autograd.grad(repulsion, both)
    weights = (logits.softmax(1) + logits.softmax(0).T).detach().fill_diagonal_(0)
    alike = (labels[:, None] == labels[None]) & (labels >= 0)[:, None]
    share = float((weights * alike).sum() / weights.sum())
    loss = float((attraction + repulsion).detach())
    return Forces(loss, float(pull.norm()), float(push.norm()), share)


def describe_views(model: str, modality: str, rate: float, views: Views, distances: ViewDistances) -> str:
    """A sentence that describes the figure of a batch's views in numbers."""
    passes, size = views.shape[:2]
    means = distances.means()
    order = "nearer than" if means["spread"] < means["nearest"] else "no nearer than"
    return (
        f"{modality.capitalize()}, {model}, dropout rate {rate:.2f}, {passes} passes of {size} clips: two views of a "
        f"clip are {means['spread']:.3f} apart on average, {order} the nearest other clip "
        f"({means['nearest']:.3f}); {100 * means['identified']:.1f} % of the views have their own clip's other view "
        "as nearest neighbour."
    )


def neighbour_groups(batch: Batch, modality: str) -> Tensor | None:
    """The `same` of `view_distances`: equal transcripts where text is compared, nothing elsewhere."""
    return batch.transcripts if modality == "text" else None


def check_shared_trunk(models: Mapping[str, TurboModel]) -> None:
    """Rejects models that cannot share a batch.

    Raises:
        InputError: no model, or models whose trunks differ.
    """
    if not models:
        raise InputError("no model to look at: give at least one, by name.")
    (first, one), *rest = models.items()
    for name, model in rest:
        if model.fingerprints != one.fingerprints:
            raise InputError(
                f"the models {first!r} and {name!r} stand on different frozen trunks, so one batch cannot serve both: "
                "draw a batch for each, and look at them one by one."
            )


def _measures(views: Views, batch: Batch, modality: str) -> dict[str, float]:
    means = view_distances(views, neighbour_groups(batch, modality)).means()
    spread_out = float(np.mean([uniformity(view) for view in views]))
    return means | {"alignment": 2 * means["spread"], "uniformity": spread_out}


@contextmanager
def _passes(model: TurboModel, modality: str, passes: int, rate: float | None, seed: int) -> Iterator[Encoder]:
    """The modality's encoder in training mode, without gradients, its masks seeded; all is put back afterwards."""
    if modality not in model.modalities:
        raise unknown("modality", modality, model.modalities)
    if passes < 1:
        raise InputError(f"passes = {passes}: it must be at least 1.")
    with torch.no_grad(), dropout_on(model, {} if rate is None else {modality: rate}, seed):
        yield model.encoder(modality)


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()


def _unit(views: Views) -> NDArray[np.float64]:
    x = np.asarray(views, dtype=np.float64)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    if not norm.all():
        raise InputError("a view is all zeros and has no direction: cosine distances are undefined.")
    return np.asarray(x / norm, dtype=np.float64)
