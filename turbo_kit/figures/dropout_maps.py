"""Figures of dropout views: each clip with its views around it, and distances by dropout rate, passes and layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.figures.style import INK, MUTED, OKABE_ITO, PAPER, RULE, Mark, drawing, legend_handle, marks, wrap_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from turbo_kit.inspection import ViewDistances

Vectors = NDArray[np.floating[Any]]

OWN, OTHER = Mark(OKABE_ITO[0], "o"), Mark(OKABE_ITO[1], "s")
"""How distances to a clip's own views and to the nearest other clip look."""
FARTHEST = 1.2
"""Right end of the axis of distances; larger distances are drawn there."""
TICKS = (0.0, 0.02, 0.1, 0.2, 0.4, 0.8, 1.2)
BINS = 60
SIZE = (8.6, 4.2)
"""Inches of the map and the distributions beside it: what fits beside a notebook's prompts."""
MAP, DISTRIBUTIONS = (0.01, 0.03, 0.46, 0.82), (0.54, 0.14, 0.43, 0.71)
"""Their places in the figure. A layout solver would take as long as the rest of a repaint."""
ROOM = 1.2
"""How much wider than the clips the map is."""
UNLABELLED = Mark(MUTED, ".")


def dropout_view_map(
    views: Vectors,
    still: Vectors,
    distances: "ViewDistances",
    labels: Sequence[int] | NDArray[np.int64],
    classes: Sequence[str],
    title: str = "",
) -> "Figure":
    """Left, each clip of a batch with its views around it; right, how far they are from it and from the other clips.

    The plane is spanned by the first two principal components of the dropout-free embeddings, so it stays the same
    while masks and rates change. A clip is drawn hollow where another clip is nearer to one of its views than its own
    other view is. Both directions have the same scale. Views outside the frame are drawn at its edge.

    Args:
        views: (passes, B, D) of the clips.
        still: (B, D) their embeddings without dropout.
        distances: of those views.
        labels: (B,) place of each clip's class; -100 where it has none.
        classes: names of the classes.
        title: above the map.
    """
    with drawing(*SIZE) as figure:
        figure.set_layout_engine(None)
        left, right = figure.add_axes(MAP), figure.add_axes(DISTRIBUTIONS)
        _draw_map(left, *_project(views, still), np.asarray(labels), classes, distances.identified < 1)
        left.set_title(title or "Each clip and its views")
        _class_key(figure, classes, bool((np.asarray(labels) < 0).any()))
        _draw_distributions(right, distances)
        return figure


def _project(views: Vectors, still: Vectors) -> tuple[Vectors, Vectors]:
    """Views (passes, B, 2) and clips (B, 2) in the plane of the clips."""
    unit = still / np.linalg.norm(still, axis=-1, keepdims=True)
    centre = unit.mean(axis=0)
    directions = np.linalg.svd(unit - centre, full_matrices=False)[2][:2].T
    moved = views / np.linalg.norm(views, axis=-1, keepdims=True)
    return (moved - centre) @ directions, (unit - centre) @ directions


