"""Sections for grids that vary the pair board, or search a knob on development data."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from turbo_kit.figures import pair_matrix, pair_ratios, search_map
from turbo_kit.objectives import PRESETS, Objective
from turbo_kit.objectives.pairs import PairKey
from turbo_kit.report.names import board_name
from turbo_kit.report.page import Picture, Section, Table, picture
from turbo_kit.report.rows import Row
from turbo_kit.report.wording import interval, number, percent, records

if TYPE_CHECKING:
    import pandas as pd

RATIO = "in-modal : cross-modal = "


class Board(NamedTuple):
    """A row, and the weight of each pair on its board."""

    row: Row
    usual: dict[str, float]
    """As the preset has them."""
    weights: dict[str, float]

    @property
    def left_out(self) -> set[str]:
        """The preset's pairs that are not computed, where all others weigh what they do in the preset."""
        missing = {name for name, weight in self.usual.items() if weight and not self.weights[name]}
        return missing if self.weights == self.usual | dict.fromkeys(missing, 0.0) else set()

    @property
    def alone(self) -> str | None:
        """The only pair that is computed, of several."""
        active = [name for name, weight in self.weights.items() if weight]
        return active[0] if len(active) == 1 < len(self.weights) else None


def board_sections(rows: Sequence[Row], table: "pd.DataFrame") -> Iterator[Section]:
    """What each pair is worth, and in-modal against cross-modal weight, where rows differ in their pair weights."""
    scores = table.set_index("objective")
    pictures: list[Picture] = []
    for boards in _groups(rows, apart=("pair_weights",)):
        pictures += _matrix(boards, scores, len(pictures) + 1)
    for boards in _groups(rows, apart=("pair_weights", "contrastive_weight")):
        pictures += _ratios(boards, scores, len(pictures) + 1)
    if pictures:
        text = (
            "UA on test of boards that differ in the weights of their pairs alone; the lighter, the higher. The table "
            "above says which of the differences to the baseline can be told; differences between two cells are not "
            "tested. These are test scores: to be read, and not to choose a board by."
        )
        yield Section("The pair board", text, pictures)


def search_sections(rows: Sequence[Row], tried: "pd.DataFrame") -> Iterator[Section]:
    """What searches on development data tried, and what each fold chose.

    Args:
        rows: of the test list itself.
        tried: what `search_scores` returned.
    """
    searched = [row for row in rows if row.chosen]
    if not searched:
        return
    pictures: list[Picture] = []
    tables: list[Table] = []
    for knob in dict.fromkeys(knob for row in searched for knob in row.chosen):
        pictures += _search(knob, searched, tried)
        tables.append(_chosen(knob, searched))
    text = (
        "Each value was trained once in each fold and scored on that fold's development clips, with a seed that is "
        "not used again; the best went on to the runs that were tested. Cells: mean development UA over the folds, "
        "and how many folds chose the value. The lighter, the higher, over all rows."
    )
    yield Section("What the search tried", text, pictures, tables)


def _groups(rows: Sequence[Row], apart: Sequence[str]) -> list[list[Board]]:
    """Boards of rows that differ in nothing but the knobs named."""
    groups: dict[str, list[Board]] = {}
    if not any("pair_weights" in row.differs for row in rows):
        return []
    for row in rows:
        if row.objective in PRESETS:
            rest = {key: value for key, value in row.differs.items() if key not in apart}
            key = json.dumps([row.objective, rest, sorted(row.chosen)], sort_keys=True)
            usual = _weights(row.objective, {})
            groups.setdefault(key, []).append(
                Board(row, usual, _weights(row.objective, row.runs[0].config.pair_weights))
            )
    return list(groups.values())


def _weights(objective: str, own: dict[str, float]) -> dict[str, float]:
    changed: dict[PairKey, float] = dict(own.items())
    board = Objective.preset(objective, pair_weights=changed).board
    return {pair.name: pair.weight for pair in board.pairs}


