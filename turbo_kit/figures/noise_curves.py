"""Accuracy against noise: word errors in the transcripts, and white noise over the sound."""

from typing import TYPE_CHECKING

import numpy as np

from turbo_kit.config import InputError
from turbo_kit.figures.style import PAPER, Mark, add_legend, drawing, marks, name_height, wrap_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 2
"""Columns of the legend above each panel."""


def robustness_curves(table: "pd.DataFrame") -> "Figure":
    """UA against word errors and against noise, one line a row with 95 % intervals; clean clips at the left.

    Args:
        table: one line for each row and condition: `objective`; `modality`, `text` where the level is a rate of word
            errors, `audio` where it is a signal-to-noise ratio in dB, empty for the clips as they are; `level`, and
            `UA`, `UA_low`, `UA_high` (shares of 1). Other modalities and lines without a level are left out.

    Raises:
        InputError: no line has a level.
    """
    looks = marks(table["objective"].unique())
    panels = [name for name in ("text", "audio") if table["level"][table["modality"] == name].notna().any()]
    if not panels:
        raise InputError("no run was tested under noise: set tested_word_errors or tested_snr.")
    across = ACROSS * len(panels)
    with drawing(5.0 * len(panels), 3.9 + name_height(looks) * -(-len(looks) // across)) as figure:
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, modality in zip(grid, panels, strict=True):
            _panel(axes, table, modality, looks)
        grid[0].set_ylabel("UA on test, %")
        add_legend(figure, {wrap_name(name): mark for name, mark in looks.items()}, across)
        return figure


def _panel(axes: "Axes", table: "pd.DataFrame", modality: str, looks: dict[str, Mark]) -> None:
    """The lines of all rows tested under one kind of noise, which increases to the right."""
    noised = table[(table["modality"] == modality) & table["level"].notna()]
    levels = np.unique(noised["level"].to_numpy(float))
    scale = 100 if modality == "text" else -1
    ticks = np.sort(scale * levels)
    gap = max(5.0, float(np.diff(levels).max(initial=0)))
    start = 0.0 if modality == "text" else float(ticks.min()) - gap  # clips without noise have no ratio
    apart = 0.012 * (float(ticks.max()) - start)
    for number, (name, mark) in enumerate(looks.items()):
        own = noised[noised["objective"] == name]
        if own.empty:
            continue
        plain = table[(table["objective"] == name) & (table["modality"] == "")]
        places = np.concatenate([np.full(len(plain), start), scale * own["level"].to_numpy(float)])
        columns = ["UA", "UA_low", "UA_high"]
        scores = 100 * np.concatenate([plain[columns].to_numpy(float), own[columns].to_numpy(float)])
        order = np.argsort(places, kind="stable")
        places = places[order] + apart * (number - (len(looks) - 1) / 2)
        score, low, high = scores[order].T
        axes.vlines(places, low, high, color=mark.colour, linewidth=1.2, alpha=0.6)
        axes.plot(places, score, f"-{mark.marker}", color=mark.colour, markersize=7, markeredgecolor=PAPER)
    named = {start: "as is"} | {tick: f"{abs(tick):g}" if modality == "text" else f"{-tick + 0:g}" for tick in ticks}
    axes.set_xticks(list(named), list(named.values()))
    axes.set_title("Word errors" if modality == "text" else "White noise")
    axes.set_xlabel("words deleted or substituted, %" if modality == "text" else "signal-to-noise ratio, dB")
    axes.grid(axis="y")
