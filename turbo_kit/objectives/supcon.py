"""SupCon: all views of all clips with the same label belong together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from turbo_kit.config import InputError
from turbo_kit.objectives.masks import masked_mean, zero_absent
from turbo_kit.objectives.similarity import Similarity, similarity_logits
from turbo_kit.objectives.validation import check_views


def supcon(
    views: Sequence[Tensor],
    labels: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    similarity: Similarity = "cosine",
    groups: Tensor | None = None,
    present: Sequence[Tensor | None] | None = None,
) -> Tensor:
    """Supervised contrastive loss over all views of a batch, of any modality and pass.

    With z the views of all clips, A(i) all of them but i, and P(i) those of A(i) with the label of i,

        l_i = -(1 / |P(i)|) sum_{p in P(i)} log (exp(z_i . z_p / tau) / sum_{a in A(i)} exp(z_i . z_a / tau))

    Source: arXiv 2004.11362, eq. 2 (L_out), temperature 0.07. The paper has several views of an image; views of two
    modalities, and clips without a label, are this kit's extension.

    Args:
        views: (B, D) each, the same clips in each; at least two.
        labels: (B,) long, negative if a clip has none: its only positives are then its own other views.
        temperature: tau, above 0; a tensor if it is learned.
        similarity: ``"cosine"`` or ``"dot"``.
        groups: (B,) integers; clips with the same number are left out of each other's sum over A, unless they are
            positives. A negative number stands for "no group" and excludes nothing.
        present: (B,) bool for each view, None for all; a view marked False is left out everywhere.

    Returns:
        Scalar, the mean over the views that have a positive; 0, with a working backward, if none has. float64 if an
        input is, otherwise float32.

    Raises:
        InputError: shapes, an option or the temperature cannot be used.
    """
    _check(views, labels, groups)
    masks = [None] * len(views) if present is None else present
    # float32 before the views are joined: autocast cannot join views in float16.
    wide = [view.to(torch.promote_types(view.dtype, torch.float32)) for view in views]
    z = torch.cat([zero_absent(view, mask) for view, mask in zip(wide, masks, strict=True)])
    everyone = torch.ones(len(labels), dtype=torch.bool, device=z.device)
    here = torch.cat([everyone if mask is None else mask for mask in masks])
    positives, compared = _positives_and_compared(labels, groups, here, len(views))

    logits = similarity_logits(z, z, temperature, similarity)
    has_positive = positives.any(dim=1)
    # A row that does not count is left unmasked, so that its gradient is finite.
    denominators = logits.masked_fill(~compared & has_positive[:, None], -math.inf).logsumexp(dim=1)
    losses = denominators - (logits * positives).sum(dim=1) / positives.sum(dim=1).clamp(min=1)
    return masked_mean(losses, has_positive)


def _positives_and_compared(
    labels: Tensor, groups: Tensor | None, here: Tensor, number_of_views: int
) -> tuple[Tensor, Tensor]:
    """The sets P(i) and A(i), (V, V) bool each over all V = views x clips; labels, groups (B,), here (V,) bool."""
    clips = torch.arange(len(labels), device=here.device).repeat(number_of_views)
    labels = labels.repeat(number_of_views)
    others = here[:, None] & here[None, :] & ~torch.eye(len(here), dtype=torch.bool, device=here.device)
    together = (clips[:, None] == clips) | ((labels[:, None] == labels) & (labels >= 0))
    if groups is None:
        return others & together, others
    groups = groups.repeat(number_of_views)
    return others & together, others & (together | (groups[:, None] != groups) | (groups < 0))


def _check(views: Sequence[Tensor], labels: Tensor, groups: Tensor | None) -> None:
    if len(views) < 2:
        raise InputError(f"SupCon compares views: found {len(views)}, expected at least 2")
    for view in views:
        check_views("SupCon", views[0], view, groups)
    if labels.shape != views[0].shape[:1] or labels.dtype != torch.long:
        raise InputError(f"labels must be ({len(views[0])},) long, found {tuple(labels.shape)} {labels.dtype}")
