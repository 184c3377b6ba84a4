"""Names of rows: the objective, and the options that distinguish it from the other rows."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from turbo_kit.board import PRESETS
from turbo_kit.config import ABSENT
from turbo_kit.report.row_board import RowBoard
from turbo_kit.report.rows import Row

OTHER_MODALITY = {"audio": "text", "text": "audio"}
CUTS = ("trainable_layers", "view_depth", "layer_mix")
"""Options that decide which part of an encoder is its frozen trunk; runs record its digest."""


def row_names(rows: Sequence[Row], idle: Sequence[Collection[str]]) -> list[str]:
    """The objective and the options that differ; unused options only where two rows would get the same name.

    The contrastive weight is named only where one objective has several.

    Args:
        rows: all rows of a summary.
        idle: for each row, the options that change nothing in it.

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
    """A name for a row's own pair weights.

    Args:
        objective: name of a preset.
        pair_weights: the row's own weights by pair, as in ``{"a1-t2": 0}``.

    Returns:
        ``"a1-a2 alone"``; ``"in-modal : cross-modal = 2 : 1"``, the sums of the weights, where all weights of a kind
        are equal; ``"without a1-t2"`` where the others keep the preset's weights; else the weights as they were given.
    """
    given = f"pair_weights={short_text(pair_weights)}"
    if not pair_weights or objective not in PRESETS:
        return given if pair_weights else ""
    board = RowBoard.of(objective, pair_weights)
    if board.only_pair:
        return f"{board.only_pair} alone"
    if board.ratio:
        return f"in-modal : cross-modal = {board.ratio}"
    return f"without {' and '.join(board.left_out)}" if board.left_out else given


def short_text(value: Any) -> str:
    """A value as a row's name shows it: digests cut to eight characters, a dict as key:value, a list as 0.1/0.5."""
    if isinstance(value, Mapping):
        return " ".join(f"{key}:{short_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "/".join(map(short_text, value))
    text = str(value)
    return text[:8] if len(text) >= 32 and all(c in "0123456789abcdef" for c in text) else text


def _name(row: Row, silent: Collection[str]) -> str:
    parts = [_part(row, key, value, silent) for key, value in row.differs.items()]
    return ", ".join([row.objective, *filter(None, parts)])


def _apart(row: Row, alike: Sequence[Row]) -> list[str]:
    """The parts that distinguish a row from others with the same name."""
    keys = [key for key in row.differs if any(other.differs[key] != row.differs[key] for other in alike)]
    return [f"{key}={short_text(row.differs[key])}" for key in keys if key not in row.chosen]  # `searched` has those


def _part(row: Row, key: str, value: Any, silent: Collection[str]) -> str:
    """The part of a name for one differing option; empty where it has the preset's value or is off."""
    if key in OTHER_MODALITY and value == ABSENT:
        return f"{OTHER_MODALITY[key]} alone"
    if key in silent or key in row.chosen or key == "searched" or value is None:
        return ""
    if key == "pair_weights":
        return board_name(row.objective, value)
    if key == "normalize_pairs":
        return "" if value else "plain sum"
    return "" if key == "modality_dropout" and not value else f"{key}={short_text(value)}"


def _one_encoder(rows: Sequence[Row]) -> set[str]:
    """`audio` or `text` where all rows share its encoder; `encoders` where other options already distinguish them."""
    quiet = {m for m in OTHER_MODALITY if len({row.differs.get(m) for row in rows} - {ABSENT}) == 1}
    digests: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        cut = short_text([row.differs.get(knob) for knob in CUTS])
        for modality, digest in (row.differs.get("encoders") or {}).items():
            digests.setdefault((modality, f"{row.differs.get(modality)} {cut}"), set()).add(digest)
    if all(len(found) == 1 for found in digests.values()):
        quiet.add("encoders")
    return quiet


def _differ_only_where_idle(rows: Sequence[Row], idle: Sequence[Collection[str]]) -> set[str]:
    def values(key: str) -> set[str]:
        return {short_text(row.differs[key]) for row, knobs in zip(rows, idle, strict=True) if key not in knobs}

    return {key for key in rows[0].differs if len(values(key)) <= 1}
