"""InfoNCE between two views, and over all pairs of a board: pure functions on tensors.

With s_ij = sim(x_i, y_j) / temperature, the loss of anchor i is

    l_i = log sum_j exp(s_ij) - s_ii

(InfoNCE: arXiv 1807.03748, eq. 4; with dropout masks as the two views: SimCSE, arXiv 2104.08821, eq. 4). The
symmetric loss is the mean of the row and the column direction, as in CLIP (arXiv 2103.00020, fig. 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from turbo_kit.config import InputError, unknown
from turbo_kit.objectives.pairs import Pair, View

Similarity = Literal["cosine", "dot"]
Direction = Literal["symmetric", "one"]
Negatives = Literal["other", "both"]


def similarity_logits(
    x: Tensor, y: Tensor, temperature: float | Tensor = 0.05, similarity: Similarity = "cosine"
) -> Tensor:
    """Similarity of every x to every y, divided by the temperature, in float32 at least.

    Args:
        x: (B, D).
        y: (C, D).
        temperature: above 0; a tensor where it is learned.
        similarity: ``"cosine"`` or ``"dot"``.

    Returns:
        (B, C) logits; float64 where an input is, otherwise float32, under autocast too: at temperature 0.01 the
        rounding of bf16 alone would move a logit by 0.2.

    Raises:
        InputError: the shapes do not fit, or the temperature is not above 0.
    """
    # A learned temperature is a tensor and positive by construction; reading it here would stall a GPU.
    if not isinstance(temperature, Tensor):
        check_temperature(temperature)
    check_choice("similarity", similarity, get_args(Similarity))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise InputError(f"similarity needs (B, D) and (C, D) tensors, found {tuple(x.shape)} and {tuple(y.shape)}")
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    x, y = x.to(dtype), y.to(dtype)
    with torch.autocast(x.device.type, enabled=False):
        if similarity == "cosine":
            x, y = _unit(x), _unit(y)
        return x @ y.T / temperature


def info_nce(
    x: Tensor,
    y: Tensor,
    *,
    temperature: float | Tensor = 0.05,
    similarity: Similarity = "cosine",
    direction: Direction = "symmetric",
    negatives: Negatives = "other",
    groups: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """InfoNCE between two views of the same clips: row i of x belongs with row i of y.

    Args:
        x: (B, D), the anchors where one direction is taken.
        y: (B, D).
        temperature: above 0; a tensor where it is learned.
        similarity: ``"cosine"`` or ``"dot"``.
        direction: ``"symmetric"``, the mean of x to y and y to x (CLIP), or ``"one"``, x to y alone (SimCSE).
        negatives: ``"other"``, the B-1 other clips in the other view, or ``"both"``, those of the anchor's own view
            as well, 2B-2 in all (NT-Xent: SimCLR, arXiv 2002.05709, eq. 1).
        groups: (B,) integers; clips with the same number are not each other's negatives. A negative number stands
            for "no group" and excludes nothing. None: every other clip is a negative.
        present: (B,) bool; a clip marked False is left out as anchor, positive and negative. None: all are there.

    Returns:
        Scalar, the mean over the clips present; 0, with a working backward, where no clip is present. A clip with no
        negative left has loss 0. float64 where an input is, otherwise float32.

    Raises:
        InputError: shapes, a setting or the temperature cannot be used.
    """
    check_choice("direction", direction, get_args(Direction))
    check_choice("negatives", negatives, get_args(Negatives))
    _check_batch(x, y, groups)
    if present is not None:
        x, y = _filled(x, present), _filled(y, present)
    allowed = _allowed_negatives(len(x), x.device, groups, present)

    def own_view(view: Tensor) -> Tensor | None:
        return similarity_logits(view, view, temperature, similarity) if negatives == "both" else None

    logits = similarity_logits(x, y, temperature, similarity)
    losses = _anchor_losses(logits, own_view(x), allowed)
    if direction == "symmetric":
        losses = (losses + _anchor_losses(logits.T, own_view(y), allowed)) / 2
    return losses.mean() if present is None else masked_mean(losses, present)


def pair_losses(
    views: Mapping[str, Tensor],
    pairs: Sequence[Pair],
    *,
    temperature: float | Tensor = 0.05,
    similarity: Similarity = "cosine",
    direction: Direction = "symmetric",
    negatives: Negatives = "other",
    groups: Tensor | None = None,
    present: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """InfoNCE of several pairs of views.

    Args:
        views: (B, D) for each view by name, as in ``{"a1": ..., "t1": ...}``.
        pairs: the pairs to compute; their weights are left to the caller.
        temperature, similarity, direction, negatives, groups: as for `info_nce`.
        present: (B,) bool by modality letter; a clip that lacks one of a pair's modalities leaves that pair. A
            letter that is not given is there for every clip.

    Returns:
        The unweighted loss of each pair by its name.

    Raises:
        InputError: a view that a pair needs is missing or of another shape, or as for `info_nce`.
    """
    check_choice("similarity", similarity, get_args(Similarity))
    _check_views(views, pairs)
    present = present or {}
    ready: dict[View, Tensor] = {}
    for view in sorted({view for pair in pairs for view in (pair.first, pair.second)}):  # a fixed order: same bits
        mask = present.get(view.modality)
        ready[view] = views[str(view)] if mask is None else _filled(views[str(view)], mask)
        if similarity == "cosine":
            ready[view] = _unit(ready[view])  # once for each view, not for each pair

    losses: dict[str, Tensor] = {}
    for pair in pairs:
        masks = [present[letter] for letter in (pair.first.modality, pair.second.modality) if letter in present]
        losses[pair.name] = info_nce(
            ready[pair.first],
            ready[pair.second],
            temperature=temperature,
            similarity="dot",
            direction=direction,
            negatives=negatives,
            groups=groups,
            present=torch.stack(masks).all(dim=0) if masks else None,
        )
    return losses


def _unit(view: Tensor) -> Tensor:
    """The rows scaled to length 1, in float32 at least."""
    return F.normalize(view.to(torch.promote_types(view.dtype, torch.float32)), dim=1)


def _filled(view: Tensor, present: Tensor) -> Tensor:
    """Zeros where a clip is absent, before any arithmetic: what stands there may be NaN, and NaN * 0 is NaN."""
    if present.shape != view.shape[:1] or present.dtype != torch.bool:
        raise InputError(f"present must be ({len(view)},) bool, found {tuple(present.shape)} {present.dtype}")
    return view.masked_fill(~present[:, None], 0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values (N,) where the mask (N,) is True; 0, with a working backward, where it nowhere is."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raise an `InputError` with the nearest right name unless the value is one of the known ones."""
    if value not in known:
        raise unknown(name, str(value), known)