def _draw_map(
    axes: "Axes",
    views: Vectors,
    clips: Vectors,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    mistaken: NDArray[np.bool_],
) -> None:
    width, height = SIZE[0] * MAP[2], SIZE[1] * MAP[3]
    low, high = clips.min(axis=0), clips.max(axis=0)
    scale = ROOM * float(((high - low) / (width, height)).max())  # of both directions, per inch
    half = scale * np.array([width, height]) / 2
    low, high = (low + high) / 2 - half, (low + high) / 2 + half
    axes.set(xticks=[], yticks=[], xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.spines[:].set(visible=True, color=RULE)
    views = np.clip(views, low, high)
    for place, mark in [*enumerate(marks(classes).values()), (-1, UNLABELLED)]:
        mine = labels == place if place >= 0 else labels < 0
        if not mine.any():
            continue
        around = views[:, mine].transpose(1, 0, 2)
        middle = np.broadcast_to(clips[mine][:, None], around.shape)
        threads = np.stack([middle, around, np.full_like(around, np.nan)], axis=2).reshape(-1, 2)
        axes.plot(*threads.T, color=mark.colour, linewidth=0.6, alpha=0.55)
        axes.plot(*around.reshape(-1, 2).T, mark.marker, color=mark.colour, markersize=2.6, markeredgewidth=0)
        edge: Any = {"linestyle": "none", "markersize": 6, "color": mark.colour}
        for hollow in (False, True):
            chosen = clips[mine & (mistaken == hollow)]
            fill: Any = {"markerfacecolor": PAPER} if hollow else {"markeredgecolor": PAPER, "markeredgewidth": 0.5}
            axes.plot(*chosen.T, marker=mark.marker, **edge, **fill)


def _draw_distributions(axes: "Axes", distances: "ViewDistances") -> None:
    """Both distributions over one axis, one upwards and one downwards, each with its mean."""
    edges = np.linspace(0, np.sqrt(FARTHEST), BINS + 1)
    parts = (("own views", distances.spread, OWN, 1), ("other clip", distances.nearest, OTHER, -1))
    counts = [np.histogram(np.sqrt(np.clip(values, 0, FARTHEST)), edges)[0] for _, values, _, _ in parts]
    top = max(8, *(int(count.max()) for count in counts))
    for (name, values, mark, up), count in zip(parts, counts, strict=True):
        axes.stairs(up * count, edges, fill=True, color=mark.colour, alpha=0.85)
        mean = float(values.mean())
        at = (float(np.sqrt(min(mean, FARTHEST))), up * 1.2 * top)
        axes.plot([at[0], at[0]], [0, at[1]], color=mark.colour, linewidth=1.4)
        axes.plot(*at, mark.marker, color=mark.colour, markersize=8, markeredgecolor=PAPER)
        side = -1 if at[0] > 0.5 * edges[-1] else 1
        beside: Any = {"textcoords": "offset points", "ha": "right" if side < 0 else "left", "va": "center"}
        axes.annotate(f"{name}, mean {mean:.3f}", at, (side * 9, 0), **beside)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set(xlim=(0, edges[-1]), ylim=(-1.4 * top, 1.4 * top))
    axes.set_yticks([-top, 0, top], [str(top), "0", str(top)])
    axes.set_xticks(np.sqrt(TICKS), [f"{tick:g}" for tick in TICKS])
    axes.set_xlabel("cosine distance (square-root scale)")
    axes.set_ylabel("clips")
    axes.grid(axis="x")
    axes.set_title("Own views against the nearest other clip")


def _class_key(figure: "Figure", classes: Sequence[str], unlabelled: bool) -> None:
    looks = marks(classes) | ({"no label": UNLABELLED} if unlabelled else {})
    hollow = legend_handle(Mark(INK, "o"), markersize=6, markerfacecolor=PAPER, markeredgecolor=INK)
    handles = [*map(legend_handle, looks.values()), hollow]
    names = [*looks, "hollow: another clip is nearer than an own view"]
    place: Any = {"loc": "upper left", "bbox_to_anchor": (0.0, 1.0), "ncols": len(names)}
    figure.legend(handles, names, frameon=False, handletextpad=0.2, columnspacing=1.2, **place)


MEASURES: dict[str, tuple[str, Any]] = {
    "spread": ("two views of a clip", "-"),
    "farthest": ("its farthest two views", ":"),
    "nearest": ("nearest other clip", "--"),
}
"""The distances of a sweep: their label and line style."""


def view_curves(table: "pd.DataFrame", by: str = "rate") -> "Figure":
    """How far apart views are, how far the nearest other clip is, and how often a view finds its clip again.

    Args:
        table: of `turbo_kit.inspection.view_sweep`.
        by: `rate`, or `passes`, which adds the distance between a clip's farthest two views.

    Raises:
        InputError: another `by`, or a table in which a model has several rows for one value of it.
    """
    names = {"rate": "dropout rate", "passes": "passes"}
    if by not in names:
        raise InputError(f"by = {by!r}: expected 'rate' or 'passes'.")
    if table.duplicated(["model", "modality", by]).any():
        raise InputError(f"several rows for one {names[by]}: choose one value of the other knob, and draw those rows.")
    shown = [name for name in MEASURES if by == "passes" or name != "farthest"]
    modalities = list(dict.fromkeys(table["modality"]))
    with drawing(9.6, 5.6) as figure:
        grid = figure.subplots(2, len(modalities), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 2))
        for modality, (above, below) in zip(modalities, grid.T, strict=True):
            for name, mark in marks(dict.fromkeys(table["model"])).items():
                rows = table[(table["model"] == name) & (table["modality"] == modality)]
                line: Any = {"color": mark.colour, "marker": mark.marker, "markersize": 5, "markeredgecolor": PAPER}
                for measure in shown:
                    above.plot(rows[by], rows[measure], linestyle=MEASURES[measure][1], **line)
                below.plot(rows[by], 100 * rows["identified"], **line)
            above.set_title(f"{modality.capitalize()}: cosine distance")
            below.set_title("Views whose nearest neighbour is their own clip, %")
            below.set_xlabel(names[by])
            below.set_ylim(0, 105)
            for axes in (above, below):
                axes.grid(axis="y")
        grid[0, 0].set_ylim(bottom=0)  # shared, and set when all lines are there: from then on it stays
        if by == "passes":
            grid[-1, 0].set_xticks(sorted(set(table["passes"])))
        _sweep_key(figure, list(dict.fromkeys(table["model"])), shown)
        return figure


