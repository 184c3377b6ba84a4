"""Sums of exponentials over the rows and columns of large tables of logits, tile by tile, with their gradient.

The forward keeps one number for each row and each column; the backward computes each tile again, unless all of them
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

BOUNDED_LOGITS = 60.0
"""Logits of at most this size need no running maximum: exp(60) times a billion clips is 1e35, exp(-60) is 1e-26, and
float32 holds 1e-38 to 3e38."""

KEPT = 2**24
"""Entries of all tiles together (64 MB in float32) that a forward may keep for its backward."""

STRIP = 512
"""Rows of a tile whose slopes are computed at a time. To compute those of a whole tile at once would take the
memory of another tile, or two: nothing on a CPU, and with the tiles of a GPU as much as all else."""

Kind = tuple[int | None, bool]


class Block(NamedTuple):
    """The (B, B) logits of all clips of one view, the rows, with all clips of another or of the same, the columns.

    Between two views the positives lie on the diagonal and are always in the sums. Within one view each clip meets
    itself there, and never is.
    """

    row: int
    column: int
    mask: int | None = None  # by which key the mask of present clips is found, if any
    columns_too: bool = True  # whether the sums down the columns are wanted beside those along the rows

    @property
    def kind(self) -> Kind:
        """All that decides which entries are left out: the mask, and whether the block is within one view."""
        return self.mask, self.row == self.column


class Tile(NamedTuple):
    """A part of a block, some rows by some columns: the logits, -inf where they are left out, or their exponentials
    where those are bounded."""

    block: Block
    rows: slice
    columns: slice
    entries: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Sweep:
    """One way over the tiles, which serves all blocks.

    Attributes:
        blocks: which views meet, by their numbers.
        groups: (B,) integers; clips with the same number, if it is not negative, are in no sum of each other.
        masks: (B,) bool each, by the blocks' keys; clips that are absent are in no sum but their own positive's.
        bounded: no logit is larger than `BOUNDED_LOGITS`, so one exponential serves rows and columns.
        tile: rows and columns of a tile.
    """

    blocks: Sequence[Block]
    groups: Tensor | None
    masks: Mapping[int, Tensor]
    bounded: bool
    tile: int

    def tiles(self, views: Sequence[Tensor]) -> Iterator[Tile]:
        """Each tile of each block."""
        size = len(views[0])
        parts = [slice(*ends) for ends in pairwise([*range(0, size, self.tile), size])]
        kinds = {block.kind for block in self.blocks}
        for rows in parts:
            for columns in parts:
                left_out = {kind: self._left_out(kind, rows, columns, views[0].device) for kind in kinds}
                for block in self.blocks:
                    logits = views[block.row][rows] @ views[block.column][columns].T
                    if (masked := left_out[block.kind]) is not None:
                        logits.masked_fill_(masked, -math.inf)
                    yield Tile(block, rows, columns, logits.exp_() if self.bounded else logits)
                    del logits  # a tile is let go before the next one is computed; so do those who ask for them

    def _left_out(self, kind: Kind, rows: slice, columns: slice, device: torch.device) -> Tensor | None:
        mask, within = kind
        found = []
        if self.groups is not None:
            found.append((self.groups[rows, None] == self.groups[columns]) & (self.groups[columns] >= 0))
        if mask is not None:
            found.append(~(self.masks[mask][rows, None] & self.masks[mask][columns]))
        on_diagonal = rows == columns
        if within and on_diagonal and not found:
            size = rows.stop - rows.start
            found.append(torch.zeros(size, size, dtype=torch.bool, device=device))
        if not found:
            return None
        left_out = reduce(torch.logical_or, found)
        return left_out.fill_diagonal_(within) if on_diagonal else left_out


def log_sums(sweep: Sweep, views: Sequence[Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """The logarithms of the sums of exponentials of the dot products of views.

    Args:
        sweep: which views meet, and what is left out.
        views: (B, D) each, float32 or float64, of one dtype; widths may differ between views that do not meet.

    Returns:
        For each block, of its rows (B,) and, where wanted, of its columns (B,); -inf where a sum is empty. Computed in
        the dtype of the views, under autocast too. The gradient cannot be differentiated again.
    """
    found = _LogSums.apply(sweep, *views)
    return list(zip(found[::2], found[1::2], strict=True))


class _LogSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sweep: Sweep, *views: Tensor) -> tuple[Tensor | None, ...]:
        start = 0.0 if sweep.bounded else -math.inf
        sums = {
            block: [views[0].new_full(views[0].shape[:1], start) for _ in range(1 + block.columns_too)]
            for block in sweep.blocks
        }
        kept: list[Tile] | None = [] if len(sweep.blocks) * len(views[0]) ** 2 <= KEPT else None
        with torch.autocast(views[0].device.type, enabled=False):
            for tile in sweep.tiles(views):
                for over, (total, part) in enumerate(zip(sums[tile.block], (tile.rows, tile.columns), strict=False)):
                    if sweep.bounded:
                        total[part] += tile.entries.sum(dim=1 - over)
                    else:  # takes the larger of the maxima so far out of both sums
                        total[part] = torch.logaddexp(total[part], tile.entries.logsumexp(dim=1 - over))
                if kept is not None:
                    kept.append(tile)
                del tile
        if sweep.bounded:
            for total in (total for both in sums.values() for total in both):
                total.log_()
        outputs = [total for both in sums.values() for total in (*both, None)[:2]]
        ctx.sweep, ctx.kept = sweep, kept
        ctx.set_materialize_grads(False)  # so that a block that nobody asks for costs nothing
        ctx.save_for_backward(*views, *outputs)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        sweep: Sweep = ctx.sweep
        count = len(gradients)
        views, outputs = ctx.saved_tensors[:-count], ctx.saved_tensors[-count:]
        totals = [
            torch.zeros_like(view) if wanted else None
            for view, wanted in zip(views, ctx.needs_input_grad[1:], strict=True)
        ]
        sides: dict[Block, list[Side]] = {}
        for number, (sums, slope) in enumerate(zip(outputs, gradients, strict=True)):
            if slope is not None:
                finite = sums.masked_fill(sums == -math.inf, 0)  # an empty sum; -inf - -inf would be NaN
                slope = slope * torch.exp(-finite) if sweep.bounded else slope
                sides.setdefault(sweep.blocks[number // 2], []).append(Side(number % 2 == 1, finite, slope))
        kept: list[Tile] | None = ctx.kept
        tiles = (
            replace(sweep, blocks=tuple(sides)).tiles(views) if kept is None else (t for t in kept if t.block in sides)
        )
        with torch.autocast(views[0].device.type, enabled=False):
            for tile in tiles:
                block, rows, columns = tile.block, tile.rows, tile.columns
                slopes = _slopes(tile, sides[block], sweep.bounded, in_place=kept is None)
                del tile
                if (total := totals[block.row]) is not None:
                    total[rows].addmm_(slopes, views[block.column][columns])
                if (total := totals[block.column]) is not None:
                    total[columns].addmm_(slopes.T, views[block.row][rows])
                del slopes
        return None, *totals


class Side(NamedTuple):
    """The sums of a block along its rows or down its columns, and the slope of each, (B,) both."""

    down: bool
    sums: Tensor
    slopes: Tensor


def _slopes(tile: Tile, sides: Sequence[Side], bounded: bool, in_place: bool) -> Tensor:
    """The gradient at the logits of a tile, in place of its entries if they are not needed again."""
    if not in_place:
        return _slopes_of_rows(tile, sides, bounded)
    for above in range(0, len(tile.entries), STRIP):
        entries = tile.entries[above : above + STRIP]
        start = tile.rows.start + above
        strip = tile._replace(rows=slice(start, start + len(entries)), entries=entries)
        _slopes_of_rows(strip, sides, bounded, in_place)
    return tile.entries


def _slopes_of_rows(tile: Tile, sides: Sequence[Side], bounded: bool, in_place: bool = False) -> Tensor:
    def along(values: Tensor, down: bool) -> Tensor:
        return values[tile.columns] if down else values[tile.rows, None]

    if bounded:  # the slopes have been divided by the sums
        slopes = reduce(add, (along(side.slopes, side.down) for side in sides))
        if in_place:
            return tile.entries.mul_(slopes)
        return slopes.mul_(tile.entries) if len(sides) > 1 else slopes * tile.entries
    parts = [(tile.entries - along(side.sums, side.down)).exp_().mul_(along(side.slopes, side.down)) for side in sides]
    slopes = reduce(Tensor.add_, parts)
    return tile.entries.copy_(slopes) if in_place else slopes
