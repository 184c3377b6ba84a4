"""Checks of the arguments that several losses share. Each raises an `InputError` that says what to change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from torch import Tensor

from turbo_kit.config import InputError, unknown


def check_choice(option: str, value: str, known: Sequence[str]) -> None:
    """Raise an `InputError` that suggests the nearest known value unless the value is one of them."""
    if value not in known:
        raise unknown(option, str(value), known)


def check_temperature(temperature: float | Tensor) -> None:
    """Raise an `InputError` unless the temperature of a loss is a finite number above 0.

    A tensor is a learned temperature. It is positive by construction and is not read, since that would stall a GPU.
    """
    if not isinstance(temperature, Tensor):
        check_fixed_temperature(temperature)


def check_fixed_temperature(temperature: float) -> None:
    """Raise an `InputError` unless the temperature is a finite number above 0; a tensor is refused too."""
    if not isinstance(temperature, Real) or not (math.isfinite(temperature) and temperature > 0):
        raise InputError(
            f"temperature is {temperature!r}: expected a finite number above 0, such as 0.05; an objective also takes "
            "'learned'"
        )


def check_views(loss: str, x: Tensor, y: Tensor, groups: Tensor | None = None) -> None:
    """Raise an `InputError` that names the loss unless x and y are views (B, D) of one batch, and groups (B,) fit."""
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
