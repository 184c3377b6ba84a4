"""Logarithms of sums of exponentials along the rows and columns of large matrices of logits, tile by tile.

The forward keeps one number for each row and each column. The backward computes each tile again, unless all tiles
together are small enough to be kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SAFE_LOGIT = 60.0
"""Sums of exponentials of logits up to this size need no running maximum: exp(60) times a billion clips is 1e35,
exp(-60) is 1e-26, and float32 holds 1e-38 to 3e38."""

KEPT_ENTRIES = 2**24
"""Number of entries of all tiles together (64 MB in float32) up to which the forward keeps them for the backward."""

STRIP_ROWS = 512
"""Rows of a tile whose gradient is computed at a time. The gradient of a whole tile would take the memory of one or
two more tiles: little on a CPU, but with the tiles of a GPU as much as everything else."""

ExclusionKind = tuple[int | None, bool]


class Block(NamedTuple):
    """The (B, B) logits of all clips in one view (rows) with all clips in another view or the same one (columns).

    Between two views the positives lie on the diagonal and are always in the sums. Within one view the diagonal
    compares each clip with itself and is never in them.
    """

    row_view: int
    column_view: int
    mask: int | None = None  # the key of the mask of present clips, if there is one
    column_sums: bool = True  # whether the sums along the columns are wanted too, not only those along the rows

    @property
    def exclusion_kind(self) -> ExclusionKind:
        """What decides which entries are excluded: the mask, and whether the block is within one view."""
        return self.mask, self.row_view == self.column_view


class Tile(NamedTuple):
    """A part of a block, some rows by some columns.

    The entries are logits, -inf where they are excluded; or their exponentials, if the sweep is bounded.
    """

    block: Block
    rows: slice
    columns: slice
    entries: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Sweep:
    """One pass over the tiles of all blocks.

    Attributes:
        blocks: which views are compared, by their numbers.
        groups: (B,) integers; clips with the same number, if it is not negative, are excluded from each other's sums.
        masks: (B,) bool each, by the blocks' keys; absent clips are excluded from all sums but that of their own
            positive.
        bounded: no logit is larger than `SAFE_LOGIT`, so one exponential serves rows and columns.
        tile_size: rows and columns of a tile.
    """

    blocks: Sequence[Block]
    groups: Tensor | None
    masks: Mapping[int, Tensor]
    bounded: bool
    tile_size: int

    def tiles(self, views: Sequence[Tensor]) -> Iterator[Tile]:
        """Compute the tiles of all blocks, one after the other."""
        size = len(views[0])
        parts = [slice(*ends) for ends in pairwise([*range(0, size, self.tile_size), size])]
        kinds = {block.exclusion_kind for block in self.blocks}
        for rows in parts:
            for columns in parts:
                excluded = {kind: self._excluded(kind, rows, columns, views[0].device) for kind in kinds}
                for block in self.blocks:
                    logits = views[block.row_view][rows] @ views[block.column_view][columns].T
                    if (mask := excluded[block.exclusion_kind]) is not None:
                        logits.masked_fill_(mask, -math.inf)
                    yield Tile(block, rows, columns, logits.exp_() if self.bounded else logits)
                    del logits  # frees this tile before the next one is computed; the callers do the same

    def _excluded(self, kind: ExclusionKind, rows: slice, columns: slice, device: torch.device) -> Tensor | None:
        mask, within_one_view = kind
        reasons = []
        if self.groups is not None:
            reasons.append((self.groups[rows, None] == self.groups[columns]) & (self.groups[columns] >= 0))
        if mask is not None:
            reasons.append(~(self.masks[mask][rows, None] & self.masks[mask][columns]))
        on_diagonal = rows == columns
        if within_one_view and on_diagonal and not reasons:
            size = rows.stop - rows.start
            reasons.append(torch.zeros(size, size, dtype=torch.bool, device=device))
        if not reasons:
            return None
        excluded = reduce(torch.logical_or, reasons)
        return excluded.fill_diagonal_(within_one_view) if on_diagonal else excluded


def tiled_logsumexp(sweep: Sweep, views: Sequence[Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """The logarithms of the sums of exponentials of the dot products of views.

    Args:
        sweep: which views are compared, and what is excluded.
        views: (B, D) each, float32 or float64, of one dtype; D may differ between views that are not compared.

    Returns:
        For each block the log sums of its rows (B,) and, if wanted, of its columns (B,); -inf where nothing is
        summed. Computed in the dtype of the views, under autocast too. The gradient cannot be differentiated again.
    """
    outputs = _TiledLogSumExp.apply(sweep, *views)
    return list(zip(outputs[::2], outputs[1::2], strict=True))


class _TiledLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sweep: Sweep, *views: Tensor) -> tuple[Tensor | None, ...]:
        empty = 0.0 if sweep.bounded else -math.inf
        sums = {
            block: [views[0].new_full(views[0].shape[:1], empty) for _ in range(1 + block.column_sums)]
            for block in sweep.blocks
        }
        kept: list[Tile] | None = [] if len(sweep.blocks) * len(views[0]) ** 2 <= KEPT_ENTRIES else None
        with torch.autocast(views[0].device.type, enabled=False):
            for tile in sweep.tiles(views):
                _add_to_sums(sums[tile.block], tile, sweep.bounded)
                if kept is not None:
                    kept.append(tile)
                del tile
        if sweep.bounded:
            for total in (total for both in sums.values() for total in both):
                total.log_()
        outputs = [total for both in sums.values() for total in (*both, None)[:2]]
        ctx.sweep, ctx.kept = sweep, kept
        ctx.set_materialize_grads(False)  # so that a block without a gradient costs nothing
        ctx.save_for_backward(*views, *outputs)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *output_gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        sweep: Sweep = ctx.sweep
        count = len(output_gradients)
        views, outputs = ctx.saved_tensors[:-count], ctx.saved_tensors[-count:]
        gradients = [
            torch.zeros_like(view) if wanted else None
            for view, wanted in zip(views, ctx.needs_input_grad[1:], strict=True)
        ]
        sums = _sums_with_gradient(sweep, outputs, output_gradients)
        kept: list[Tile] | None = ctx.kept
        tiles: Iterator[Tile]
        if kept is None:
            tiles = replace(sweep, blocks=tuple(sums)).tiles(views)
        else:
            tiles = (tile for tile in kept if tile.block in sums)
        with torch.autocast(views[0].device.type, enabled=False):
            for tile in tiles:
                block, rows, columns = tile.block, tile.rows, tile.columns
                at_logits = _gradient_at_logits(tile, sums[block], sweep.bounded, in_place=kept is None)
                del tile
                if (gradient := gradients[block.row_view]) is not None:
                    gradient[rows].addmm_(at_logits, views[block.column_view][columns])
                if (gradient := gradients[block.column_view]) is not None:
                    gradient[columns].addmm_(at_logits.T, views[block.row_view][rows])
                del at_logits
        return None, *gradients


def _add_to_sums(sums: Sequence[Tensor], tile: Tile, bounded: bool) -> None:
    """Add a tile to the sums along the rows and, if there are two, along the columns of its block, in place."""
    for axis, (total, part) in enumerate(zip(sums, (tile.rows, tile.columns), strict=False)):
        if bounded:
            total[part] += tile.entries.sum(dim=1 - axis)
        else:  # logaddexp takes the larger of the two maxima out of both sums
            total[part] = torch.logaddexp(total[part], tile.entries.logsumexp(dim=1 - axis))


class SumsAlongAxis(NamedTuple):
    """The log sums of a block along its rows or its columns, and the gradient of the loss with respect to them."""

    of_columns: bool
    log_sums: Tensor  # (B,)
    gradient: Tensor  # (B,); in a bounded sweep divided by the sums themselves

    def along(self, tile: Tile, values: Tensor) -> Tensor:
        """Values (B,) of this axis, cut to the tile and shaped so that they broadcast over its entries."""
        return values[tile.columns] if self.of_columns else values[tile.rows, None]


def _sums_with_gradient(
    sweep: Sweep, outputs: Sequence[Tensor], output_gradients: Sequence[Tensor | None]
) -> dict[Block, list[SumsAlongAxis]]:
    """The sums that the loss depends on, by block. The outputs alternate between rows and columns."""
    found: dict[Block, list[SumsAlongAxis]] = {}
    for number, (log_sums, gradient) in enumerate(zip(outputs, output_gradients, strict=True)):
        if gradient is not None:
            finite = log_sums.masked_fill(log_sums == -math.inf, 0)  # nothing was summed; -inf - -inf would be NaN
            gradient = gradient * torch.exp(-finite) if sweep.bounded else gradient
            sums = SumsAlongAxis(number % 2 == 1, finite, gradient)
            found.setdefault(sweep.blocks[number // 2], []).append(sums)
    return found


def _gradient_at_logits(tile: Tile, sums: Sequence[SumsAlongAxis], bounded: bool, in_place: bool) -> Tensor:
    """The gradient with respect to the logits of a tile; it overwrites the entries if they are not needed again."""
    if not in_place:
        return _gradient_of_strip(tile, sums, bounded)
    for above in range(0, len(tile.entries), STRIP_ROWS):
        entries = tile.entries[above : above + STRIP_ROWS]
        start = tile.rows.start + above
        strip = tile._replace(rows=slice(start, start + len(entries)), entries=entries)
        _gradient_of_strip(strip, sums, bounded, in_place)
    return tile.entries


def _gradient_of_strip(tile: Tile, sums: Sequence[SumsAlongAxis], bounded: bool, in_place: bool = False) -> Tensor:
    """exp(logit - log sum) times the gradient of the log sum, added over rows and columns."""
    if bounded:  # exp(logit) is the entry, and the gradient has been divided by the sum
        factors = reduce(add, (axis.along(tile, axis.gradient) for axis in sums))
        if in_place:
            return tile.entries.mul_(factors)
        return factors.mul_(tile.entries) if len(sums) > 1 else factors * tile.entries
    parts = [
        (tile.entries - axis.along(tile, axis.log_sums)).exp_().mul_(axis.along(tile, axis.gradient)) for axis in sums
    ]
    gradient = reduce(Tensor.add_, parts)
    return tile.entries.copy_(gradient) if in_place else gradient
