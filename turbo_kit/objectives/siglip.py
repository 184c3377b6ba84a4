"""SigLIP: every two clips of a batch are a yes or no question of their own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from turbo_kit.objectives.similarity import Similarity, allowed_negatives, check_batch, filled, similarity_logits


def siglip(
    x: Tensor,
    y: Tensor,
    bias: float | Tensor = -10.0,
    *,
    temperature: float | Tensor = 0.1,
    similarity: Similarity = "cosine",
    groups: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """Sigmoid loss between two views: -(1/N) sum_ij log sigmoid(y_ij (t x_i . y_j + b)), y_ij = 1 if i = j, else -1.

    It has no direction: each two clips are compared once. Source: arXiv 2303.15343, section 3.2 and algorithm 1.

    Args:
        x: (B, D).
        y: (B, D), row i belongs with row i of x.
        bias: b, added to every logit; a tensor where it is learned. It starts at -10 in the paper, because all but
            one in N are negatives.
        temperature: 1 / t, above 0; a tensor where it is learned. t starts at 10 in the paper.
        similarity: ``"cosine"``, as in the paper, or ``"dot"``.
        groups: (B,) integers; two clips with the same number are left out of the sum, unless they are one clip. A
            negative number stands for "no group" and excludes nothing.
        present: (B,) bool; a clip marked False is left out of the sum and of N.

    Returns:
        Scalar; 0, with a working backward, where no clip is present. float64 where an input is, otherwise float32.

    Raises:
        InputError: shapes, a setting or the temperature cannot be used.
    """
    check_batch("SigLIP", x, y, groups)
    if present is not None:
        x, y = filled(x, present), filled(y, present)
    positives = torch.eye(len(x), dtype=torch.bool, device=x.device)
    counted = positives | allowed_negatives(len(x), x.device, groups, present)
    if present is not None:
        counted &= present[:, None]
    logits = similarity_logits(x, y, temperature, similarity) + bias
    losses = -F.logsigmoid(torch.where(positives, logits, -logits))
    clips = len(x) if present is None else present.sum().clamp(min=1)
    return (losses * counted).sum() / clips
