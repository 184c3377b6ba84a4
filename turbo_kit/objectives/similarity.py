"""How alike two views are, and which clips of a batch count: what every loss on views shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from turbo_kit.config import InputError, unknown

Similarity = Literal["cosine", "dot"]


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
            x, y = unit(x), unit(y)
        return x @ y.T / temperature


def unit(view: Tensor) -> Tensor:
    """The rows scaled to length 1, in float32 at least."""
    return F.normalize(view.to(torch.promote_types(view.dtype, torch.float32)), dim=1)


def filled(view: Tensor, present: Tensor) -> Tensor:
    """Zeros where a clip is absent, before any arithmetic: what stands there may be NaN, and NaN * 0 is NaN."""
    if present.shape != view.shape[:1] or present.dtype != torch.bool:
        raise InputError(f"present must be ({len(view)},) bool, found {tuple(present.shape)} {present.dtype}")
    return view.masked_fill(~present[:, None], 0)


def allowed_negatives(size: int, device: torch.device, groups: Tensor | None, present: Tensor | None) -> Tensor:
    """(B, B) bool, which clips are each other's negatives; symmetric, and False on the diagonal."""
    allowed = ~torch.eye(size, dtype=torch.bool, device=device)
    if groups is not None:
        allowed &= (groups[:, None] != groups[None, :]) | (groups < 0)[:, None]
    if present is not None:
        allowed &= present[:, None] & present[None, :]
    return allowed


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


def check_batch(loss: str, x: Tensor, y: Tensor, groups: Tensor | None = None) -> None:
    """Raise an `InputError` that names the loss unless x and y are views of the same clips, and groups fit them."""
    if x.ndim != 2 or x.shape != y.shape:
        raise InputError(
            f"{loss} needs two views of one shape (B, D), found {tuple(x.shape)} and {tuple(y.shape)}: give both the "
            "same clips, and project them to one width"
        )
    if len(x) == 0:
        raise InputError(f"{loss} of an empty batch: give at least one clip")
    if groups is not None and (groups.shape != x.shape[:1] or groups.is_floating_point()):
        raise InputError(
            f"groups (numbers of transcripts or labels) must be ({len(x)},) integers, found {tuple(groups.shape)} "
            f"{groups.dtype}"
        )
