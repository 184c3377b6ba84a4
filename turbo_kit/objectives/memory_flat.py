"""InfoNCE of many clips, exact, in memory that grows with their number and not with its square.

All pairs of a board share one sweep over tiles of their (B, B) logits (`log_sums`), whose backward computes the tiles
of a large batch again. That is one matrix product more than keeping them, and yet faster: a tile stays in the cache,
while plain InfoNCE reads and writes every (B, B) matrix in main memory a dozen times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from turbo_kit.objectives.log_sums import BOUNDED_LOGITS, Block, Sweep, log_sums
from turbo_kit.objectives.similarity import check_batch, check_temperature, masked_mean

FLAT_FROM = 256
"""Clips in a batch from which on tiles are used; below, the plain path takes a few milliseconds and may be read."""

TILE = {"cpu": 768, "cuda": 4096}
"""Rows and columns of a tile: 2 MB in float32, which caches hold; and 64 MB, since a smaller one occupies a GPU for
less time than the host takes to ask for it."""


def flat_info_nce(
    views: Mapping[str, Tensor],
    pairs: Sequence[tuple[str, str]],
    *,
    temperature: float | Tensor,
    unit_length: bool,
    symmetric: bool = True,
    within_views: bool = False,
    groups: Tensor | None = None,
    present: Sequence[Tensor | None] | None = None,
    tile: int | None = None,
) -> list[Tensor]:
    """`info_nce` of several pairs of views by their dot products, in one sweep.

    Args:
        views: (B, D) by name, zeros where a clip is absent.
        pairs: the names of the two views of each pair, the anchors' first.
        temperature: above 0; a tensor where it is learned.
        unit_length: whether no row of a view is longer than 1, so that a fixed temperature bounds the logits.
        symmetric: take the mean of both directions, not only that from the first view to the second.
        within_views: take negatives from the anchor's own view too (NT-Xent).
        groups: (B,) integers, as for `info_nce`.
        present: for each pair (B,) bool or None, as for `info_nce`; pairs that share a mask give the same object.
        tile: rows and columns of a tile; None for those of `TILE`.

    Returns:
        The loss of each pair, `info_nce`'s up to rounding. Its gradient cannot be differentiated again.

    Raises:
        InputError: shapes or the temperature cannot be used.
    """
    for first, second in pairs:
        check_batch("InfoNCE", views[first], views[second], groups)
    names = sorted({name for pair in pairs for name in pair})
    scaled = _divided([views[name] for name in names], temperature)
    masks = {id(mask): mask for mask in present or () if mask is not None}
    plans = []
    for (first, second), mask in zip(pairs, present or [None] * len(pairs), strict=True):
        key = None if mask is None else id(mask)
        across = Block(names.index(first), names.index(second), key, columns_too=symmetric)
        ends = (across.row, across.column)[: 1 + symmetric]
        plans.append((across, [Block(end, end, across.mask, columns_too=False) for end in ends if within_views]))
    blocks = tuple(dict.fromkeys(block for across, within in plans for block in (across, *within)))  # each once
    # A learned temperature is not read: that would stall a GPU.
    bounded = unit_length and not isinstance(temperature, Tensor) and 1 / temperature <= BOUNDED_LOGITS
    tile = tile or TILE.get(scaled[0].device.type, TILE["cuda"])
    sums = dict(zip(blocks, log_sums(Sweep(blocks, groups, masks, bounded, tile), scaled), strict=True))

    losses = []
    for across, within in plans:
        ways = [way for way in sums[across] if way is not None]
        for number, block in enumerate(within):
            ways[number] = torch.logaddexp(ways[number], sums[block][0])
        anchors = torch.stack(ways).mean(dim=0) - (scaled[across.row] * scaled[across.column]).sum(dim=1)
        losses.append(anchors.mean() if across.mask is None else masked_mean(anchors, masks[across.mask]))
    return losses


def _divided(views: Sequence[Tensor], temperature: float | Tensor) -> list[Tensor]:
    """The views in float32 at least and of one dtype; their dot products are logits.

    Each factor of a logit takes the root of the temperature, whose gradient so comes without a sum over the tiles.
    """
    if not isinstance(temperature, Tensor):
        check_temperature(temperature)
    dtype = reduce(torch.promote_types, (view.dtype for view in views), torch.float32)
    root = temperature.sqrt() if isinstance(temperature, Tensor) else math.sqrt(temperature)
    return [view.to(dtype) / root for view in views]
