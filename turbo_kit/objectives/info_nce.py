"""InfoNCE between two views: first the plain symmetric form, then the form with all switches.

With logits s_ij = sim(x_i, y_j) / temperature, the loss of anchor i is the cross-entropy of its row of logits, with
the clip itself as the right class:

    l_i = log sum_j exp(s_ij) - s_ii

Sources: InfoNCE, arXiv 1807.03748, eq. 4; two dropout masks as the two views, SimCSE, arXiv 2104.08821, eq. 4; the
mean of the two directions, CLIP, arXiv 2103.00020, fig. 3.
"""

from __future__ import annotations

import math
from functools import partial
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from turbo_kit.objectives.directions import (
    Direction,
    Negatives,
    check_direction,
    logits_by_direction,
    mean_of_directions,
    negatives_by_anchor,
)
from turbo_kit.objectives.masks import zero_absent
from turbo_kit.objectives.similarity import Similarity, similarity_logits, unit_vectors
from turbo_kit.objectives.tiled import TILED_FROM, tiled_info_nce
from turbo_kit.objectives.validation import check_choice, check_views


def symmetric_info_nce(x: Tensor, y: Tensor, temperature: float | Tensor = 0.05) -> Tensor:
    """Symmetric InfoNCE: each clip has to find itself among all clips of the other view.

    This is the formula and nothing else. Training calls `info_nce`, which gives the same value with its defaults.

    Args:
        x: (B, D), one view of B clips.
        y: (B, D), another view of the same clips: row i is the positive of row i of x, and all other rows are its
            negatives.
        temperature: above 0.

    Returns:
        Scalar.

    >>> x = torch.eye(2)  # two orthogonal clips, and two views that agree
    >>> symmetric_info_nce(x, x, temperature=1.0)  # log(1 + exp(-1))
    tensor(0.3133)
    """
    x, y = F.normalize(x, dim=1), F.normalize(y, dim=1)  # unit vectors: their dot products are cosines
    logits = x @ y.T / temperature  # (B, B): row i compares x_i with every y, column j compares y_j with every x
    positives = torch.arange(len(x), device=x.device)  # they lie on the diagonal
    x_to_y = F.cross_entropy(logits, positives)
    y_to_x = F.cross_entropy(logits.T, positives)
    return (x_to_y + y_to_x) / 2


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
    """InfoNCE between two views of the same clips: row i of x is the positive of row i of y.

    From `TILED_FROM` clips on, the loss is computed in tiles (`turbo_kit.objectives.tiled`): memory then grows with B
    and not with its square, and the gradient cannot be differentiated again. To compute several pairs of views,
    `pair_losses` costs less than one call for each.

    Args:
        x: (B, D), the anchors if only one direction is taken.
        y: (B, D).
        temperature: above 0; a tensor if it is learned.
        similarity: ``"cosine"`` or ``"dot"``.
        direction: ``"symmetric"``, the mean of x to y and y to x (CLIP), or ``"one"``, x to y only (SimCSE).
        negatives: ``"other"``, the B-1 other clips in the other view, or ``"both"``, those in the anchor's own view
            as well, 2B-2 in total (NT-Xent: SimCLR, arXiv 2002.05709, eq. 1).
        groups: (B,) integers; clips with the same number are not each other's negatives. A negative number stands
            for "no group" and excludes nothing. None: every other clip is a negative.
        present: (B,) bool; a clip marked False is left out as anchor, positive and negative. None: all are present.

    Returns:
        Scalar, the mean over the clips present; 0, with a working backward, if there are none. A clip without any
        negative has loss 0. float64 if an input is, otherwise float32.

    Raises:
        InputError: shapes, an option or the temperature cannot be used.
    """
    check_views("InfoNCE", x, y, groups)
    check_direction(direction, negatives)
    x, y = zero_absent(x, present), zero_absent(y, present)
    if len(x) >= TILED_FROM:
        return _in_tiles(x, y, temperature, similarity, direction, negatives, groups, present)
    compare = partial(similarity_logits, temperature=temperature, similarity=similarity)
    mask = negatives_by_anchor(x, negatives, groups, present)
    both_ways = logits_by_direction(x, y, compare, direction, negatives)
    return mean_of_directions([info_nce_per_anchor(logits, mask) for logits in both_ways], present)


def info_nce_per_anchor(logits: Tensor, negatives: Tensor | None) -> Tensor:
    """l_i = log (exp(s_ii) + sum over the negatives j of exp(s_ij)) - s_ii.

    Args:
        logits: (B, C), C at least B, with the positives on the diagonal.
        negatives: (B, C) bool; None if every column off the diagonal is a negative.

    Returns:
        (B,), the loss of each anchor; exactly 0 for an anchor without negatives.
    """
    if negatives is not None:
        positive = torch.eye(*logits.shape, dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(~(negatives | positive), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device), reduction="none")


def _in_tiles(
    x: Tensor,
    y: Tensor,
    temperature: float | Tensor,
    similarity: Similarity,
    direction: Direction,
    negatives: Negatives,
    groups: Tensor | None,
    present: Tensor | None,
) -> Tensor:
    check_choice("similarity", similarity, get_args(Similarity))
    if similarity == "cosine":
        x, y = unit_vectors(x), unit_vectors(y)
    (loss,) = tiled_info_nce(
        {"x": x, "y": y},
        [("x", "y")],
        temperature=temperature,
        unit_length=similarity == "cosine",
        symmetric=direction == "symmetric",
        within_views=negatives == "both",
        groups=groups,
        present=[present],
    )
    return loss
