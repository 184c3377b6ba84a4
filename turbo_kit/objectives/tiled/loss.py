"""The InfoNCE losses of several pairs of views in one sweep over tiles of their logits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from turbo_kit.objectives.masks import masked_mean
from turbo_kit.objectives.tiled.logsumexp import SAFE_LOGIT, Block, Sweep, tiled_logsumexp
from turbo_kit.objectives.validation import check_temperature, check_views

TILED_FROM = 256
"""Number of clips in a batch from which on the loss is computed in tiles. Below, the plain form takes a few
milliseconds, and its gradient can be differentiated again."""

TILE_SIZE = {"cpu": 768, "cuda": 4096}
"""Rows and columns of a tile. On a CPU a tile takes 2 MB in float32, which fits into the cache. On a GPU it takes
64 MB: the GPU would finish smaller ones faster than the host can launch them."""


class PairBlocks(NamedTuple):
    """The blocks of logits that the loss of one pair is made of."""

    between: Block
    """The logits between the two views."""
    within: list[Block]
    """For each direction, the logits of the anchors with their own view; empty if it gives no negatives."""


def tiled_info_nce(
    views: Mapping[str, Tensor],
    pairs: Sequence[tuple[str, str]],
    *,
    temperature: float | Tensor,
    unit_length: bool,
    symmetric: bool = True,
    within_views: bool = False,
    groups: Tensor | None = None,
    present: Sequence[Tensor | None] | None = None,
    tile_size: int | None = None,
) -> list[Tensor]:
    """`info_nce` of several pairs of views, compared by dot product, in one sweep.

    Args:
        views: (B, D) by name, zeros where a clip is absent.
        pairs: the names of the two views of each pair, the anchors' view first.
        temperature: above 0; a tensor if it is learned.
        unit_length: whether no row of a view is longer than 1, so that a fixed temperature bounds the logits.
        symmetric: take the mean of both directions, not only the one from the first view to the second.
        within_views: take negatives from the anchor's own view too (NT-Xent).
        groups: (B,) integers, as for `info_nce`.
        present: for each pair (B,) bool or None, as for `info_nce`; pairs with equal masks share the computation if
            they give the same tensor object.
        tile_size: rows and columns of a tile; None for `TILE_SIZE`.

    Returns:
        The loss of each pair, equal to `info_nce` up to rounding. Its gradient cannot be differentiated again.

    Raises:
        InputError: shapes or the temperature cannot be used.
    """
    for first, second in pairs:
        check_views("InfoNCE", views[first], views[second], groups)
    names = sorted({name for pair in pairs for name in pair})
    scaled = _scaled_by_temperature([views[name] for name in names], temperature)
    present = present or [None] * len(pairs)
    masks = {id(mask): mask for mask in present if mask is not None}
    plans = [
        _blocks_of_pair(names.index(first), names.index(second), mask, symmetric, within_views)
        for (first, second), mask in zip(pairs, present, strict=True)
    ]
    blocks = tuple(dict.fromkeys(block for plan in plans for block in (plan.between, *plan.within)))  # each once
    # A learned temperature is not read: that would stall a GPU.
    bounded = unit_length and not isinstance(temperature, Tensor) and 1 / temperature <= SAFE_LOGIT
    tile_size = tile_size or TILE_SIZE.get(scaled[0].device.type, TILE_SIZE["cuda"])
    log_sums = tiled_logsumexp(Sweep(blocks, groups, masks, bounded, tile_size), scaled)
    by_block = dict(zip(blocks, log_sums, strict=True))
    return [_loss_of_pair(plan, by_block, scaled, masks) for plan in plans]


def _scaled_by_temperature(views: Sequence[Tensor], temperature: float | Tensor) -> list[Tensor]:
    """The views divided by the square root of the temperature, so that their dot products are logits.

    All get one dtype, float32 at least. With the temperature in the views, its gradient needs no sum over the tiles.
    """
    check_temperature(temperature)
    dtype = reduce(torch.promote_types, (view.dtype for view in views), torch.float32)
    root = temperature.sqrt() if isinstance(temperature, Tensor) else math.sqrt(temperature)
    return [view.to(dtype) / root for view in views]


def _blocks_of_pair(first: int, second: int, mask: Tensor | None, symmetric: bool, within_views: bool) -> PairBlocks:
    key = None if mask is None else id(mask)
    anchors = (first, second) if symmetric else (first,)
    between = Block(first, second, key, column_sums=symmetric)
    return PairBlocks(between, [Block(view, view, key, column_sums=False) for view in anchors if within_views])


def _loss_of_pair(
    plan: PairBlocks,
    log_sums: Mapping[Block, tuple[Tensor, Tensor | None]],
    scaled: Sequence[Tensor],
    masks: Mapping[int, Tensor],
) -> Tensor:
    """The mean over the clips of l_i = log sum_j exp(s_ij) - s_ii, and over the directions."""
    between = plan.between
    denominators = [of_axis for of_axis in log_sums[between] if of_axis is not None]  # one for each direction
    for direction, block in enumerate(plan.within):
        denominators[direction] = torch.logaddexp(denominators[direction], log_sums[block][0])
    positives = (scaled[between.row_view] * scaled[between.column_view]).sum(dim=1)
    per_clip = torch.stack(denominators).mean(dim=0) - positives
    return per_clip.mean() if between.mask is None else masked_mean(per_clip, masks[between.mask])
