"""Embedding spaces: their geometry beside the score, and their maps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.figures.scores import run_classes
from turbo_kit.figures.style import OKABE_ITO, PAPER, RULE, Mark, add_legend, drawing, marks, name_height, wrap_name
from turbo_kit.figures.umap_layout import aligned_maps, embedding_spaces, sample_clips, unit_norm
from turbo_kit.metrics import geometry_scores
from turbo_kit.runs import Run

if TYPE_CHECKING:
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
"""The panels of `geometry_scatter`: columns of the summary table and their titles."""


def geometry_scatter(table: pd.DataFrame) -> "Figure":
    """Each measure of the pooled space against UA, one point a row; with more than eight rows the points are numbered.

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
    with drawing(9.6, 0.5 + 2.4 * lines + 0.24 * -(-len(names) // KEY_COLUMNS)) as figure:
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
    """UMAP of the classifier's input (all modalities concatenated), one panel a run, with each clip in a stable place.

    Only distances within a small neighbourhood are meaningful; the size of clusters, the gaps between them and the
    axes are not, so no axes are drawn. A clip moves between panels only as far as its neighbours change: see
    `turbo_kit.figures.umap_layout.aligned_maps`.

    Args:
        runs: by the name above the panel; a plain list is named by objective.
        split: `dev` or `test`.
        classes: sets each class's colour and marker; None takes those of the runs.

    Raises:
        InputError: no run, or runs that do not share their clips.
    """
    panels = named_runs(runs)
    names = list(classes) if classes is not None else run_classes(panels.values())
    labels, spaces = _shared_clips(list(panels.values()), split)
    return map_panels(dict(zip(panels, aligned_maps(spaces), strict=True)), labels.tolist(), names)


def map_panels(
    maps: Mapping[str, NDArray[np.floating[Any]]], labels: Sequence[str | None], classes: Sequence[str]
) -> "Figure":
    """Maps of the same clips side by side, with a colour and a marker for each class.

    Args:
        maps: (N, 2) each, on common axes, by the name above the panel.
        labels: (N,) class of each clip.
        classes: all there are.
    """
    across = min(ACROSS, len(maps))
    lines = -(-len(maps) // across)
    with drawing(0.2 + 2.4 * max(across, 2), 0.55 + lines * (2.3 + name_height(maps))) as figure:
        grid = figure.subplots(lines, across, squeeze=False, sharex=True, sharey=True)
        for axes, (name, points) in zip(grid.flat, maps.items(), strict=False):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color=RULE)
            axes.set_title(wrap_name(name), fontsize=9.5)
            _scatter(axes, points, np.asarray(labels, dtype=object), classes)
        for axes in grid.flat[len(maps) :]:
            axes.set_visible(False)
        add_legend(figure, marks(classes), min(len(classes), 2 * across))
        return figure


def epoch_names(run: Run, frames: int) -> dict[int, str]:
    """Evenly spaced epochs from 0 (before training) to the last, with a name for each.

    The chosen epoch replaces the one nearest to it.

    Raises:
        InputError: fewer than two frames, or a run that kept no embeddings of its epochs.
    """
    if frames < 2:
        raise InputError(f"{frames} frames show no movement: ask for 2 epochs at least.")
    last, best = len(run.epochs()["predicted"]) - 1, run.result["best_epoch"]
    spread = np.unique(np.linspace(0, last, min(frames, last + 1)).round().astype(int))
    inner = spread[1:-1]
    if inner.size and best not in (0, last):
        inner[np.abs(inner - best).argmin()] = best
    names = {int(epoch): f"epoch {epoch}" for epoch in np.unique(spread)} | {0: "before training"}
    return {epoch: f"{name} (chosen)" if epoch == best else name for epoch, name in names.items()}


def epoch_spaces(run: Run, epochs: Sequence[int]) -> list[NDArray[np.float64]]:
    """(N, D) unit-norm embeddings of the development clips after those epochs, all modalities side by side."""
    kept = run.epochs()
    return list(np.concatenate([unit_norm(kept[m][list(epochs)]) for m in run.config.modalities], axis=-1))


def epoch_geometry(runs: Mapping[str, Run] | Sequence[Run]) -> pd.DataFrame:
    """The geometry of the development clips before training and after each epoch, one row a run and epoch.

    Args:
        runs: trained with `epoch_embeddings`, by name; a plain list is named by objective.

    Returns:
        `run`, `epoch`, and those columns of `GEOMETRY` that need no dropout.

    Raises:
        InputError: a run that kept no embeddings of its epochs.
    """
    rows = []
    for name, run in named_runs(runs).items():
        kept = run.epochs()
        for epoch in range(len(kept["predicted"])):
            flat = flat_geometry(geometry_scores({m: kept[m][epoch] for m in run.config.modalities}))
            rows.append({"run": name, "epoch": epoch} | {key: flat[key] for key in GEOMETRY if key in flat})
    return pd.DataFrame(rows)


def flat_geometry(geometry: Mapping[str, Any]) -> dict[str, float | None]:
    """What `geometry_scores` measured: `audio_uniformity`, `audio-text_alignment`, `projected_audio_uniformity`, ..."""
    flat: dict[str, float | None] = {}
    for space, parts in geometry.items():
        prefix = "" if space == "pooled" else f"{space}_"
        for part, measures in (parts | parts["cross_modal"]).items():
            if part != "cross_modal":
                flat |= {f"{prefix}{part}_{name}": value for name, value in measures.items()}
    return flat


def geometry_curves(table: pd.DataFrame) -> "Figure":
    """Each measure of the pooled space by epoch, one line a run.

    Args:
        table: what `epoch_geometry` returned.
    """
    panels = {column: name for column, name in GEOMETRY.items() if column in table}
    across = len(panels) if len(panels) <= ACROSS else 3
    lines = -(-len(panels) // across)
    looks = marks(table["run"].unique())
    with drawing(8.4, 0.7 + 1.9 * lines) as figure:
        grid = figure.subplots(lines, across, squeeze=False, sharex=True)
        for axes, (column, name) in zip(grid.flat, panels.items(), strict=False):
            for run, mark in looks.items():
                rows = table[table["run"] == run]
                style: Any = {"color": mark.colour, "marker": mark.marker, "markersize": 5}
                axes.plot(rows["epoch"], rows[column].astype(float), **style)
            axes.set_title(name, fontsize=10)
            axes.locator_params(axis="x", integer=True)
            axes.grid()
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("epoch (0 = before training)", fontsize=10)
        add_legend(figure, looks, KEY_COLUMNS * 2)
        return figure


def _shared_clips(runs: Sequence[Run], split: str) -> tuple[NDArray[Any], list[NDArray[np.float64]]]:
    """Labels (N,) of a sample of the clips, and their embeddings (N, D) in each run, in one order."""
    orders = clip_orders(runs, split)
    chosen = sample_clips(len(orders[0]))
    spaces = [list(embedding_spaces(run, split).values())[-1] for run in runs]
    labels = runs[0].predictions(split)["label"].to_numpy()[orders[0]][chosen]
    return labels, [space[order][chosen] for space, order in zip(spaces, orders, strict=True)]


def clip_orders(runs: Sequence[Run], split: str) -> list[NDArray[np.int64]]:
    """For each run, the (N,) indices that sort its clips by id, so that all runs list their clips in the same order.

    Raises:
        InputError: runs that do not share their clips.
    """
    ids = [run.predictions(split)["id"].to_numpy(str) for run in runs]
    orders = [np.argsort(these) for these in ids]
    for run, these, order in zip(runs, ids, orders, strict=True):
        if not np.array_equal(these[order], ids[0][orders[0]]):
            raise InputError(f"{run.folder} and {runs[0].folder} hold other clips: map runs of one corpus and fold.")
    return orders


def _scatter(axes: "Axes", points: NDArray[np.floating[Any]], labels: NDArray[Any], classes: Sequence[str]) -> None:
    layer = np.arange(len(points)) % 6  # the classes in turn, six times over, so that none lies on top of all others
    for number in range(6):
        for name, mark in marks(classes).items():
            x, y = points[(labels == name) & (layer == number)].T
            style: Any = {"color": mark.colour, "markersize": 4.2, "markeredgecolor": PAPER, "markeredgewidth": 0.4}
            axes.plot(x, y, mark.marker, linestyle="none", alpha=0.85, label=name, **style)
    axes.margins(0.06)


def _point(axes: "Axes", x: float, y: float, mark: Mark | None, number: int) -> None:
    if mark is not None:
        axes.plot(x, y, mark.marker, color=mark.colour, markersize=8, markeredgecolor=PAPER)
        return
    axes.plot(x, y, "o", color=OKABE_ITO[5], markersize=5, alpha=0.7)
    axes.annotate(str(number), (x, y), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=9)


def _key(figure: "Figure", names: Sequence[str], few: bool) -> None:
    """A legend that maps each mark or number to its row."""
    if few:
        add_legend(figure, marks(names), KEY_COLUMNS, "outside lower left")
        return
    from matplotlib.lines import Line2D

    said = [f"{number}  {name}" for number, name in enumerate(names, start=1)]
    unmarked = [Line2D([], [], linestyle="none")] * len(names)
    place: Any = {"loc": "outside lower left", "ncols": KEY_COLUMNS, "frameon": False}
    figure.legend(unmarked, said, handlelength=0, handletextpad=0, fontsize=9, **place)


def named_runs(runs: Mapping[str, Run] | Sequence[Run]) -> dict[str, Run]:
    """Runs by their given name, else by objective, or by folder where several share an objective.

    Raises:
        InputError: no run.
    """
    if not runs:
        raise InputError("no run to map: give at least one finished run.")
    if isinstance(runs, Mapping):
        return dict(runs)
    names = [run.config.loss.objective for run in runs]
    return {name if names.count(name) == 1 else run.folder.name: run for name, run in zip(names, runs, strict=True)}
