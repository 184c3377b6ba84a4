"""CyCLIP's cyclic consistency: the geometry of the two modalities should be the same."""

from __future__ import annotations

from torch import Tensor

from turbo_kit.objectives.similarity import Similarity, check_batch, filled, similarity_logits


def cyclic_consistency(
    x: Tensor, y: Tensor, *, similarity: Similarity = "cosine", present: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """How far the similarities within x are from those within y, and those of x to y from those of y to x.

    in-modal = (1/N) sum_jk (s(x_j, x_k) - s(y_j, y_k))^2, cross-modal = (1/N) sum_jk (s(x_j, y_k) - s(x_k, y_j))^2:
    the sum over all N^2 couples of clips is divided by N, not by N^2, so both grow with the batch. The similarities
    are not divided by a temperature. There are no negatives, so none are excluded. Source: arXiv 2205.14459;
    both have weight 0.25 there.

    Args:
        x: (B, D).
        y: (B, D), row i belongs with row i of x.
        similarity: ``"cosine"``, as in the paper, or ``"dot"``.
        present: (B,) bool; a clip marked False is left out of the sums and of N.

    Returns:
        The in-modal and the cross-modal term, scalars; 0, with a working backward, for a single clip or where none
        is present. float64 where an input is, otherwise float32.

    Raises:
        InputError: the shapes or the similarity cannot be used.
    """
    check_batch("cyclic consistency", x, y)
    if present is not None:
        x, y = filled(x, present), filled(y, present)  # all their similarities are then 0, and so are the differences
    clips = len(x) if present is None else present.sum().clamp(min=1)
    within = similarity_logits(x, x, 1.0, similarity) - similarity_logits(y, y, 1.0, similarity)
    across = similarity_logits(x, y, 1.0, similarity)
    return within.square().sum() / clips, (across - across.T).square().sum() / clips
