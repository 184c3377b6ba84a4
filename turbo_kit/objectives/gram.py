"""GRAM: the views of a clip belong together if the parallelotope that they span has a small volume."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from turbo_kit.config import InputError
from turbo_kit.objectives.directions import (
    Direction,
    Negatives,
    check_direction,
    logits_by_direction,
    mean_of_directions,
    negatives_by_anchor,
)
from turbo_kit.objectives.info_nce import info_nce_per_anchor
from turbo_kit.objectives.masks import zero_absent
from turbo_kit.objectives.similarity import unit_vectors
from turbo_kit.objectives.validation import check_temperature, check_views


def gram_logits(anchor: Tensor, *others: Tensor, temperature: float | Tensor = 0.05) -> Tensor:
    """Minus the volume that each anchor spans with the other views of each clip, divided by the temperature.

    The volume of the parallelotope of unit vectors is the square root of the determinant of their Gram matrix: 0 if
    they are linearly dependent, 1 if they are orthogonal (arXiv 2412.11959). So opposite vectors have volume 0 too,
    the best value there is: for two views, only the angle between the lines through them counts.

    Args:
        anchor: (B, D), scaled to length 1 here.
        others: (B, D) each, at least one; row j of all of them is clip j.
        temperature: above 0; a tensor if it is learned.

    Returns:
        (B, B) logits; entry ij takes the anchor of clip i and the others of clip j. float64 if an input is,
        otherwise float32. Where the determinant is rounding error alone, the volume is 0 and so is its gradient,
        which would otherwise be unbounded.

    Raises:
        InputError: no other view, the shapes do not fit, or the temperature is not above 0.
    """
    check_temperature(temperature)
    shapes = [tuple(view.shape) for view in (anchor, *others)]
    if not others or anchor.ndim != 2 or len(set(shapes)) > 1:
        raise InputError(f"GRAM needs an anchor and at least one other view, all (B, D), found {shapes}")
    dtype = torch.float32
    for view in (anchor, *others):
        dtype = torch.promote_types(dtype, view.dtype)
    with torch.autocast(anchor.device.type, enabled=False):
        squared_volume = _determinant(_gram_matrix([unit_vectors(view.to(dtype)) for view in (anchor, *others)]))
        degenerate = squared_volume <= 8 * torch.finfo(dtype).eps
        volume = torch.where(degenerate, 0.0, torch.where(degenerate, 1.0, squared_volume).sqrt())
        return -volume / temperature


def gram(
    x: Tensor,
    y: Tensor,
    *,
    temperature: float | Tensor = 0.05,
    direction: Direction = "symmetric",
    negatives: Negatives = "other",
    groups: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """InfoNCE between two views of the same clips, with the logits of `gram_logits`.

    Source: arXiv 2412.11959, the mean of both directions.

    Args:
        x, y, temperature, direction, negatives, groups, present: as for `info_nce`; the vectors are always scaled to
            length 1.

    Returns:
        Scalar, as for `info_nce`.

    Raises:
        InputError: shapes, an option or the temperature cannot be used.
    """
    check_views("GRAM", x, y, groups)
    check_direction(direction, negatives)
    x, y = zero_absent(x, present), zero_absent(y, present)
    compare = partial(gram_logits, temperature=temperature)
    mask = negatives_by_anchor(x, negatives, groups, present)
    both_ways = logits_by_direction(x, y, compare, direction, negatives)
    return mean_of_directions([info_nce_per_anchor(logits, mask) for logits in both_ways], present)


def _gram_matrix(views: Sequence[Tensor]) -> list[list[Tensor]]:
    """The dot products of unit vectors; those with the first view are (B, B), the others (B,), all for clip j."""
    one = views[0].new_ones(())
    matrix = [[one for _ in views] for _ in views]
    for column, other in enumerate(views[1:], start=1):
        matrix[0][column] = matrix[column][0] = views[0] @ other.T
        for row in range(1, column):
            matrix[row][column] = matrix[column][row] = (views[row] * other).sum(dim=1)
    return matrix


def _determinant(matrix: Sequence[Sequence[Tensor]]) -> Tensor:
    """Expansion along the first row: a polynomial, whose gradient is finite for a singular matrix too."""
    if len(matrix) == 1:
        return matrix[0][0]
    total = torch.zeros_like(matrix[0][0])
    for column, entry in enumerate(matrix[0]):
        minor = [[*row[:column], *row[column + 1 :]] for row in matrix[1:]]
        total = total + (-1) ** column * entry * _determinant(minor)
    return total
