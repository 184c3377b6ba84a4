"""GRAM: views belong together where the parallelotope that they span has a small volume."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from turbo_kit.config import InputError
from turbo_kit.objectives.info_nce import Direction, Negatives, softmax_loss, with_the_positive
from turbo_kit.objectives.similarity import check_temperature, unit


def gram_logits(anchor: Tensor, *others: Tensor, temperature: float | Tensor = 0.05) -> Tensor:
    """Minus the volume that each anchor spans with the other views of each clip, divided by the temperature.

    The volume of the parallelotope of unit vectors is the root of the determinant of their Gram matrix: 0 where they
    are linearly dependent, 1 where they are orthogonal (arXiv 2412.11959). So opposite vectors have volume
    0 too, the best there is: of two views, only the angle between the lines through them counts.

    Args:
        anchor: (B, D), scaled to length 1 here.
        others: (B, D) each, at least one; row j of all of them is clip j.
        temperature: above 0; a tensor where it is learned.

    Returns:
        (B, B) logits; entry ij takes the anchor of clip i and the others of clip j. float64 where an input is,
        otherwise float32. Where the determinant is rounding alone, the volume is 0 and so is its gradient, which
        else would have no limit.

    Raises:
        InputError: no other view, the shapes do not fit, or the temperature is not above 0.
    """
    if not isinstance(temperature, Tensor):
        check_temperature(temperature)
    shapes = [tuple(view.shape) for view in (anchor, *others)]
    if not others or anchor.ndim != 2 or len(set(shapes)) > 1:
        raise InputError(f"GRAM needs an anchor and at least one other view, all (B, D), found {shapes}")
    dtype = torch.float32
    for view in (anchor, *others):
        dtype = torch.promote_types(dtype, view.dtype)
    with torch.autocast(anchor.device.type, enabled=False):
        vectors = [unit(view.to(dtype)) for view in (anchor, *others)]
        one = vectors[0].new_ones(())
        gram = [[one for _ in vectors] for _ in vectors]
        for column, other in enumerate(vectors[1:], start=1):
            gram[0][column] = gram[column][0] = vectors[0] @ other.T
            for row in range(1, column):
                gram[row][column] = gram[column][row] = (vectors[row] * other).sum(dim=1)
        squared = _determinant(gram)
        flat = squared <= 8 * torch.finfo(dtype).eps
        volume = torch.where(flat, 0.0, torch.where(flat, 1.0, squared).sqrt())
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
    """InfoNCE between two views of the same clips, over the logits of `gram_logits`.

    Source: arXiv 2412.11959, the mean of both directions.

    Args:
        x, y, temperature, direction, negatives, groups, present: as for `info_nce`; the vectors are always scaled to
            length 1.

    Returns:
        Scalar, as for `info_nce`.

    Raises:
        InputError: shapes, a setting or the temperature cannot be used.
    """

    def logits_of(anchors: Tensor, others: Tensor) -> Tensor:
        return gram_logits(anchors, others, temperature=temperature)

    return softmax_loss("GRAM", x, y, logits_of, with_the_positive, direction, negatives, groups, present)


def _determinant(matrix: Sequence[Sequence[Tensor]]) -> Tensor:
    """Expansion along the first row: a polynomial, whose gradient is finite for a singular matrix too."""
    if len(matrix) == 1:
        return matrix[0][0]
    total = torch.zeros_like(matrix[0][0])
    for column, entry in enumerate(matrix[0]):
        minor = [[*row[:column], *row[column + 1 :]] for row in matrix[1:]]
        total = total + (-1) ** column * entry * _determinant(minor)
    return total
