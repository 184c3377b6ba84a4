"""CyCLIP's cyclic consistency: both modalities should have the same geometry."""

from __future__ import annotations

from torch import Tensor

from turbo_kit.objectives.masks import zero_absent
from turbo_kit.objectives.similarity import Similarity, similarity_logits
from turbo_kit.objectives.validation import check_views


def cyclic_consistency(
    x: Tensor, y: Tensor, *, similarity: Similarity = "cosine", present: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """How far the similarities within x are from those within y, and those of x to y from those of y to x.

    in-modal = (1/N) sum_jk (s(x_j, x_k) - s(y_j, y_k))^2, cross-modal = (1/N) sum_jk (s(x_j, y_k) - s(x_k, y_j))^2:
    the sum over all N^2 couples of clips is divided by N, not by N^2, so both grow with the batch. The similarities
    are not divided by a temperature. There are no negatives, so none are excluded. Source: arXiv 2205.14459, where
    both terms have weight 0.25.

    Args:
        x: (B, D).
        y: (B, D), row i is the positive of row i of x.
        similarity: ``"cosine"``, as in the paper, or ``"dot"``.
        present: (B,) bool; a clip marked False is left out of the sums and of N.

    Returns:
        The in-modal and the cross-modal term, scalars; 0, with a working backward, for a single clip or if none is
        present. float64 if an input is, otherwise float32.

    Raises:
        InputError: the shapes or the similarity cannot be used.
    """
    check_views("cyclic consistency", x, y)
    x, y = zero_absent(x, present), zero_absent(y, present)  # all similarities of absent clips are then 0
    clips = len(x) if present is None else present.sum().clamp(min=1)
    in_modal = similarity_logits(x, x, 1.0, similarity) - similarity_logits(y, y, 1.0, similarity)
    cross_modal = similarity_logits(x, y, 1.0, similarity)
    return in_modal.square().sum() / clips, (cross_modal - cross_modal.T).square().sum() / clips
