"""The pair board of a row: its objective's preset, with the row's own pair weights."""

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple, Self

from turbo_kit.board import PRESETS, PairBoard, PairKey


class RowBoard(NamedTuple):
    """The pair board of a row, and the weights of its preset."""

    pairs: PairBoard
    preset_weights: dict[str, float]

    @classmethod
    def of(cls, objective: str, pair_weights: Mapping[str, float]) -> Self:
        """The board of a preset with a row's own weights by pair, as in ``{"a1-t2": 0}``."""
        own: dict[PairKey, float] = dict(pair_weights.items())
        preset = PRESETS[objective].board
        return cls(preset.updated(own), _weights(preset))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each pair by its name."""
        return _weights(self.pairs)

    @property
    def only_pair(self) -> str | None:
        """The name of the only pair with a weight above 0, where the board has several."""
        active = self.pairs.active
        return active[0].name if len(active) == 1 < len(self.pairs.pairs) else None

    @property
    def left_out(self) -> list[str]:
        """The preset's pairs with weight 0, where all others keep the preset's weight."""
        weights = self.weights
        missing = [name for name, weight in self.preset_weights.items() if weight and not weights[name]]
        return missing if weights == self.preset_weights | dict.fromkeys(missing, 0.0) else []

    @property
    def weight_sums(self) -> tuple[float, float] | None:
        """Sums of the in-modal and the cross-modal weights, where all weights of a kind are equal."""
        kinds = [[pair.weight for pair in self.pairs.pairs if pair.in_modal == kind] for kind in (True, False)]
        if self.only_pair or not self.pairs.active or any(len(set(weights)) != 1 for weights in kinds):
            return None
        return sum(kinds[0]), sum(kinds[1])

    @property
    def ratio(self) -> str | None:
        """The ratio of those sums in small whole numbers, or the sums themselves where no ratio up to 100 fits."""
        if self.weight_sums is None:
            return None
        first, second = self.weight_sums
        if not first or not second:
            return f"{int(first > 0)} : {int(second > 0)}"
        large, small = max(first, second), min(first, second)
        simple = Fraction(large / small).limit_denominator(100)
        if abs(float(simple) - large / small) > 1e-6 * large / small:
            return f"{first:g} : {second:g}"
        parts = (simple.numerator, simple.denominator)
        return "{} : {}".format(*(parts if first >= second else reversed(parts)))


def _weights(board: PairBoard) -> dict[str, float]:
    return {pair.name: pair.weight for pair in board.pairs}
