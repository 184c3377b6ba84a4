"""The pairs of a board, each compared by one of the pair losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from turbo_kit.board import Pair, View
from turbo_kit.config import InputError, unknown
from turbo_kit.objectives.gram import gram
from turbo_kit.objectives.info_nce import Direction, Negatives, info_nce
from turbo_kit.objectives.infoloob import infoloob
from turbo_kit.objectives.memory_flat import FLAT_FROM, flat_info_nce
from turbo_kit.objectives.siglip import siglip
from turbo_kit.objectives.similarity import Similarity, check_choice, filled, unit

PairLoss = Literal["info_nce", "siglip", "infoloob", "gram"]


def pair_losses(
    views: Mapping[str, Tensor],
    pairs: Sequence[Pair],
    *,
    pair_loss: PairLoss = "info_nce",
    bias: float | Tensor = -10.0,
    temperature: float | Tensor = 0.05,
    similarity: Similarity = "cosine",
    direction: Direction = "symmetric",
    negatives: Negatives = "other",
    groups: Tensor | None = None,
    present: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The losses of several pairs of views; InfoNCE of `FLAT_FROM` clips or more in one sweep over tiles for all.

    Args:
        views: (B, D) for each view by name, as in ``{"a1": ..., "t1": ...}``.
        pairs: the pairs to compute; their weights are left to the caller.
        pair_loss: how each is compared: `info_nce`, `siglip`, `infoloob` or `gram`.
        bias: SigLIP's.
        temperature, similarity, direction, negatives, groups: as for `info_nce`.
        present: (B,) bool by modality letter; a clip that lacks one of a pair's modalities leaves that pair. A
            letter that is not given is there for every clip.

    Returns:
        The unweighted loss of each pair by its name.

    Raises:
        InputError: a view that a pair needs is missing or of another shape, a setting that this pair loss does not
            have, or as for `info_nce`.
    """
    check_pair_settings(pair_loss, similarity, direction, negatives)
    _check_views(views, pairs)
    present = present or {}
    ready: dict[View, Tensor] = {}
    for view in sorted({view for pair in pairs for view in (pair.first, pair.second)}):  # a fixed order: same bits
        mask = present.get(view.modality)
        ready[view] = views[str(view)] if mask is None else filled(views[str(view)], mask)
        if similarity == "cosine":
            ready[view] = unit(ready[view])  # once for each view, not for each pair

    modalities = [tuple(sorted((pair.first.modality, pair.second.modality))) for pair in pairs]
    masks = {letters: both_present(present, *letters) for letters in modalities}  # shared by the pairs of the same two
    present_of = [masks[letters] for letters in modalities]
    sizes = {len(view) for view in ready.values()}
    if pair_loss == "info_nce" and len(sizes) == 1 and sizes.pop() >= FLAT_FROM:
        found = flat_info_nce(
            {str(view): tensor for view, tensor in ready.items()},
            [(str(pair.first), str(pair.second)) for pair in pairs],
            temperature=temperature,
            unit_length=similarity == "cosine",
            symmetric=direction == "symmetric",
            within_views=negatives == "both",
            groups=groups,
            present=present_of,
        )
        return dict(zip((pair.name for pair in pairs), found, strict=True))

    loss: Callable[..., Tensor] = {
        "info_nce": partial(info_nce, similarity="dot", direction=direction, negatives=negatives),
        "siglip": partial(siglip, bias=bias, similarity="dot"),
        "infoloob": partial(infoloob, similarity="dot", direction=direction, negatives=negatives),
        "gram": partial(gram, direction=direction, negatives=negatives),
    }[pair_loss]
    return {
        pair.name: loss(ready[pair.first], ready[pair.second], temperature=temperature, groups=groups, present=mask)
        for pair, mask in zip(pairs, present_of, strict=True)
    }


def both_present(present: Mapping[str, Tensor], one: str, other: str) -> Tensor | None:
    """(B,) bool, which clips have both modalities; None where neither mask is given."""
    masks = [present[letter] for letter in (one, other) if letter in present]
    return torch.stack(masks).all(dim=0) if masks else None


def check_pair_settings(pair_loss: str, similarity: str, direction: str, negatives: str) -> None:
    """Raise an `InputError` where a setting is none of the known ones, or none that the pair loss has."""
    for name, value, known in (
        ("pair_loss", pair_loss, get_args(PairLoss)),
        ("similarity", similarity, get_args(Similarity)),
        ("direction", direction, get_args(Direction)),
        ("negatives", negatives, get_args(Negatives)),
    ):
        check_choice(name, value, known)
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


def _check_views(views: Mapping[str, Tensor], pairs: Sequence[Pair]) -> None:
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
