"""The terms of the classifier: cross-entropy over the passes, and R-Drop's consistency between them."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from turbo_kit.config import InputError
from turbo_kit.objectives.masks import masked_mean

UNLABELLED = -100
"""Stands in the place of a label for a clip that has none."""


def cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the labelled clips, averaged over the passes.

    Args:
        logits: (passes, B, C).
        labels: (B,) long, `UNLABELLED` (-100) if a clip has no label.
        class_weights: (C,), or None for equal weights; a weighted mean, as in `torch.nn.CrossEntropyLoss`.

    Returns:
        Scalar in float32 at least; 0, with a working backward, if no clip is labelled.

    Raises:
        InputError: shapes do not fit, or a label is not a class.
    """
    check_logits(logits, labels)
    passes, batch, classes = logits.shape
    if class_weights is not None and class_weights.shape != (classes,):
        raise InputError(f"class_weights must be ({classes},), one a class, found {tuple(class_weights.shape)}")
    dtype = torch.promote_types(logits.dtype, torch.float32)
    weights = logits.new_ones(classes, dtype=dtype) if class_weights is None else class_weights.to(dtype)
    with torch.autocast(logits.device.type, enabled=False):
        total = F.cross_entropy(
            logits.to(dtype).reshape(passes * batch, classes),
            labels.repeat(passes),
            weight=weights,
            ignore_index=UNLABELLED,
            reduction="sum",
        )
    # Divided here, because torch's own mean is 0/0 = NaN for a batch without labels.
    total_weight = (weights[labels.clamp(min=0)] * (labels != UNLABELLED)).sum()
    return total / (passes * torch.where(total_weight > 0, total_weight, 1.0))


def r_drop(logits: Tensor, labels: Tensor) -> Tensor:
    """R-Drop's consistency of the passes: the mean over labelled clips of (KL(p1 || p2) + KL(p2 || p1)) / 2.

    Source: arXiv 2106.14448, section 2.1. The paper adds the cross-entropies of the two passes; this kit, like the
    authors' README, takes their mean, so the same balance needs half the paper's alpha.

    Args:
        logits: (passes, B, C), at least 2 passes; the mean over all pairs of passes where there are more.
        labels: (B,) long, `UNLABELLED` (-100) if a clip has no label.

    Returns:
        Scalar in float32 at least; 0, with a working backward, if no clip is labelled.

    Raises:
        InputError: shapes do not fit, a label is not a class, or there is only one pass.
    """
    check_logits(logits, labels)
    if len(logits) < 2:
        raise InputError("R-Drop compares passes: logits has 1 pass, expected at least 2")
    log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    p = log_p.exp()
    # KL(p || q) + KL(q || p) = sum (p - q) (log p - log q)
    both_ways = [((p[i] - p[j]) * (log_p[i] - log_p[j])).sum(dim=-1) for i, j in combinations(range(len(logits)), 2)]
    return masked_mean(torch.stack(both_ways).mean(dim=0) / 2, labels != UNLABELLED)


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Raise an `InputError` unless logits (passes, B, C) and labels (B,) fit each other."""
    if logits.ndim != 3 or 0 in logits.shape:
        raise InputError(f"logits must be (passes, B, C), none of them 0, found {tuple(logits.shape)}")
    if labels.shape != logits.shape[1:2] or labels.dtype != torch.long:
        raise InputError(
            f"labels must be ({logits.shape[1]},) long, one for each clip of logits {tuple(logits.shape)}, found "
            f"{tuple(labels.shape)} {labels.dtype}"
        )
    if labels.device.type == "cpu":  # on a GPU, reading the labels would stall it, and CUDA itself names a bad index
        wrong = labels[(labels != UNLABELLED) & ((labels < 0) | (labels >= logits.shape[2]))]
        if len(wrong):
            raise InputError(
                f"label {int(wrong[0])} is no class: expected 0 to {logits.shape[2] - 1}, or {UNLABELLED} for a clip "
                "without a label"
            )
