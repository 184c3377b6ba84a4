"""Sections for grids that vary the pair board, or search an option on development data."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from turbo_kit.board import PRESETS
from turbo_kit.figures import pair_matrix, pair_ratios, search_map
from turbo_kit.report.page import Picture, Section, Table, picture
from turbo_kit.report.row_board import RowBoard
from turbo_kit.report.rows import Row
from turbo_kit.report.sentences import interval, number, percent, records

RowsWithBoards = list[tuple[Row, RowBoard]]


def board_sections(rows: Sequence[Row], table: pd.DataFrame) -> Iterator[Section]:
    """UA by pair, and by in-modal and cross-modal weight, where rows differ in their pair weights."""
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


def search_sections(rows: Sequence[Row], tried: pd.DataFrame) -> Iterator[Section]:
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


def _groups(rows: Sequence[Row], apart: Sequence[str]) -> list[RowsWithBoards]:
    """Groups of rows that differ only in the named options, each row with its board."""
    groups: dict[str, RowsWithBoards] = {}
    if not any("pair_weights" in row.differs for row in rows):
        return []
    for row in rows:
        if row.objective in PRESETS:
            rest = {key: value for key, value in row.differs.items() if key not in apart}
            key = json.dumps([row.objective, rest, sorted(row.chosen)], sort_keys=True)
            board = RowBoard.of(row.objective, row.runs[0].config.loss.pair_weights)
            groups.setdefault(key, []).append((row, board))
    return list(groups.values())


def _matrix(boards: RowsWithBoards, scores: pd.DataFrame, place: int) -> list[Picture]:
    ua = {row.name: float(scores["UA"][row.name]) for row, _ in boards}
    alone = {board.only_pair: ua[row.name] for row, board in boards if board.only_pair}
    without = {board.left_out[0]: ua[row.name] for row, board in boards if len(board.left_out) == 1}
    if len(alone) + len(without) < 2:
        return []
    objective, preset_weights = boards[0][0].objective, boards[0][1].preset_weights
    whole = next((row.name for row, board in boards if board.weights == preset_weights), None)
    names = [name for name in preset_weights if name in alone or name in without]
    cells = [[name, *(percent(kind.get(name, float("nan"))) for kind in (alone, without))] for name in names]
    said = "; ".join(f"{name} alone {one}, without it {other}" for name, one, other in cells)
    beside = f"UA % of {objective}."
    if whole is not None:
        cells.append(["whole board", percent(ua[whole]), "-"])
        beside = f"UA %, and its distance from the whole board ({whole}: {percent(ua[whole])} %)."
    numbers = Table(f"pairs-{place}", "UA % by pair", ("pair", "this pair alone", "without this pair"), cells)
    alt = f"Heat map of UA in percent by pair of views: {said}."
    return [picture(pair_matrix(alone, without, None if whole is None else ua[whole]), alt, beside, numbers)]


def _ratios(boards: RowsWithBoards, scores: pd.DataFrame, place: int) -> list[Picture]:
    found: list[dict[str, Any]] = []
    for row, board in boards:
        if board.weight_sums is not None:
            weight = float("nan") if row.chosen else row.runs[0].config.loss.contrastive_weight
            values = scores.loc[row.name]
            ratio = {"ratio": board.ratio, "in_modal": board.weight_sums[0] / sum(board.weight_sums)}
            shown = {name: values[name] for name in ("UA", "UA_low", "UA_high")}
            found.append({"objective": row.name, **ratio, "contrastive_weight": weight, **shown})
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
    beside = f"{boards[0][0].objective}: sums of the weights of in-modal and cross-modal pairs."
    return [picture(figure, alt, beside, numbers)]


def _search(knob: str, rows: Sequence[Row], tried: pd.DataFrame) -> list[Picture]:
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
