"""InfoLOOB ("leave one out bound"): InfoNCE with the positive left out of the denominator."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from turbo_kit.objectives.info_nce import Direction, Negatives, softmax_loss
from turbo_kit.objectives.similarity import Similarity, allowed_negatives, similarity_logits


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

    Source: arXiv 2110.11316. This is InfoLOOB alone: CLOOB, of the same paper, retrieves both views from a
    modern Hopfield network first. CLOOB's code adds the two directions and multiplies them by the temperature; here
    they are averaged and not multiplied, as every pair loss of this kit. The loss has no lower bound as the
    temperature falls: a learned one tends to its limit.

    Args:
        x, y, temperature, similarity, direction, negatives, groups, present: as for `info_nce`.

    Returns:
        Scalar, the mean over the clips present; 0, with a working backward, where no clip is present. A clip with no
        negative left has loss 0, and so no pull either. float64 where an input is, otherwise float32.

    Raises:
        InputError: shapes, a setting or the temperature cannot be used.
    """

    def logits_of(anchors: Tensor, others: Tensor) -> Tensor:
        return similarity_logits(anchors, others, temperature, similarity)

    return softmax_loss("InfoLOOB", x, y, logits_of, _without_the_positive, direction, negatives, groups, present)


def _without_the_positive(logits: Tensor, negatives: Tensor | None) -> Tensor:
    if negatives is None:
        negatives = allowed_negatives(len(logits), logits.device, None, None)
    losses = logits.masked_fill(~negatives, -math.inf).logsumexp(dim=1) - logits.diagonal()
    return torch.where(negatives.any(dim=1), losses, 0.0)
