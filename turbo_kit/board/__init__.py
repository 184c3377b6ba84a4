"""The pair board: which views are compared and how strongly, and the presets, each a way of filling it in.

Plain data, without torch: `turbo_kit.objectives` computes what a board asks for; reports and figures read it.
"""

from turbo_kit.board.pair_board import (
    Pair,
    PairBoard,
    PairKey,
    View,
    checked_weight,
    cross_modal_pairs,
    in_modal_pairs,
)
from turbo_kit.board.presets import PRESETS, Preset

__all__ = [
    "PRESETS",
    "Pair",
    "PairBoard",
    "PairKey",
    "Preset",
    "View",
    "checked_weight",
    "cross_modal_pairs",
    "in_modal_pairs",
]
