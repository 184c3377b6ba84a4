"""The two directions of a pair loss and the negatives of each anchor: what InfoNCE, InfoLOOB and GRAM share.

From x to y the clips of x are the anchors, and each is compared with the clips of y; from y to x it is the other way
round. These losses differ in how they compare two views (`similarity_logits`, `gram_logits`), and in what they make of
the logits of one anchor (`info_nce_per_anchor`, `infoloob_per_anchor`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from turbo_kit.objectives.masks import masked_mean, negatives_mask
from turbo_kit.objectives.validation import check_choice

Direction = Literal["symmetric", "one"]
Negatives = Literal["other", "both"]


def check_direction(direction: str, negatives: str) -> None:
    """Raise an `InputError` unless both are known values."""
    check_choice("direction", direction, get_args(Direction))
    check_choice("negatives", negatives, get_args(Negatives))


def logits_by_direction(
    x: Tensor, y: Tensor, compare: Callable[[Tensor, Tensor], Tensor], direction: Direction, negatives: Negatives
) -> Iterator[Tensor]:
    """The logits of every anchor, for each direction that the loss takes.

    Args:
        x: (B, D).
        y: (B, D), row i is the positive of row i of x.
        compare: gives the (B, B) logits of two views; entry ij compares row i of the first with row j of the second.
        direction: ``"symmetric"`` or ``"one"``, x to y only.
        negatives: ``"other"`` or ``"both"``.

    Yields:
        One tensor for each direction; row i belongs to anchor i. Its first B columns are the clips of the other view,
        so the positives lie on the diagonal. With ``"both"``, B columns for the anchors' own view follow.
    """
    x_to_y = compare(x, y)
    yield x_to_y if negatives == "other" else torch.cat([x_to_y, compare(x, x)], dim=1)
    if direction == "symmetric":
        y_to_x = x_to_y.T
        yield y_to_x if negatives == "other" else torch.cat([y_to_x, compare(y, y)], dim=1)


def negatives_by_anchor(
    view: Tensor, negatives: Negatives, groups: Tensor | None, present: Tensor | None
) -> Tensor | None:
    """Which columns of `logits_by_direction` are negatives of which anchor; the same for both directions.

    Args:
        view: (B, D), either of the two.
        negatives: ``"other"`` or ``"both"``.
        groups: (B,) integers or None, see `negatives_mask`.
        present: (B,) bool or None, see `negatives_mask`.

    Returns:
        (B, B) bool, or (B, 2B) with ``"both"``. None stands for "every column off the diagonal of (B, B)": the most
        frequent case needs no mask.
    """
    if negatives == "other" and groups is None and present is None:
        return None
    mask = negatives_mask(len(view), view.device, groups, present)
    return mask if negatives == "other" else torch.cat([mask, mask], dim=1)


def mean_of_directions(losses: Sequence[Tensor], present: Tensor | None) -> Tensor:
    """The loss of a batch from the losses of its anchors.

    Args:
        losses: (B,) for each of one or two directions.
        present: (B,) bool; None if every clip is present.

    Returns:
        Scalar, the mean of the directions and of the clips present; 0, with a working backward, if there are none.
    """
    per_clip = losses[0] if len(losses) == 1 else (losses[0] + losses[1]) / 2
    return per_clip.mean() if present is None else masked_mean(per_clip, present)