def _matrix(boards: Sequence[Board], scores: "pd.DataFrame", place: int) -> list[Picture]:
    ua = {board.row.name: float(scores["UA"][board.row.name]) for board in boards}
    alone = {board.alone: ua[board.row.name] for board in boards if board.alone}
    without = {name: ua[board.row.name] for board in boards for name in board.left_out if len(board.left_out) == 1}
    if len(alone) + len(without) < 2:
        return []
    whole = next((board.row.name for board in boards if board.weights == board.usual), None)
    names = [name for name in boards[0].usual if name in alone or name in without]
    cells = [[name, *(percent(kind.get(name, float("nan"))) for kind in (alone, without))] for name in names]
    said = "; ".join(f"{name} alone {one}, without it {other}" for name, one, other in cells)
    beside = f"UA % of {boards[0].row.objective}."
    if whole is not None:
        cells.append(["whole board", percent(ua[whole]), "-"])
        beside = f"UA %, and its distance from the whole board ({whole}: {percent(ua[whole])} %)."
    numbers = Table(f"pairs-{place}", "UA % by pair", ("pair", "this pair alone", "without this pair"), cells)
    alt = f"Heat map of UA in percent by pair of views: {said}."
    return [picture(pair_matrix(alone, without, None if whole is None else ua[whole]), alt, beside, numbers)]


def _ratios(boards: Sequence[Board], scores: "pd.DataFrame", place: int) -> list[Picture]:
    import pandas as pd

    found: list[dict[str, Any]] = []
    for board in boards:
        said = board_name(board.row.objective, board.weights)
        if said.startswith(RATIO):
            inside = sum(weight for name, weight in board.weights.items() if name[0] == name[3])
            weight = float("nan") if board.row.chosen else board.row.runs[0].config.contrastive_weight
            values = scores.loc[board.row.name]
            ratio = {"ratio": said.removeprefix(RATIO), "in_modal": inside / sum(board.weights.values())}
            shown = {name: values[name] for name in ("UA", "UA_low", "UA_high")}
            found.append({"objective": board.row.name, **ratio, "contrastive_weight": weight, **shown})
    table = pd.DataFrame(found)
    if not found or table["ratio"].nunique() < 2:
        return []
    table = table.sort_values(["in_modal", "contrastive_weight"], ignore_index=True)
    cells = [
        [v["ratio"], number(v["contrastive_weight"], "g"), percent(v["UA"]), interval(v, "UA")] for v in records(table)
    ]
    head = ("in-modal : cross-modal", "contrastive weight", "UA %", "95 % interval")
    numbers = Table(f"ratios-{place}", "UA by the ratio of in-modal to cross-modal weight", head, cells, table)
    alt = "UA in percent by ratio of in-modal to cross-modal weight: "
    alt += "; ".join(f"{ratio} at weight {weight}: {ua}" for ratio, weight, ua, _ in cells) + "."
    compared = scores.loc[scores["verdict"] == "baseline", "UA"]
    figure = pair_ratios(table, float(compared.iloc[0]) if len(compared) == 1 else None)
    beside = f"{boards[0].row.objective}: sums of the weights of in-modal and cross-modal pairs."
    return [picture(figure, alt, beside, numbers)]


def _search(knob: str, rows: Sequence[Row], tried: "pd.DataFrame") -> list[Picture]:
    table = tried[tried["knob"] == knob].rename(columns={"row": "name"})
    if table.empty:
        return []
    chosen = Counter((row.name, value) for row in rows for value in row.chosen.get(knob, {}).values())
    means = table.groupby(["name", "value"], sort=False)["dev_UA"].agg(["mean", "size"]).reset_index()
    cells = [
        [str(v["name"]), f"{v['value']:g}", percent(v["mean"]), str(v["size"]), str(chosen[v["name"], v["value"]])]
        for v in records(means)
    ]
    head = ("row", knob, "mean dev UA %", "search runs", "folds that chose it")
    caption = f"Mean development UA by {knob.replace('_', ' ')}"
    numbers = Table(f"search-{knob.replace('_', '-')}", caption, head, cells, table)
    said = "; ".join(f"{row} at {value}: {ua}" for row, value, ua, *_ in cells)
    alt = f"Heat map of mean development UA in percent: {said}."
    return [picture(search_map(table, chosen, knob), alt, "", numbers)]


def _chosen(knob: str, rows: Sequence[Row]) -> Table:
    by_row = {row.name: row.chosen[knob] for row in rows if knob in row.chosen}
    folds = sorted({fold for values in by_row.values() for fold in values})
    cells = [[name, *(number(values.get(fold), "g") for fold in folds)] for name, values in by_row.items()]
    said = knob.replace("_", " ")
    caption = f"The {said} that each fold's development clips chose"
    return Table(f"chosen-{knob.replace('_', '-')}", caption, ("row", *(f"fold {fold}" for fold in folds)), cells)
