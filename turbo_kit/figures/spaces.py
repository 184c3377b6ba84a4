"""Embedding spaces: their geometry beside the score, and their maps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.figures.scores import run_classes
from turbo_kit.figures.style import LINE, OKABE_ITO, PAPER, RULE, Mark, drawing, marks, new_figure, text_lines, wrapped
from turbo_kit.maps import aligned_maps, embedding_spaces, sample
from turbo_kit.runs import Run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4
"""Panels beside one another."""
KEY_COLUMNS = 2

GEOMETRY = {
    "audio_alignment": "Alignment, audio",
    "text_alignment": "Alignment, text",
    "audio-text_alignment": "Alignment, audio-text",
    "audio-text_modality_gap": "Modality gap",
    "audio_uniformity": "Uniformity, audio",
    "text_uniformity": "Uniformity, text",
    "audio_effective_rank": "Effective rank, audio",
    "text_effective_rank": "Effective rank, text",
}
"""The panels of `geometry_scatter`: columns of the summary table, and what they are called."""


def geometry_scatter(table: "pd.DataFrame") -> "Figure":
    """Each measure of the pooled space against UA, one point a row; more than eight rows are points with numbers.

    Args:
        table: the report's summary table, or any with `objective`, `UA` (a share of 1) and columns that `GEOMETRY`
            names; those that are absent or empty are left out.

    Raises:
        InputError: none of those columns has a number.
    """
    panels = {column: name for column, name in GEOMETRY.items() if column in table and table[column].notna().any()}
    if not panels:
        raise InputError("the table has no column of the geometry: expected such as audio_uniformity.")
    names = table["objective"].tolist()
    few = len(names) <= len(OKABE_ITO)
    across = ACROSS if few else ACROSS // 2
    lines = -(-len(panels) // across)
    with drawing():
        figure = new_figure(9.6, 0.5 + 2.4 * lines + 0.24 * -(-len(names) // KEY_COLUMNS))
        grid = figure.subplots(lines, across, squeeze=False, sharey=True)
        for axes, (column, name) in zip(grid.flat, panels.items(), strict=False):
            looks = marks(names).values() if few else [None] * len(names)
            points = zip(table[column].to_numpy(float), 100 * table["UA"].to_numpy(float), looks, strict=True)
            for number, (x, y, mark) in enumerate(points, start=1):
                if not np.isnan([x, y]).any():
                    _point(axes, x, y, mark, number)
            axes.margins(0.12)
            axes.set_title(name, fontsize=10)
            axes.locator_params(axis="x", nbins=3 if few else 6)
            axes.grid()
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.supylabel("UA on test, %", fontsize=10)
        _key(figure, names, few)
        return figure


def embedding_map(
    runs: Mapping[str, Run] | Sequence[Run], split: str = "test", classes: Sequence[str] | None = None
) -> "Figure":
    """UMAP of what the classifier sees (all modalities side by side), a panel a run, each clip in one place in all.

    Distances inside a small neighbourhood mean something; the size of clusters, the gaps between them and the axes do
    not, so there are none. A clip moves from panel to panel only as far as its neighbours change: see
    `turbo_kit.maps.aligned_maps`.

    Args:
        runs: by the name above the panel; a plain list is named by objective.
        split: `dev` or `test`.
        classes: sets each class's colour and marker; None takes those of the runs.

    Raises:
        InputError: no run, or runs that do not share their clips.
    """
    panels = runs if isinstance(runs, Mapping) else _named(runs)
    if not panels:
        raise InputError("no run to map: give at least one finished run.")
    names = list(classes) if classes is not None else run_classes(panels.values())
    labels, spaces = _shared_clips(list(panels.values()), split)
    flat = aligned_maps(spaces)
    across = min(ACROSS, len(panels))
    lines = -(-len(panels) // across)
    tall = LINE * text_lines([max(panels, key=lambda name: name.count(", "))])
    with drawing():
        figure = new_figure(0.2 + 2.4 * max(across, 2), 0.55 + lines * (2.3 + tall))
        grid = figure.subplots(lines, across, squeeze=False, sharex=True, sharey=True)
        for axes, name, points in zip(grid.flat, panels, flat, strict=False):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color=RULE)
            axes.set_title(wrapped(name), fontsize=9.5)
            _scatter(axes, points, labels, names)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        _class_legend(figure, names, per_row=2 * across)
        return figure


def _shared_clips(runs: Sequence[Run], split: str) -> tuple[NDArray[Any], list[NDArray[np.float64]]]:
    """Labels (N,) of a sample of the clips, and their embeddings (N, D) in each run, in one order."""
    tables = [run.predictions(split) for run in runs]
    orders = [np.argsort(table["id"].to_numpy(str)) for table in tables]
    ids = [table["id"].to_numpy(str)[order] for table, order in zip(tables, orders, strict=True)]
    for run, other in zip(runs, ids, strict=True):
        if not np.array_equal(other, ids[0]):
            raise InputError(f"{run.folder} and {runs[0].folder} hold other clips: map runs of one corpus and fold.")
    chosen = sample(len(ids[0]))
    spaces = [list(embedding_spaces(run, split).values())[-1] for run in runs]
    labels = tables[0]["label"].to_numpy()[orders[0]][chosen]
    return labels, [space[order][chosen] for space, order in zip(spaces, orders, strict=True)]


def _scatter(axes: "Axes", points: NDArray[np.float64], labels: NDArray[Any], classes: Sequence[str]) -> None:
    layer = np.arange(len(points)) % 6  # the classes in turn, six times over, so that none lies on top of all others
    for number in range(6):
        for name, mark in marks(classes).items():
            x, y = points[(labels == name) & (layer == number)].T
            style: Any = {"color": mark.colour, "markersize": 4.2, "markeredgecolor": PAPER, "markeredgewidth": 0.4}
            axes.plot(x, y, mark.marker, linestyle="none", alpha=0.85, label=name, **style)
    axes.margins(0.06)


def _class_legend(figure: "Figure", classes: Sequence[str], per_row: int) -> None:
    _legend(figure, marks(classes), "outside upper left", min(len(classes), per_row))


def _point(axes: "Axes", x: float, y: float, mark: Mark | None, number: int) -> None:
    if mark is not None:
        axes.plot(x, y, mark.marker, color=mark.colour, markersize=8, markeredgecolor=PAPER)
        return
    axes.plot(x, y, "o", color=OKABE_ITO[5], markersize=5, alpha=0.7)
    axes.annotate(str(number), (x, y), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=9)


def _key(figure: "Figure", names: Sequence[str], few: bool) -> None:
    """Which row is which mark or number."""
    if few:
        _legend(figure, marks(names), "outside lower left", KEY_COLUMNS)
        return
    from matplotlib.lines import Line2D

    said = [f"{number}  {name}" for number, name in enumerate(names, start=1)]
    unmarked = [Line2D([], [], linestyle="none")] * len(names)
    place: Any = {"loc": "outside lower left", "ncols": KEY_COLUMNS, "frameon": False}
    figure.legend(unmarked, said, handlelength=0, handletextpad=0, fontsize=9, **place)


def _legend(figure: "Figure", looks: Mapping[str, Mark], where: Any, columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=mark.colour, marker=mark.marker, linestyle="none", markersize=7, markeredgecolor=PAPER)
        for mark in looks.values()
    ]
    figure.legend(handles, list(looks), loc=where, ncols=columns, frameon=False, handletextpad=0.2)


def _named(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by objective, or by folder where several share one."""
    names = [run.config.objective for run in runs]
    return {name if names.count(name) == 1 else run.folder.name: run for name, run in zip(names, runs, strict=True)}
