"""SigLIP: for every two clips of a batch, a binary decision whether they belong together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from turbo_kit.objectives.masks import negatives_mask, zero_absent
from turbo_kit.objectives.similarity import Similarity, similarity_logits
from turbo_kit.objectives.validation import check_views

INITIAL_BIAS = -10.0
"""The first value of the bias in the paper: low, because all but one in B decisions are negative."""


def siglip(
    x: Tensor,
    y: Tensor,
    bias: float | Tensor = INITIAL_BIAS,
    *,
    temperature: float | Tensor = 0.1,
    similarity: Similarity = "cosine",
    groups: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """Sigmoid loss between two views: -(1/N) sum_ij log sigmoid(y_ij (t x_i . y_j + b)), y_ij = 1 if i = j, else -1.

    It has no direction: every two clips are compared once. Source: arXiv 2303.15343, section 3.2 and algorithm 1.

    Args:
        x: (B, D).
        y: (B, D), row i is the positive of row i of x.
        bias: b, added to every logit; a tensor if it is learned.
        temperature: 1 / t, above 0; a tensor if it is learned. t starts at 10 in the paper.
        similarity: ``"cosine"``, as in the paper, or ``"dot"``.
        groups: (B,) integers; two different clips with the same number are left out of the sum. A negative number
            stands for "no group" and excludes nothing.
        present: (B,) bool; a clip marked False is left out of the sum and of N.

    Returns:
        Scalar; 0, with a working backward, if no clip is present. float64 if an input is, otherwise float32.

    Raises:
        InputError: shapes, an option or the temperature cannot be used.
    """
    check_views("SigLIP", x, y, groups)
    x, y = zero_absent(x, present), zero_absent(y, present)
    positives = torch.eye(len(x), dtype=torch.bool, device=x.device)
    counted = positives | negatives_mask(len(x), x.device, groups, present)
    if present is not None:
        counted &= present[:, None]
    logits = similarity_logits(x, y, temperature, similarity) + bias
    losses = -F.logsigmoid(torch.where(positives, logits, -logits))
    clips = len(x) if present is None else present.sum().clamp(min=1)
    return (losses * counted).sum() / clips
