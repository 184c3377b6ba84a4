"""InfoNCE between two views: a pure function on tensors.

With s_ij = sim(x_i, y_j) / temperature, the loss of anchor i is

    l_i = log sum_j exp(s_ij) - s_ii

(InfoNCE: arXiv 1807.03748, eq. 4; with dropout masks as the two views: SimCSE, arXiv 2104.08821, eq. 4). The
symmetric loss is the mean of the row and the column direction, as in CLIP (arXiv 2103.00020, fig. 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from turbo_kit.objectives.memory_flat import FLAT_FROM, flat_info_nce
from turbo_kit.objectives.similarity import (
    Similarity,
    allowed_negatives,
    check_batch,
    check_choice,
    filled,
    masked_mean,
    similarity_logits,
    unit,
)

Direction = Literal["symmetric", "one"]
Negatives = Literal["other", "both"]


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

    From `FLAT_FROM` clips on it is computed in tiles, in memory that grows with B, not with its square; its gradient
    can then not be differentiated again. All pairs of a board at once, as `pair_losses` takes them, cost less still.

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
    if x.ndim == 2 and len(x) >= FLAT_FROM:
        check_choice("similarity", similarity, get_args(Similarity))
        _check("InfoNCE", x, y, direction, negatives, groups)
        views = {"x": x, "y": y}
        if present is not None:
            views = {name: filled(view, present) for name, view in views.items()}
        if similarity == "cosine":
            views = {name: unit(view) for name, view in views.items()}
        (loss,) = flat_info_nce(
            views,
            [("x", "y")],
            temperature=temperature,
            unit_length=similarity == "cosine",
            symmetric=direction == "symmetric",
            within_views=negatives == "both",
            groups=groups,
            present=[present],
        )
        return loss

    def logits_of(anchors: Tensor, others: Tensor) -> Tensor:
        return similarity_logits(anchors, others, temperature, similarity)

    return softmax_loss("InfoNCE", x, y, logits_of, with_the_positive, direction, negatives, groups, present)


def softmax_loss(
    name: str,
    x: Tensor,
    y: Tensor,
    logits_of: Callable[[Tensor, Tensor], Tensor],
    anchor_losses: Callable[[Tensor, Tensor | None], Tensor],
    direction: Direction,
    negatives: Negatives,
    groups: Tensor | None,
    present: Tensor | None,
) -> Tensor:
    """What InfoNCE and its kin share: directions, negatives, and the clips that count.

    Args:
        name: of the loss, for errors.
        x, y, direction, negatives, groups, present: as for `info_nce`.
        logits_of: makes (B, B) logits of two views (B, D); entry ij says how well anchor i fits the other j.
        anchor_losses: makes the (B,) losses of logits (B, C), the positives on the diagonal, and of (B, C) bool,
            which of them are negatives; None: all others are.

    Returns:
        Scalar, as for `info_nce`.

    Raises:
        InputError: as for `info_nce`.
    """
    _check(name, x, y, direction, negatives, groups)
    if present is not None:
        x, y = filled(x, present), filled(y, present)
    everyone = groups is None and present is None and negatives == "other"
    allowed = None if everyone else allowed_negatives(len(x), x.device, groups, present)

    def one_way(logits: Tensor, view: Tensor) -> Tensor:
        if allowed is None or negatives == "other":
            return anchor_losses(logits, allowed)
        return anchor_losses(torch.cat([logits, logits_of(view, view)], dim=1), torch.cat([allowed, allowed], dim=1))

    logits = logits_of(x, y)
    losses = one_way(logits, x)
    if direction == "symmetric":
        losses = (losses + one_way(logits.T, y)) / 2
    return losses.mean() if present is None else masked_mean(losses, present)


def with_the_positive(logits: Tensor, negatives: Tensor | None) -> Tensor:
    """Losses (B,) of `info_nce`; logits (B, C) with the positives on the diagonal, negatives (B, C) bool or all."""
    kept = logits
    if negatives is not None:
        # The positive stays even where nothing else does: the loss is then exactly 0, and no row is empty.
        positive = torch.eye(*logits.shape, dtype=torch.bool, device=logits.device)
        kept = logits.masked_fill(~(negatives | positive), -math.inf)
    return F.cross_entropy(kept, torch.arange(len(kept), device=kept.device), reduction="none")


def _check(name: str, x: Tensor, y: Tensor, direction: str, negatives: str, groups: Tensor | None) -> None:
    check_choice("direction", direction, get_args(Direction))
    check_choice("negatives", negatives, get_args(Negatives))
    check_batch(name, x, y, groups)
