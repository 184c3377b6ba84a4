"""UA by pair of views, by in-modal and cross-modal weight, and by searched option, mostly as heat maps."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from turbo_kit.figures.style import INK, MUTED, OKABE_ITO, PAPER, drawing, heat_map, name_height

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def pair_matrix(
    alone: Mapping[str, float], without: Mapping[str, float], whole: float | None = None, title: str = ""
) -> "Figure":
    """UA by pair of views: above the diagonal with that pair alone, below it with that pair left out.

    Args:
        alone: UA (a share of 1) of the board that has this pair only, by its name, such as `a1-t2`.
        without: UA of the board that lacks this pair.
        whole: UA of the whole board; every cell then also says how far it lies from that.
        title: stands above the matrix.
    """
    views = sorted({view for name in (*alone, *without) for view in name.split("-")})
    values = np.full((len(views), len(views)), np.nan)
    texts = [[""] * len(views) for _ in views]
    for turned, scores in ((False, alone), (True, without)):
        for name, score in scores.items():
            row, column = sorted((views.index(view) for view in name.split("-")), reverse=turned)
            values[row, column] = 100 * score
            change = "" if whole is None else f"\n{100 * (score - whole):+.1f}".replace("-", "\N{MINUS SIGN}")
            texts[row][column] = f"{100 * score:.1f}{change}"
    with drawing(1.6 + 0.9 * len(views), 1.7 + 0.75 * len(views)) as figure:
        axes = figure.subplots()
        heat_map(axes, values, texts, views, views)
        axes.set(xlabel="above the diagonal: this pair alone", ylabel="below it: without this pair")
        axes.set_title(title)
        return figure


def pair_ratios(table: "pd.DataFrame", baseline: float | None = None) -> "Figure":
    """In-modal against cross-modal weight: UA by their ratio, as points with intervals, or by ratio and loudness.

    Args:
        table: one row a board, with `ratio` (a text such as `1 : 2`), `in_modal` (the in-modal share of the weights,
            which sets the order), `contrastive_weight` (NaN where each fold has its own), `UA`, `UA_low`, `UA_high`.
            Several contrastive weights make a heat map.
        baseline: UA of the baseline, drawn beside the points.
    """
    table = table.sort_values("in_modal", kind="stable")
    ratios = list(dict.fromkeys(table["ratio"]))
    weights = sorted(table["contrastive_weight"].dropna().unique())
    heat = len(weights) > 1
    size = (1.9 + 0.85 * len(ratios), 1.3 + 0.5 * len(weights)) if heat else (max(4.4, 1.6 + 0.85 * len(ratios)), 3.2)
    with drawing(*size) as figure:
        axes = figure.subplots()
        if heat:
            cells = 100 * table.pivot_table(index="contrastive_weight", columns="ratio", values="UA")[ratios]
            texts = [[f"{score:.1f}" if score == score else "" for score in row] for row in cells.to_numpy(float)]
            heat_map(axes, cells.to_numpy(float), texts, [f"{weight:g}" for weight in cells.index], ratios)
            axes.set_ylabel("contrastive weight")
        else:
            if baseline is not None:
                axes.axhline(100 * baseline, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            scores = 100 * table[["UA", "UA_low", "UA_high"]].to_numpy(float)
            for place, (score, low, high) in enumerate(scores):
                axes.plot([place, place], [low, high], color=OKABE_ITO[0], linewidth=2.2)
                axes.plot(place, score, "o", color=OKABE_ITO[0], markersize=9, markeredgecolor=PAPER)
            axes.set_xticks(np.arange(len(table)), table["ratio"])
            axes.margins(x=0.08)
            axes.set_ylabel("UA on test, %")
            axes.grid(axis="y")
        axes.set_xlabel("in-modal : cross-modal")
        return figure


def search_map(table: "pd.DataFrame", chosen: Mapping[tuple[str, float], int], knob: str) -> "Figure":
    """Mean UA on development data by row and value of a searched knob, and how many folds chose each value.

    Args:
        table: `name`, `value` and `dev_UA` (a share of 1), one row a search run.
        chosen: folds that chose a value, by name and value.
        knob: what was searched.
    """
    means = table.pivot_table(index="name", columns="value", values="dev_UA", sort=False)
    names, values = [str(name) for name in means.index], sorted(map(float, means.columns))
    cells = 100 * means[values].to_numpy(float)
    texts = [
        [_cell_text(score, chosen.get((name, value), 0)) for value, score in zip(values, row, strict=True)]
        for name, row in zip(names, cells, strict=True)
    ]
    tall = max(0.5, name_height(names) + 0.1)
    with drawing(2.6 + 1.0 * len(values), 0.9 + tall * len(names)) as figure:
        axes = figure.subplots()
        heat_map(axes, cells, texts, names, [f"{value:g}" for value in values])
        axes.set_xlabel(knob.replace("_", " "), color=INK)
        return figure


def _cell_text(score: float, folds: int) -> str:
    if np.isnan(score):
        return ""
    return f"{score:.1f}\n{folds} fold{'s' * (folds > 1)}" if folds else f"{score:.1f}"
