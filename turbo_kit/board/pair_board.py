"""The pair board: which views are drawn together, and how strongly.

A view is one modality seen through one dropout mask: ``"a1"`` is the audio of pass 1, ``"t2"`` the text of pass 2.
A contrastive objective is a weighted set of pairs of views, so SimCSE, CLIP, in-modal, cross-modal and Turbo are
five ways of filling in the same symmetric table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from numbers import Real
from typing import NamedTuple

from turbo_kit.config import InputError

PairKey = str | tuple[str, str]
"""How a user names a pair: ``("a1", "t2")``, or ``"a1-t2"`` where keys must be text (JSON, YAML, a command line)."""

_VIEW_NAME = re.compile(r"([a-z])([1-9][0-9]*)")


class View(NamedTuple):
    """One modality in one pass; sorted by modality letter, then by pass."""

    modality: str
    pass_number: int

    @classmethod
    def parse(cls, name: str) -> View:
        """Read a view's name.

        Args:
            name: one lower-case modality letter and the pass, counted from 1, as in ``"a1"``.

        Returns:
            The view.

        Raises:
            InputError: the name is not of that form.
        """
        match = _VIEW_NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise InputError(
                f"view {name!r} is not a view's name: expected one lower-case modality letter and the pass counted "
                "from 1, as in 'a1' (audio, pass 1) or 't2' (text, pass 2)"
            )
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.modality}{self.pass_number}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two views and the weight of their loss; ``first`` is the anchor where only one direction is taken."""

    first: View
    second: View
    weight: float

    @property
    def name(self) -> str:
        """The pair's one name, whichever view was written first: ``"a1-t2"``."""
        low, high = sorted((self.first, self.second))
        return f"{low}-{high}"

    @property
    def in_modal(self) -> bool:
        """Whether both views are of one modality."""
        return self.first.modality == self.second.modality


@dataclass(frozen=True, slots=True)
class PairBoard:
    """The symmetric table of pair weights; pairs of weight 0 stay on the board and are never computed."""

    pairs: tuple[Pair, ...] = ()

    @classmethod
    def parse(cls, weights: Mapping[PairKey, float]) -> PairBoard:
        """Read a board as a user writes it.

        Args:
            weights: weight of each pair, as in ``{("a1", "t2"): 1.0}`` or ``{"a1-t2": 1.0}``; the order of the two
                views matters only to objectives that take one direction, where the first is the anchor.

        Returns:
            The board, its pairs in the order given.

        Raises:
            InputError: a name is no pair, a view is paired with itself, a pair is given twice (``"t2-a1"`` is
                ``"a1-t2"``), or a weight is no finite number of at least 0.
        """
        if not isinstance(weights, Mapping):
            raise InputError(f"pairs must be a mapping such as {{('a1', 't1'): 1.0}}, found {weights!r}")
        found: dict[str, Pair] = {}
        for key, weight in weights.items():
            first, second = _two_views(key)
            if first == second:
                raise InputError(f"pair {key!r} pairs a view with itself: give two different views, as in ('a1', 'a2')")
            pair = Pair(first, second, checked_weight(weight, f"weight of pair {first}-{second}"))
            if pair.name in found:
                raise InputError(f"pair {pair.name} is given twice: the board is symmetric, so give one of the two")
            found[pair.name] = pair
        return cls(tuple(found.values()))

    @property
    def active(self) -> tuple[Pair, ...]:
        """The pairs that are computed: those of weight above 0."""
        return tuple(pair for pair in self.pairs if pair.weight > 0)

    @property
    def views(self) -> tuple[View, ...]:
        """The views that the active pairs need, sorted."""
        return tuple(sorted({view for pair in self.active for view in (pair.first, pair.second)}))

    def updated(self, weights: Mapping[PairKey, float]) -> PairBoard:
        """The same board with pairs added, or given another weight; see `parse`."""
        pairs = {pair.name: pair for pair in (*self.pairs, *PairBoard.parse(weights).pairs)}
        return PairBoard(tuple(pairs.values()))

    def normalized(self) -> PairBoard:
        """The same board with its weights scaled to sum 1, so that boards with more pairs are not louder."""
        total = math.fsum(pair.weight for pair in self.pairs)
        if total == 0:
            return self
        return PairBoard(tuple(replace(pair, weight=pair.weight / total) for pair in self.pairs))

    def table(self) -> dict[str, dict[str, float]]:
        """The board as a reader sees it.

        Returns:
            ``table[row][column]``, the weight of each pair of views under both orders, 0 where there is no such
            pair; ``pandas.DataFrame(board.table())`` shows it.
        """
        views = sorted({view for pair in self.pairs for view in (pair.first, pair.second)})
        weights = {frozenset((pair.first, pair.second)): pair.weight for pair in self.pairs}
        return {
            str(row): {str(column): weights.get(frozenset((row, column)), 0.0) for column in views} for row in views
        }


def in_modal_pairs(modalities: str = "at", passes: int = 2, weight: float = 1.0) -> dict[PairKey, float]:
    """Pair every two passes of each modality.

    Args:
        modalities: modality letters, as in ``"at"``.
        passes: number of passes.
        weight: weight of each pair.

    Returns:
        The pairs as ``Objective(pairs=...)`` takes them; join sets with ``|``.
    """
    return {(a, b): weight for a, b in _view_pairs(modalities, passes) if a[0] == b[0]}


def cross_modal_pairs(modalities: str = "at", passes: int = 2, weight: float = 1.0) -> dict[PairKey, float]:
    """Pair every pass of each modality with every pass of each other one.

    Args:
        modalities: modality letters, as in ``"at"``.
        passes: number of passes.
        weight: weight of each pair.

    Returns:
        The pairs as ``Objective(pairs=...)`` takes them; join sets with ``|``.
    """
    return {(a, b): weight for a, b in _view_pairs(modalities, passes) if a[0] != b[0]}


def checked_weight(value: float, name: str) -> float:
    """Return a weight that is a finite number of at least 0, or raise an `InputError` that names it."""
    if not isinstance(value, Real) or not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} is {value!r}: expected a finite number, 0 (leave it out) or more")
    return float(value)


def _view_pairs(modalities: str, passes: int) -> list[tuple[str, str]]:
    views = [str(View.parse(f"{letter}{number}")) for letter in modalities for number in range(1, passes + 1)]
    return list(combinations(views, 2))


def _two_views(key: PairKey) -> tuple[View, View]:
    names = key.split("-") if isinstance(key, str) else key
    if not isinstance(names, (tuple, list)) or len(names) != 2:
        raise InputError(f"pair {key!r} is not two views: write ('a1', 't2') or 'a1-t2'")
    return View.parse(names[0]), View.parse(names[1])
