"""Masks over the clips of a batch: which clips are present, and which are each other's negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from turbo_kit.config import InputError


def zero_absent(view: Tensor, present: Tensor | None) -> Tensor:
    """Replace the rows of absent clips by zeros.

    This comes before any arithmetic: the row of an absent clip may hold NaN, and NaN * 0 is NaN.

    Args:
        view: (B, D).
        present: (B,) bool; None if every clip is present.

    Returns:
        (B, D).

    Raises:
        InputError: `present` is not (B,) bool.
    """
    if present is None:
        return view
    if present.shape != view.shape[:1] or present.dtype != torch.bool:
        raise InputError(f"present must be ({len(view)},) bool, found {tuple(present.shape)} {present.dtype}")
    return view.masked_fill(~present[:, None], 0)


def negatives_mask(size: int, device: torch.device, groups: Tensor | None, present: Tensor | None) -> Tensor:
    """Which clips of a batch are each other's negatives.

    Args:
        size: B, the number of clips.
        device: of the mask.
        groups: (B,) integers; clips with the same number are not each other's negatives. A negative number stands
            for "no group" and excludes nothing.
        present: (B,) bool; absent clips are nobody's negatives and have none.

    Returns:
        (B, B) bool, symmetric, and False on the diagonal.
    """
    mask = ~torch.eye(size, dtype=torch.bool, device=device)
    if groups is not None:
        mask &= (groups[:, None] != groups[None, :]) | (groups < 0)[:, None]
    if present is not None:
        mask &= present[:, None] & present[None, :]
    return mask


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values (N,) where the mask (N,) is True; 0, with a working backward, if it is False everywhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1)
