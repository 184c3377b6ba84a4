"""Learning curves: all rows in one panel where they are few, else a panel for each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from turbo_kit.figures.style import MUTED, OKABE_ITO, PAPER, Mark, drawing, marks, name_height, wrap_name
from turbo_kit.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 6
"""Maximum number of objectives in one panel; with more, each gets its own."""
ACROSS = 4
"""Panels beside one another."""


def learning_curves(runs: Mapping[str, Sequence[Run]] | Sequence[Run], reference: str | None = None) -> "Figure":
    """UA and cross-entropy on development data by epoch, one line an objective; UA alone where there are more than six.

    Thin lines are single runs; a thick line is their mean, up to the last epoch that all of them reached. The mark on
    each run is its chosen epoch. With more than six objectives, each gets a small panel.

    Args:
        runs: by the name of the line; a plain list is grouped by objective.
        reference: name of the objective whose mean stands in grey in every small panel.
    """
    groups = runs if isinstance(runs, Mapping) else _by_objective(runs)
    return _one_chart(groups) if len(groups) <= LINES else _small_charts(groups, reference)


def mean_history(runs: Sequence[Run]) -> pd.DataFrame:
    """Mean development scores of the runs by epoch, up to the last epoch that all of them reached."""
    mean: pd.DataFrame = _mean([run.history.set_index("epoch")[["dev_UA", "dev_loss"]] for run in runs])
    return mean


def _mean(histories: Sequence[Any]) -> Any:
    """Mean by epoch of series or tables, up to the last epoch that all of them have."""
    shared = min(history.index.max() for history in histories)
    return pd.concat(histories).groupby(level="epoch").mean().loc[:shared]


def _one_chart(groups: Mapping[str, Sequence[Run]]) -> "Figure":
    with drawing(9.6, max(3.6, 1.3 + name_height(groups) * len(groups))) as figure:
        panels = (("dev_UA", "Development UA", 100.0, "%"), ("dev_loss", "Development cross-entropy", 1.0, ""))
        for axes, (column, title, scale, unit) in zip(figure.subplots(1, 2), panels, strict=True):
            ends = {name: _curves(axes, groups[name], column, scale, mark) for name, mark in marks(groups).items()}
            axes.set_title(f"{title}, {unit}" if unit else title)
            _by_epoch(axes)
            _label_ends(figure, axes, ends, marks(groups))
        return figure


def _small_charts(groups: Mapping[str, Sequence[Run]], reference: str | None) -> "Figure":
    """A panel of development UA for each objective, on the same axes."""
    lines = -(-len(groups) // ACROSS)
    with drawing(9.6, 0.8 + lines * (1.35 + name_height(groups))) as figure:
        grid = figure.subplots(lines, ACROSS, sharex=True, sharey=True, squeeze=False)
        grey = None if reference is None else 100 * mean_history(groups[reference])["dev_UA"]
        for axes, (name, runs) in zip(grid.flat, groups.items(), strict=False):
            if grey is not None:
                axes.plot(grey.index, grey, color=MUTED, linewidth=2.2)
            _curves(axes, runs, "dev_UA", 100.0, Mark(MUTED if name == reference else OKABE_ITO[0], "o"))
            axes.set_title(wrap_name(name), fontsize=9.5, fontweight="normal")
            _by_epoch(axes)
            axes.set_xlabel("")
        for axes in grid.flat[len(groups) :]:
            axes.set_visible(False)
        for column in range(ACROSS):
            last = grid[(len(groups) - 1 - column) // ACROSS, column]
            last.tick_params(labelbottom=True)
            last.set_xlabel("epoch")
        figure.supylabel("Development UA, %", fontsize=10)
        return figure


def _by_epoch(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.grid(axis="y")


def _curves(axes: "Axes", runs: Sequence[Run], column: str, scale: float, mark: Mark) -> float:
    """Draws the lines of one objective and returns the last value of its mean."""
    histories = [run.history.set_index("epoch")[column] * scale for run in runs]
    alone = len(runs) == 1
    for run, history in zip(runs, histories, strict=True):
        width, alpha = (1.8, 1.0) if alone else (0.8, 0.45)
        axes.plot(history.index, history, color=mark.colour, linewidth=width, alpha=alpha)
        chosen = run.result["best_epoch"]
        size = 8 if alone else 5
        edge: Any = {"markeredgecolor": PAPER, "alpha": 1.0 if alone else 0.7, "zorder": 3}
        axes.plot(chosen, history[chosen], mark.marker, color=mark.colour, markersize=size, **edge)
    if alone:
        return float(histories[0].iloc[-1])
    mean = _mean(histories)
    axes.plot(mean.index, mean, color=mark.colour, linewidth=2.2)
    return float(mean.iloc[-1])


def _label_ends(figure: "Figure", axes: "Axes", ends: Mapping[str, float], looks: Mapping[str, Mark]) -> None:
    """Names the lines at the right edge, each beside its mark, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    names = sorted(ends, key=lambda name: ends[name])
    gap = (high - low) * name_height(names) / (figure.get_figheight() - 1.1)
    places = np.array([ends[name] for name in names])
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    places += (ends[names[-1]] - places[-1]) / 2  # what was pushed up is centred again, and kept beside the axes
    places += max(0.0, low - places[0]) - max(0.0, places[-1] - high)
    edge = axes.get_yaxis_transform()
    for name, place in zip(names, places, strict=True):
        look = looks[name]
        axes.plot(1.03, place, look.marker, color=look.colour, markersize=6, transform=edge, clip_on=False)
        axes.text(1.06, place, wrap_name(name), transform=edge, va="center")
    axes.set_ylim(low, high)


def _by_objective(runs: Sequence[Run]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.config.loss.objective, []).append(run)
    return groups
