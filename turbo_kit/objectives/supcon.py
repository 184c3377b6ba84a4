"""SupCon: all views of all clips of one label belong together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from turbo_kit.config import InputError
from turbo_kit.objectives.similarity import Similarity, check_batch, filled, masked_mean, similarity_logits


def supcon(
    views: Sequence[Tensor],
    labels: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    similarity: Similarity = "cosine",
    groups: Tensor | None = None,
    present: Sequence[Tensor | None] | None = None,
) -> Tensor:
    """Supervised contrastive loss over all views of a batch, whichever modality or pass they are of.

    With z the views of all clips, A(i) all of them but i, and P(i) those of A(i) with the label of i,

        l_i = -(1 / |P(i)|) sum_{p in P(i)} log (exp(z_i . z_p / tau) / sum_{a in A(i)} exp(z_i . z_a / tau))

    Source: arXiv 2004.11362, eq. 2 (L_out), temperature 0.07. Carrying it over from the views of an image to those
    of two modalities, and to clips without a label, is this kit's choice.

    Args:
        views: (B, D) each, the same clips in each; at least two.
        labels: (B,) long, negative where a clip has none: its own other views are then all that it belongs with.
        temperature: tau, above 0; a tensor where it is learned.
        similarity: ``"cosine"`` or ``"dot"``.
        groups: (B,) integers; clips with the same number are left out of each other's sum over A, unless they belong
            together. A negative number stands for "no group" and excludes nothing.
        present: (B,) bool for each view, None for all; a view marked False is left out everywhere.

    Returns:
        Scalar, the mean over the views that have another to belong with; 0, with a working backward, where none has.
        float64 where an input is, otherwise float32.

    Raises:
        InputError: shapes, a setting or the temperature cannot be used.
    """
    if len(views) < 2:
        raise InputError(f"SupCon compares views: found {len(views)}, expected at least 2")
    for view in views:
        check_batch("SupCon", views[0], view, groups)
    batch = len(views[0])
    if labels.shape != (batch,) or labels.dtype != torch.long:
        raise InputError(f"labels must be ({batch},) long, found {tuple(labels.shape)} {labels.dtype}")
    masks = [None] * len(views) if present is None else present
    # float32 before they are joined: autocast cannot join views in float16.
    wide = [view.to(torch.promote_types(view.dtype, torch.float32)) for view in views]
    z = torch.cat([view if mask is None else filled(view, mask) for view, mask in zip(wide, masks, strict=True)])

    everyone = torch.ones(batch, dtype=torch.bool, device=z.device)
    here = torch.cat([everyone if mask is None else mask for mask in masks])
    clips = torch.arange(batch, device=z.device).repeat(len(views))
    labels = labels.repeat(len(views))
    others = here[:, None] & here[None, :] & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    together = (clips[:, None] == clips) | ((labels[:, None] == labels) & (labels >= 0))
    positives, compared = others & together, others
    if groups is not None:
        groups = groups.repeat(len(views))
        compared = others & (together | (groups[:, None] != groups) | (groups < 0))

    logits = similarity_logits(z, z, temperature, similarity)
    counted = positives.any(dim=1)
    # A row that does not count stays whole, for a finite gradient.
    denominators = logits.masked_fill(~compared & counted[:, None], -math.inf).logsumexp(dim=1)
    losses = denominators - (logits * positives).sum(dim=1) / positives.sum(dim=1).clamp(min=1)
    return masked_mean(losses, counted)