def check_temperature(temperature: float) -> None:
    """Raise an `InputError` unless the temperature is a finite number above 0."""
    if not isinstance(temperature, Real) or not (math.isfinite(temperature) and temperature > 0):
        raise InputError(
            f"temperature is {temperature!r}: expected a finite number above 0, such as 0.05; an objective also takes "
            "'learned'"
        )


def _anchor_losses(logits: Tensor, own: Tensor | None, allowed: Tensor | None) -> Tensor:
    """Loss of each row's anchor; logits (B, B) with the positives on the diagonal, own (B, B) within its view."""
    positive = logits.diagonal()
    if allowed is not None:
        # The positive stays even where nothing else does: the loss is then exactly 0, and no row is empty.
        logits = logits.masked_fill(~(allowed | _diagonal(logits)), -math.inf)
    if own is not None:
        own_allowed = ~_diagonal(own) if allowed is None else allowed
        logits = torch.cat([logits, own.masked_fill(~own_allowed, -math.inf)], dim=1)
    return logits.logsumexp(dim=1) - positive


def _allowed_negatives(size: int, device: torch.device, groups: Tensor | None, present: Tensor | None) -> Tensor | None:
    """(B, B) bool, which clips are each other's negatives; symmetric; None where all others are."""
    if groups is None and present is None:
        return None
    allowed = ~torch.eye(size, dtype=torch.bool, device=device)
    if groups is not None:
        allowed &= (groups[:, None] != groups[None, :]) | (groups < 0)[:, None]
    if present is not None:
        allowed &= present[:, None] & present[None, :]
    return allowed


def _diagonal(square: Tensor) -> Tensor:
    return torch.eye(len(square), dtype=torch.bool, device=square.device)


def _check_batch(x: Tensor, y: Tensor, groups: Tensor | None) -> None:
    if x.ndim != 2 or x.shape != y.shape:
        raise InputError(
            f"InfoNCE needs two views of one shape (B, D), found {tuple(x.shape)} and {tuple(y.shape)}: give both the "
            "same clips, and project them to one width"
        )
    if len(x) == 0:
        raise InputError("InfoNCE of an empty batch: give at least one clip")
    if groups is not None and (groups.shape != x.shape[:1] or groups.is_floating_point()):
        raise InputError(
            f"groups (numbers of transcripts or labels) must be ({len(x)},) integers, found {tuple(groups.shape)} "
            f"{groups.dtype}"
        )


def _check_views(views: Mapping[str, Tensor], pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        first, second = str(pair.first), str(pair.second)
        for name in (first, second):
            if name not in views:
                raise unknown("view", name, views)
        if views[first].ndim != 2 or views[first].shape != views[second].shape:
            raise InputError(
                f"views {first} and {second} have shapes {tuple(views[first].shape)} and "
                f"{tuple(views[second].shape)}: expected (B, D) for both, the same clips projected to one width"
            )
