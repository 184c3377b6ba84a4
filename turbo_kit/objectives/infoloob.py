"""InfoLOOB ("leave one out bound"): InfoNCE with the positive left out of the denominator."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from turbo_kit.objectives.directions import (
    Direction,
    Negatives,
    check_direction,
    logits_by_direction,
    mean_of_directions,
    negatives_by_anchor,
)
from turbo_kit.objectives.masks import negatives_mask, zero_absent
from turbo_kit.objectives.similarity import Similarity, similarity_logits
from turbo_kit.objectives.validation import check_views


def infoloob(
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
    """InfoLOOB between two views of the same clips: l_i = log sum_{j != i} exp(s_ij) - s_ii.

    Source: arXiv 2110.11316. This is InfoLOOB alone: CLOOB, of the same paper, first retrieves both views from a
    modern Hopfield network. CLOOB's code adds the two directions and multiplies them by the temperature; here they
    are averaged and not multiplied, like every pair loss of this kit. The loss has no lower bound as the temperature
    falls, so a learned temperature tends to its limit.

    Args:
        x, y, temperature, similarity, direction, negatives, groups, present: as for `info_nce`.

    Returns:
        Scalar, the mean over the clips present; 0, with a working backward, if there are none. A clip without any
        negative has loss 0, and so no gradient. float64 if an input is, otherwise float32.

    Raises:
        InputError: shapes, an option or the temperature cannot be used.
    """
    check_views("InfoLOOB", x, y, groups)
    check_direction(direction, negatives)
    x, y = zero_absent(x, present), zero_absent(y, present)
    compare = partial(similarity_logits, temperature=temperature, similarity=similarity)
    mask = negatives_by_anchor(x, negatives, groups, present)
    both_ways = logits_by_direction(x, y, compare, direction, negatives)
    return mean_of_directions([infoloob_per_anchor(logits, mask) for logits in both_ways], present)


def infoloob_per_anchor(logits: Tensor, negatives: Tensor | None) -> Tensor:
    """l_i = log (sum over the negatives j of exp(s_ij)) - s_ii.

    Args:
        logits: (B, C), C at least B, with the positives on the diagonal.
        negatives: (B, C) bool; None if every column off the diagonal is a negative.

    Returns:
        (B,), the loss of each anchor; 0 for an anchor without negatives.
    """
    if negatives is None:
        negatives = negatives_mask(len(logits), logits.device, None, None)
    losses = logits.masked_fill(~negatives, -math.inf).logsumexp(dim=1) - logits.diagonal()
    return torch.where(negatives.any(dim=1), losses, 0.0)
