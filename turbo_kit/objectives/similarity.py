"""Similarity of two views, as logits."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from turbo_kit.config import InputError
from turbo_kit.objectives.validation import check_choice, check_temperature

Similarity = Literal["cosine", "dot"]


def similarity_logits(
    x: Tensor, y: Tensor, temperature: float | Tensor = 0.05, similarity: Similarity = "cosine"
) -> Tensor:
    """Similarity of every row of x to every row of y, divided by the temperature.

    Args:
        x: (B, D).
        y: (C, D).
        temperature: above 0; a tensor if it is learned.
        similarity: ``"cosine"`` or ``"dot"``.

    Returns:
        (B, C) logits, in float64 if an input is, otherwise in float32, under autocast too: at temperature 0.01,
        rounding to bf16 alone would move a logit by 0.2.

    Raises:
        InputError: the shapes do not fit, or the temperature is not above 0.
    """
    check_temperature(temperature)
    check_choice("similarity", similarity, get_args(Similarity))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise InputError(f"similarity needs (B, D) and (C, D) tensors, found {tuple(x.shape)} and {tuple(y.shape)}")
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    x, y = x.to(dtype), y.to(dtype)
    with torch.autocast(x.device.type, enabled=False):
        if similarity == "cosine":
            x, y = unit_vectors(x), unit_vectors(y)
        return x @ y.T / temperature


def unit_vectors(view: Tensor) -> Tensor:
    """Scale the rows of a view (B, D) to length 1, in float32 at least."""
    return F.normalize(view.to(torch.promote_types(view.dtype, torch.float32)), dim=1)
