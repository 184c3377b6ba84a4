"""InfoNCE of large batches, computed in tiles: exact, in memory that is linear in the number of clips.

When: `info_nce` and `pair_losses` take this form for batches of `TILED_FROM` clips or more. Read the plain form first
(`turbo_kit/objectives/info_nce.py`); this one gives the same loss and the same gradient up to rounding.

Why: plain InfoNCE of B clips holds several (B, B) matrices for each pair of views. A board of six pairs needs gigabytes
at 8,192 clips. Here each (B, B) matrix of logits is cut into tiles of fixed size. Of each tile only the sums of
exponentials along its rows and columns are kept, one number for each anchor, and the backward computes the tile again.

What it costs: one more matrix product in the backward, and yet it is faster than the plain form, because a tile stays
in the processor's cache, while the plain form reads and writes every (B, B) matrix in main memory about a dozen times
(`tests/peers/info_nce.py` measures both). Its gradient cannot be differentiated again.

- `loss.py`: the InfoNCE losses of several pairs of views from those sums.
- `logsumexp.py`: the sums, tile by tile, and their gradient.
"""

from turbo_kit.objectives.tiled.loss import TILED_FROM, tiled_info_nce

__all__ = ["TILED_FROM", "tiled_info_nce"]
