"""The losses of the pairs on a board, each pair compared by one of the pair losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from turbo_kit.board import Pair
from turbo_kit.config import InputError, unknown
from turbo_kit.objectives.directions import Direction, Negatives, check_direction
from turbo_kit.objectives.gram import gram
from turbo_kit.objectives.info_nce import info_nce
from turbo_kit.objectives.infoloob import infoloob
from turbo_kit.objectives.masks import zero_absent
from turbo_kit.objectives.siglip import INITIAL_BIAS, siglip
from turbo_kit.objectives.similarity import Similarity, unit_vectors
from turbo_kit.objectives.tiled import TILED_FROM, tiled_info_nce
from turbo_kit.objectives.validation import check_choice

PairLoss = Literal["info_nce", "siglip", "infoloob", "gram"]


def pair_losses(
    views: Mapping[str, Tensor],
    pairs: Sequence[Pair],
    *,
    pair_loss: PairLoss = "info_nce",
    bias: float | Tensor = INITIAL_BIAS,
    temperature: float | Tensor = 0.05,
    similarity: Similarity = "cosine",
    direction: Direction = "symmetric",
    negatives: Negatives = "other",
    groups: Tensor | None = None,
    present: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The losses of several pairs of views. From `TILED_FROM` clips on, InfoNCE computes all pairs in one sweep.

    Args:
        views: (B, D) for each view by name, as in ``{"a1": ..., "t1": ...}``.
        pairs: the pairs to compute; their weights are not applied.
        pair_loss: how each pair is compared: `info_nce`, `siglip`, `infoloob` or `gram`.
        bias: of SigLIP.
        temperature, similarity, direction, negatives, groups: as for `info_nce`.
        present: (B,) bool by modality letter; a clip that lacks one of a pair's modalities is left out of that pair.
            A modality that is not given is present in every clip.

    Returns:
        The unweighted loss of each pair by its name.

    Raises:
        InputError: a view that a pair needs is missing or of another shape, an option that this pair loss does not
            have, or as for `info_nce`.
    """
    check_pair_options(pair_loss, similarity, direction, negatives)
    _check_views_of_pairs(views, pairs)
    ready = _prepared_views(views, pairs, similarity, present or {})
    masks = _masks_of_pairs(pairs, present or {})
    ends = [(str(pair.first), str(pair.second)) for pair in pairs]
    if pair_loss == "info_nce" and _fit_for_tiles(ready):
        losses = tiled_info_nce(
            ready,
            ends,
            temperature=temperature,
            unit_length=similarity == "cosine",
            symmetric=direction == "symmetric",
            within_views=negatives == "both",
            groups=groups,
            present=masks,
        )
    else:
        loss = _loss_function(pair_loss, bias, direction, negatives)
        losses = [
            loss(ready[first], ready[second], temperature=temperature, groups=groups, present=mask)
            for (first, second), mask in zip(ends, masks, strict=True)
        ]
    return dict(zip((pair.name for pair in pairs), losses, strict=True))


def clips_with_both(present: Mapping[str, Tensor], one: str, other: str) -> Tensor | None:
    """(B,) bool, which clips have both modalities; None if neither has a mask."""
    masks = [present[letter] for letter in (one, other) if letter in present]
    return torch.stack(masks).all(dim=0) if masks else None


def check_pair_options(pair_loss: str, similarity: str, direction: str, negatives: str) -> None:
    """Raise an `InputError` if an option has an unknown value, or one that the pair loss does not offer."""
    check_choice("pair_loss", pair_loss, get_args(PairLoss))
    check_choice("similarity", similarity, get_args(Similarity))
    check_direction(direction, negatives)
    if pair_loss == "siglip" and (direction, negatives) != ("symmetric", "other"):
        raise InputError(
            f"direction={direction!r}, negatives={negatives!r} with the pair loss 'siglip': it compares each two clips "
            "once, so it has no direction and no negatives within a view; leave direction='symmetric' and "
            "negatives='other', or choose another pair loss"
        )
    if pair_loss == "gram" and similarity != "cosine":
        raise InputError(
            f"similarity={similarity!r} with the pair loss 'gram': it compares by the volume of unit vectors; leave "
            "similarity='cosine', or choose another pair loss"
        )


def _check_views_of_pairs(views: Mapping[str, Tensor], pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        first, second = str(pair.first), str(pair.second)
        for name in (first, second):
            if name not in views:
                raise unknown("view", name, views)
        if views[first].ndim != 2 or views[first].shape != views[second].shape:
            raise InputError(
                f"views {first} and {second} have shapes {tuple(views[first].shape)} and "
                f"{tuple(views[second].shape)}: expected (B, D) for both, the same clips projected to one width"
            )


def _prepared_views(
    views: Mapping[str, Tensor], pairs: Sequence[Pair], similarity: Similarity, present: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The views that the pairs need, with absent clips zeroed; scaled to length 1 once for each view, not pair."""
    ready = {}
    for view in sorted({view for pair in pairs for view in (pair.first, pair.second)}):  # a fixed order: same bits
        zeroed = zero_absent(views[str(view)], present.get(view.modality))
        ready[str(view)] = unit_vectors(zeroed) if similarity == "cosine" else zeroed
    return ready


def _masks_of_pairs(pairs: Sequence[Pair], present: Mapping[str, Tensor]) -> list[Tensor | None]:
    """For each pair, which clips have both of its modalities; pairs of the same modalities share one tensor."""
    modalities = [tuple(sorted((pair.first.modality, pair.second.modality))) for pair in pairs]
    masks = {letters: clips_with_both(present, *letters) for letters in modalities}
    return [masks[letters] for letters in modalities]


def _fit_for_tiles(views: Mapping[str, Tensor]) -> bool:
    """Whether there are views, all of one batch of `TILED_FROM` clips or more."""
    sizes = {len(view) for view in views.values()}
    return len(sizes) == 1 and min(sizes) >= TILED_FROM


def _loss_function(
    pair_loss: PairLoss, bias: float | Tensor, direction: Direction, negatives: Negatives
) -> Callable[..., Tensor]:
    """The function of a pair loss with its options; the views it gets are prepared, so cosine is a dot product."""
    if pair_loss == "siglip":
        return partial(siglip, bias=bias, similarity="dot")
    if pair_loss == "gram":
        return partial(gram, direction=direction, negatives=negatives)
    by_dot_product = info_nce if pair_loss == "info_nce" else infoloob
    return partial(by_dot_product, similarity="dot", direction=direction, negatives=negatives)