def layer_curves(table: "pd.DataFrame") -> "Figure":
    """Distance between views after each step of the head, and to the nearest other clip, by model and modality.

    Args:
        table: of `turbo_kit.inspection.layer_sweep`.
    """
    names = list(dict.fromkeys(table["model"]))
    modalities = list(dict.fromkeys(table["modality"]))
    with drawing(9.6, 0.7 + 2.3 * len(modalities)) as figure:
        grid = figure.subplots(len(modalities), len(names), squeeze=False, sharey="row")
        for (row, column), axes in np.ndenumerate(grid):
            rows = table[(table["model"] == names[column]) & (table["modality"] == modalities[row])]
            steps = np.arange(len(rows))
            for measure, mark in (("spread", OWN), ("nearest", OTHER)):
                style: Any = {"linestyle": MEASURES[measure][1], "markersize": 6, "markeredgecolor": PAPER}
                axes.plot(steps, rows[measure], marker=mark.marker, color=mark.colour, **style)
            for step, share in zip(steps, rows["identified"], strict=True):
                above: Any = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
                axes.text(step, 1.01, f"{100 * share:.0f} %", **above)
            axes.set_xticks(steps, [name.replace(" ", "\n") for name in rows["layer"]])
            axes.set_xlim(-0.5, max(1, len(rows) - 1) + 0.5)
            axes.set_title(wrap_name(names[column]) if row == 0 else "", pad=20)  # above the shares
            axes.grid(axis="y")
        for modality, line in zip(modalities, grid, strict=True):
            highest = table.loc[table["modality"] == modality, ["spread", "nearest"]].to_numpy().max()
            line[0].set_ylim(0, 1.1 * highest)
            line[0].set_ylabel(f"{modality}: cosine distance")
        _layer_key(figure)
        return figure


def _sweep_key(figure: "Figure", models: Sequence[str], measures: Sequence[str]) -> None:
    dots = [legend_handle(mark, linestyle="-", markersize=6) for mark in marks(models).values()]
    lines = [legend_handle(Mark(INK, ""), linestyle=MEASURES[measure][1]) for measure in measures]
    said = [*models, *(MEASURES[measure][0] for measure in measures)]
    figure.legend([*dots, *lines], said, loc="outside upper left", ncols=len(said), frameon=False)


def _layer_key(figure: "Figure") -> None:
    looks = {"spread": OWN, "nearest": OTHER}
    lines = [legend_handle(mark, linestyle=MEASURES[measure][1], markersize=6) for measure, mark in looks.items()]
    said = [*(MEASURES[measure][0] for measure in looks), "%: views whose nearest neighbour is their own clip"]
    figure.legend([*lines, legend_handle(Mark(INK, ""))], said, loc="outside upper left", ncols=3, frameon=False)
