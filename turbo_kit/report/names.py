"""Names of rows: the objective, and what tells it from the other rows, in words where there are some."""

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from turbo_kit.config import ABSENT
from turbo_kit.objectives import PRESETS, Objective, PairBoard
from turbo_kit.objectives.pairs import PairKey

if TYPE_CHECKING:
    from turbo_kit.report.rows import Row

OTHER_MODALITY = {"audio": "text", "text": "audio"}


def row_names(rows: "Sequence[Row]", idle: Sequence[Collection[str]]) -> list[str]:
    """The objective, and what differs; knobs that change nothing only where two rows would be called the same.

    The weight of the contrastive terms is each objective's own affair, and is named where one objective has several.

    Args:
        rows: all rows of a summary.
        idle: for each row, the knobs that change nothing in it.

    Returns:
        A name for each row, its parts joined by commas.
    """
    shared = _one_encoder(rows) | _differ_only_where_idle(rows, idle)
    silent = [{*shared, *knobs} for knobs in idle]
    short = [_name(row, {*knobs, "contrastive_weight"}) for row, knobs in zip(rows, silent, strict=True)]
    fuller = [
        _name(row, knobs) if short.count(name) > 1 else name
        for name, row, knobs in zip(short, rows, silent, strict=True)
    ]
    alike = {name: [row for other, row in zip(fuller, rows, strict=True) if other == name] for name in fuller}
    return [", ".join([name, *_apart(row, alike[name])]) for name, row in zip(fuller, rows, strict=True)]


def board_name(objective: str, pair_weights: Mapping[str, float]) -> str:
    """What a row's own pair weights make of its objective's pairs.

    Args:
        objective: name of a preset.
        pair_weights: the row's own weights by pair, as in ``{"a1-t2": 0}``.

    Returns:
        ``"a1-a2 alone"``; ``"in-modal : cross-modal = 2 : 1"``, the sums of the weights, where all weights of a kind
        are equal; ``"without a1-t2"`` where the others keep the preset's weights; else the weights as they were given.
    """
    given = f"pair_weights={brief(pair_weights)}"
    if not pair_weights or objective not in PRESETS:
        return given if pair_weights else ""
    own: dict[PairKey, float] = dict(pair_weights.items())
    board, usual = Objective.preset(objective, pair_weights=own).board, Objective.preset(objective).board
    if len(board.pairs) > 1 and len(board.active) == 1:
        return f"{board.active[0].name} alone"
    kinds = [[pair.weight for pair in board.pairs if pair.in_modal == kind] for kind in (True, False)]
    if board.active and all(len(set(weights)) == 1 for weights in kinds):
        return f"in-modal : cross-modal = {_ratio(*map(sum, kinds))}"
    weights, before = _weights(board), _weights(usual)
    left_out = [name for name, weight in before.items() if weight and not weights[name]]
    if left_out and weights == before | dict.fromkeys(left_out, 0.0):
        return f"without {' and '.join(left_out)}"
    return given


def brief(value: Any) -> str:
    """A value as a row's name shows it: digests cut to eight digits, a dict as key:value, a list as 0.1/0.5."""
    if isinstance(value, Mapping):
        return " ".join(f"{key}:{brief(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "/".join(map(brief, value))
    text = str(value)
    return text[:8] if len(text) >= 32 and all(c in "0123456789abcdef" for c in text) else text


def _name(row: "Row", silent: Collection[str]) -> str:
    parts = [_part(row, key, value, silent) for key, value in row.differs.items()]
    return ", ".join([row.objective, *filter(None, parts)])


def _apart(row: "Row", alike: "Sequence[Row]") -> list[str]:
    """What tells a row from others that would be called the same."""
    keys = [key for key in row.differs if any(other.differs[key] != row.differs[key] for other in alike)]
    return [f"{key}={brief(row.differs[key])}" for key in keys if key not in row.chosen]  # `searched` tells of those


def _part(row: "Row", key: str, value: Any, silent: Collection[str]) -> str:
    """What a name says of one thing that differs; nothing where it is as the preset has it, or off."""
    if key in OTHER_MODALITY and value == ABSENT:
        return f"{OTHER_MODALITY[key]} alone"
    if key in silent or key in row.chosen or key == "searched" or value is None:
        return ""
    if key == "pair_weights":
        return board_name(row.objective, value)
    if key == "normalize_pairs":
        return "" if value else "plain sum"
    return "" if key == "modality_dropout" and not value else f"{key}={brief(value)}"


def _one_encoder(rows: "Sequence[Row]") -> set[str]:
    """`audio`, `text` and `encoders` where the rows that have a modality all have the same encoder for it."""
    quiet = set()
    for modality in OTHER_MODALITY:
        if len({row.differs.get(modality) for row in rows} - {ABSENT}) == 1:
            quiet.add(modality)
    digests = [(row.differs.get("encoders") or {}).items() for row in rows]
    found = {pair for pairs in digests for pair in pairs}
    if len(found) == len({modality for modality, _ in found}):
        quiet.add("encoders")
    return quiet


def _differ_only_where_idle(rows: "Sequence[Row]", idle: Sequence[Collection[str]]) -> set[str]:
    quiet = set()
    for key in rows[0].differs:
        values = {brief(row.differs[key]) for row, knobs in zip(rows, idle, strict=True) if key not in knobs}
        if len(values) <= 1:
            quiet.add(key)
    return quiet


def _weights(board: PairBoard) -> dict[str, float]:
    return {pair.name: pair.weight for pair in board.pairs}


def _ratio(first: float, second: float) -> str:
    """Two sums as the simplest whole numbers, or as they are where no numbers up to 100 give their ratio."""
    if not first or not second:
        return f"{int(first > 0)} : {int(second > 0)}"
    large, small = max(first, second), min(first, second)
    simple = Fraction(large / small).limit_denominator(100)
    if abs(float(simple) - large / small) > 1e-6 * large / small:
        return f"{first:g} : {second:g}"
    parts = (simple.numerator, simple.denominator)
    return "{} : {}".format(*(parts if first >= second else reversed(parts)))
