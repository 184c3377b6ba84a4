"""Pairs of views on a batch: logits, softmax, losses, gradients, temperature, and short trainings on boards.

Figures that follow a control have fixed margins and few elements, since every change redraws them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turbo_kit.figures.style import INK, LINE, MUTED, OKABE_ITO, PAPER, Mark, drawing, heat_map, marks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from turbo_kit.inspection import LiveStep, PairLook

WIDTH = 8.6
"""Width in inches of a figure below controls: it fits a notebook on a screen 1280 pixels wide."""
LEARNED_START = 0.07
"""Where a learned temperature starts (CLIP, arXiv 2103.00020)."""
PLAIN: Any = {"facecolor": PAPER, "edgecolor": "none", "pad": 4}
"""Background of a text that a line may cross."""
STEPS = 16
"""Number of shades in images of whole batches: enough for the eye, and small files in notebooks."""
FAINTEST = 1e-4
"""Lowest softmax on the colour scale."""


def pair_tables(look: "PairLook", clips: Sequence[str], pair: str) -> "Figure":
    """One pair of views on a few clips, number by number: logits, softmax, and the gradient at each logit.

    Args:
        look: what `look_at_pair` returned.
        clips: a short name for each clip.
        pair: its name, such as `a1-t1`: rows are clips in its first view, columns those in its second.
    """
    first, second = pair.split("-")
    titles = {"Logits": look.logits, "Softmax of each row": look.softmax, "Gradient at the logits": look.gradient}
    with drawing(2.6 + 0.66 * 3 * len(clips), 1.3 + 0.5 * len(clips)) as figure:
        panels = figure.subplots(1, 3)
        for axes, (title, values) in zip(panels, titles.items(), strict=True):
            cells = values.astype(float)
            digits = 1 if title == "Logits" else 3
            heat_map(axes, cells, [[_number(v, digits) for v in row] for row in cells], clips, clips)
            axes.set_title(title)
            axes.set_xlabel(f"clip in {second}")
        panels[0].set_ylabel(f"clip in {first}")
        for axes in panels[1:]:
            axes.set_yticks([])
        return figure


def pair_maps(looks: "Mapping[str, PairLook]", with_logits: bool = True) -> "Figure":
    """Each pair of views on a whole batch: logits above, the softmax of each row below, the same clips on the diagonal.

    Args:
        looks: by name of the pair; a pair's rows are the clips in its first view, its columns those in its second.
        with_logits: draw them too, and not the softmax alone.
    """
    from matplotlib import colormaps

    shades = colormaps["cividis"].resampled(STEPS)
    logits = [look.logits for look in looks.values()]
    limits = {"vmin": min(map(np.min, logits)), "vmax": max(map(np.max, logits))}
    with drawing(1.5 * len(looks) + 1.3, 3.7 if with_logits else 2.1) as figure:
        grid = figure.subplots(1 + with_logits, len(looks), squeeze=False)
        for column, (name, look) in zip(grid.T, looks.items(), strict=True):
            softmax = _softmax_image(column[-1], look.softmax, shades)
            if with_logits:
                above = column[0].imshow(look.logits, cmap=shades, interpolation="nearest", **limits)
            column[0].set_title(f"{name}\nloss {look.loss:.2f}")
            for axes in column:
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(name.split("-")[1], labelpad=2)
                axes.set_ylabel(name.split("-")[0], labelpad=2)
        if with_logits:
            figure.colorbar(above, ax=list(grid[0]), label="logit")
        _softmax_bar(figure.colorbar(softmax, ax=list(grid[-1]), label="softmax"))
        return figure


def term_bars(table: "pd.DataFrame", batch: int) -> "Figure":
    """The loss of each term of a board on a batch, and its share of the total.

    Args:
        table: one row a term, with `loss`, `weight` and `weighted`; terms of weight 0 are drawn hollow.
        batch: clips in it, B: equal logits cost ln B.
    """
    with _fixed_layout(0.95 + 0.27 * len(table), left=0.13, right=0.985, wspace=0.1) as figure:
        own, added = figure.subplots(1, 2, sharey=True)
        losses, weights, parts = (table[name].to_numpy(float) for name in ("loss", "weight", "weighted"))
        colours = [_term_colour(str(name)) for name in table.index]
        sums = [f"{w:.3g} × {loss:.2f} = {part:.3f}" for loss, w, part in table.itertuples(index=False)]
        for axes, values, texts in ((own, losses, [f"{loss:.2f}" for loss in losses]), (added, parts, sums)):
            faces = [colour if weight else PAPER for colour, weight in zip(colours, weights, strict=True)]
            axes.barh(np.arange(len(table)), values, color=faces, edgecolor=colours, height=0.62, linewidth=1.4)
            wide = max(1e-9, float(values.max())) * (1.3 if axes is own else 2.1)
            axes.set_xlim(0, wide)
            for row, (value, text) in enumerate(zip(values, texts, strict=True)):
                axes.text(value + wide / 60, row, text, va="center", bbox=PLAIN)
            axes.tick_params(axis="y", length=0)
        own.axvline(math.log(batch), color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        own.set_yticks(np.arange(len(table)), [str(name).replace("_", "-") for name in table.index])
        own.invert_yaxis()
        _title(own, f"Each term (dashed: ln {batch} = {math.log(batch):.2f})")
        _title(added, f"Its part of the total, {parts.sum():.3f}")
        return figure


def live_curves(
    runs: "Mapping[str, Sequence[LiveStep]]", present: str, start: float, batch: int, steps: int | None = None
) -> "Figure":
    """Short trainings on boards: the pairs' losses of one board, and its cross-entropy and UA beside the other boards'.

    Args:
        runs: the points of each training by name.
        present: the one in colour; the others are grey.
        start: UA on the development clips before the first step.
        batch: clips in a batch.
        steps: how many there will be; None = as many as there are.
    """
    points = runs[present]
    last = steps or max((point.step for each in runs.values() for point in each), default=1)
    with _fixed_layout(3.1, left=0.04, right=0.985, wspace=0.24) as figure:
        pairs, classified, scored = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
        looks = _pair_looks([name for name in (points[0].losses if points else ()) if "-" in name])
        for name, look in looks.items():
            _line(pairs, [(point.step, point.losses[name]) for point in points], look, name)
        pairs.axhline(math.log(batch), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        _title(pairs, f"Pairs, by batch (dashed: ln {batch})")
        pairs.set_ylim(0, math.log(batch) * 1.6)
        if looks:
            close: Any = {"handlelength": 1.2, "handletextpad": 0.4, "columnspacing": 0.6, "borderpad": 0}
            pairs.legend(loc="upper left", ncols=3, fontsize=9, frameon=False, **close)
        grey, own = Mark(MUTED, ""), Mark(OKABE_ITO[0], "o")
        for name, each in sorted(runs.items(), key=lambda item: item[0] == present):
            look = own if name == present else grey
            _line(classified, [(point.step, point.losses["cross_entropy"]) for point in each], Mark(look.colour, ""))
            _line(scored, [(0, 100 * start), *((p.step, 100 * p.UA) for p in each if p.UA is not None)], look)
        _title(classified, "Cross-entropy, by batch")
        classified.set_ylim(bottom=0)
        _title(scored, "UA, development clips, %")
        scored.set_ylim(0, 100)
        for axes in (pairs, classified, scored):
            axes.set_xlim(0, last + 0.5)
            axes.set_xlabel("step")
            axes.grid(axis="y")
        return figure


def temperature_panels(look: "PairLook", table: "pd.DataFrame", temperature: float) -> "Figure":
    """One pair at one temperature: its softmax, the push by rank, and loss and negatives by temperature.

    Args:
        look: the pair at that temperature.
        table: what `temperature_table` gives.
        temperature: where the marker stands; a dotted line stands where a learned one starts.
    """
    size = len(look.softmax)
    with _fixed_layout(4.4, left=0.05, right=0.985, wspace=0.22, hspace=0.62) as figure:
        grid = figure.add_gridspec(2, 4, width_ratios=(1.75, 0.28, 1, 1))
        matrix = figure.add_subplot(grid[:, 0])
        image = _softmax_image(matrix, look.softmax, "cividis")
        matrix.set(xticks=[], yticks=[])
        _title(matrix, f"Softmax by row, temperature {temperature:.3g}")
        _softmax_bar(figure.colorbar(image, ax=matrix, orientation="horizontal", fraction=0.05, pad=0.04))
        ranks = figure.add_subplot(grid[0, 2])
        shares = look.negative_weights.mean(axis=0)
        ranks.plot(np.arange(1, size), 100 * shares, color=OKABE_ITO[0])
        ranks.axhline(100 / (size - 1), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        _title(ranks, "Push by rank, %")
        ranks.set(xscale="log", xlim=(1, size - 1), ylim=(0, None), xlabel="rank of the negative")
        _plain_ticks(ranks, (1, 10))
        for place, column, title, scale in (
            (grid[0, 3], "loss", "Loss", 1.0),
            (grid[1, 2], "effective_negatives", "Effective negatives", 1.0),
            (grid[1, 3], "hardest_share", "Push on 5 hardest, %", 100.0),
        ):
            axes = figure.add_subplot(place)
            axes.plot(table.index, scale * table[column], color=OKABE_ITO[0])
            here = scale * float(np.interp(math.log(temperature), np.log(table.index), table[column]))
            axes.axvline(LEARNED_START, color=MUTED, linewidth=1, linestyle=":")
            axes.plot(temperature, here, "o", color=OKABE_ITO[1], markersize=9, markeredgecolor=PAPER)
            _title(axes, title)
            axes.set(xscale="log", xlim=(table.index.min(), table.index.max()), ylim=(0, None), xlabel="temperature")
            _plain_ticks(axes, [tick for tick in (0.001, 0.01, 0.1, 1) if tick > 0.99 * table.index.min()])
        return figure


def cosine_maps(tables: Mapping[str, "pd.DataFrame"]) -> "Figure":
    """Cosines between the gradients of terms, one heat map a table, all in one scale from -1 to 1.

    Args:
        tables: (terms, terms) by title; other columns, such as `norm`, are left out.
    """
    terms = len(next(iter(tables.values())))
    with drawing(1.0 + len(tables) * 0.62 * terms, 1.6 + 0.42 * terms) as figure:
        panels = np.atleast_1d(figure.subplots(1, len(tables), sharey=True))
        for axes, (title, table) in zip(panels, tables.items(), strict=True):
            names = [str(name) for name in table.index]
            cells = table[names].to_numpy(float)
            texts = [["" if np.isnan(cell) else _number(cell, 2) for cell in row] for row in cells]
            shown = [name.replace("cross_entropy", "CE") for name in names]
            heat_map(axes, cells, texts, shown, shown, limits=(-1.0, 1.0))
            axes.set_title(title)
        for axes in panels[1:]:
            axes.invert_yaxis()  # shared, and turned over once by each map
        return figure


@contextmanager
def _fixed_layout(height: float, **margins: float) -> "Iterator[Figure]":
    """A figure with fixed margins: a layout that measures every text would take most of the drawing time."""
    with drawing(WIDTH, height) as figure:
        figure.set_layout_engine(None)
        figure.subplots_adjust(top=1 - 2 * LINE / height, bottom=2.6 * LINE / height, **margins)
        yield figure


def _title(axes: "Axes", text: str) -> None:
    """A title at a fixed height: placing it above all tick labels would take a quarter of the drawing time."""
    axes.set_title(text, y=1.0)


def _line(axes: "Axes", points: Sequence[tuple[float, float]], look: Mark, label: str = "") -> None:
    """A line with at most about six marks."""
    xs, ys = zip(*points, strict=True) if points else ((), ())
    every: Any = max(1, len(points) // 6)
    axes.plot(xs, ys, color=look.colour, marker=look.marker, markersize=6, markevery=every, label=label or None)


def _pair_looks(names: Sequence[str]) -> dict[str, Mark]:
    """The look of each pair, which does not depend on the other pairs of the board."""
    known = marks(["a1-a2", "t1-t2", "a1-t1", "a1-t2", "a2-t1", "a2-t2"])
    return {name: known.get(name, Mark(INK, "")) for name in names}


def _term_colour(term: str) -> str:
    """The colour of a term: in-modal pairs, cross-modal pairs, and what is no pair."""
    views = term.split("-")
    if len(views) != 2:
        return MUTED
    return OKABE_ITO[0] if views[0][0] == views[1][0] else OKABE_ITO[1]


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")  # no minus before a zero


def _softmax_image(axes: "Axes", softmax: NDArray[np.float32], shades: "str | Colormap") -> "AxesImage":
    from matplotlib.colors import LogNorm

    clipped = np.clip(softmax, FAINTEST, 1.0)
    return axes.imshow(clipped, cmap=shades, interpolation="nearest", norm=LogNorm(FAINTEST, 1.0))


def _softmax_bar(bar: "Colorbar") -> None:
    bar.set_ticks([1e-4, 1e-3, 1e-2, 1e-1, 1], labels=["0.0001", "0.001", "0.01", "0.1", "1"])
    bar.ax.minorticks_off()


def _plain_ticks(axes: "Axes", places: Sequence[float]) -> None:
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xticks([], minor=True)
