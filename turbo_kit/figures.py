"""Every static figure, one function each: data in, a matplotlib `Figure` out, in one style.

Colours are those of M. Okabe and K. Ito, "Color universal design" (2008), and cividis; what has a colour has a marker
shape too. `inline_svg` turns a figure into SVG whose neutral tones follow the light or dark theme of the page.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.maps import embedding_spaces, flat_map, sample
from turbo_kit.runs import Run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The neutral tones are unlike any other colour in a figure, so that `inline_svg` can hand each to the page's theme.
INK, MUTED, RULE, PAPER = "#1b1d21", "#5d636e", "#d6d9de", "#fefefe"
THEME = {INK: "--ink", MUTED: "--muted", RULE: "--rule", PAPER: "--paper"}

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", MUTED, "#f0e442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h")

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.axisbelow": True,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.parse_math": False,  # a class or a speaker may be called "$"
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "turbo-kit",
}


LINE = 0.19
"""Height of a line of text, inches."""


class Mark(NamedTuple):
    """How one class or one objective looks in every figure."""

    colour: str
    marker: str


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """A colour and a marker shape for each name, by its place; the first 72 pairs are all different."""
    return {name: Mark(OKABE_ITO[i % len(OKABE_ITO)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}


def learning_curves(runs: Mapping[str, Sequence[Run]] | Sequence[Run]) -> "Figure":
    """UA and cross-entropy on development data by epoch, one line an objective.

    Thin lines are single runs. A thick one is their mean, as far as all of them were trained. The large mark of each
    run is its chosen epoch.

    Args:
        runs: by the name of the line; a plain list is grouped by objective.
    """
    with _style():
        figure = _figure(9.6, 3.6)
        groups = runs if isinstance(runs, Mapping) else _by_objective(runs)
        figure.set_figheight(max(3.6, 1.3 + LINE * _lines(groups)))
        panels = (("dev_UA", "Development UA", 100.0, "%"), ("dev_loss", "Development cross-entropy", 1.0, ""))
        for axes, (column, title, scale, unit) in zip(figure.subplots(1, 2), panels, strict=True):
            ends = {}
            for name, mark in marks(groups).items():
                ends[name] = _curves(axes, groups[name], column, scale, mark)
            axes.set_title(f"{title}, {unit}" if unit else title)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(axis="y")
            _label_ends(figure, axes, ends, marks(groups))
        return figure


def confusion(predictions: "pd.DataFrame", classes: Sequence[str], title: str = "") -> "Figure":
    """How the clips of each class were classified: the shade is the share of the row, the number counts clips.

    Args:
        predictions: one row a clip with `label` and `predicted`, such as `run.predictions("test")`, or those of many
            runs below one another; rows without a label are left out.
        classes: the names, in the order of rows and columns.
        title: stands above the matrix.

    Raises:
        InputError: a label or prediction that is none of the classes.
    """
    counts = confusion_counts(predictions, classes)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    size = 1.7 + 0.55 * len(classes)
    with _style():
        figure = _figure(size, size)
        axes = figure.subplots()
        axes.pcolormesh(shares, cmap="cividis", vmin=0, vmax=1, edgecolors=PAPER, linewidth=2)
        for (row, column), count in np.ndenumerate(counts):
            ink = "#ffffff" if shares[row, column] < 0.55 else "#000000"
            axes.text(column + 0.5, row + 0.5, f"{count:,}", ha="center", va="center", color=ink)
        middles = np.arange(len(classes)) + 0.5
        long = max(map(len, classes)) > 8
        axes.set_xticks(middles, classes, rotation=40 if long else 0, ha="right" if long else "center")
        axes.set_yticks(middles, classes)
        axes.set(xlabel="predicted", ylabel="true", aspect="equal")
        axes.set_title(_wrapped(title))
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return figure


def confusion_counts(predictions: "pd.DataFrame", classes: Sequence[str]) -> NDArray[np.int64]:
    """(C, C) clips by true class (rows) and predicted class (columns); see `confusion`."""
    labelled = predictions[predictions["label"].notna()]
    index = {name: i for i, name in enumerate(classes)}
    for column in ("label", "predicted"):
        for name in labelled[column].unique():
            if name not in index:
                raise InputError(f"{column} {name!r} is none of the classes ({', '.join(classes)}): give all of them.")
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (labelled["label"].map(index).to_numpy(int), labelled["predicted"].map(index).to_numpy(int)), 1)
    return counts


def embedding_map(
    runs: Mapping[str, Run] | Sequence[Run], split: str = "test", classes: Sequence[str] | None = None
) -> "Figure":
    """UMAP of what the classifier sees, one column a run: pooled audio, pooled text, and both side by side.

    Distances inside a small neighbourhood mean something; the size of clusters, the gaps between them and the axes do
    not, so there are none.

    Args:
        runs: by the name above the column; a plain list is named by objective.
        split: `dev` or `test`.
        classes: sets each class's colour and marker; None takes those of the runs.
    """
    columns = runs if isinstance(runs, Mapping) else _named(runs)
    if not columns:
        raise InputError("no run to map: give at least one finished run.")
    names = list(classes) if classes is not None else run_classes(columns.values())
    spaces = {name: embedding_spaces(run, split) for name, run in columns.items()}
    rows = list(dict.fromkeys(space for arrays in spaces.values() for space in arrays))
    with _style():
        figure = _figure(0.3 + 2.35 * len(columns), 0.75 + 2.2 * len(rows))
        grid = figure.subplots(len(rows), len(columns), squeeze=False)
        for column, (name, run) in enumerate(columns.items()):
            labels = run.predictions(split)["label"].to_numpy()
            for row, space in enumerate(rows):
                axes = grid[row, column]
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(visible=True, color=RULE)
                if row == 0:
                    axes.set_title(_wrapped(name))
                if column == 0:
                    axes.set_ylabel(space)
                if space in spaces[name]:
                    chosen = sample(len(labels))
                    _scatter(axes, flat_map(spaces[name][space][chosen]), labels[chosen], names)
        _class_legend(figure, names, per_row=2 * len(columns))
        return figure


GEOMETRY = (
    (
        "Alignment (lower is better)",
        {"audio": "audio_alignment", "text": "text_alignment", "audio-text": "audio-text_alignment"},
    ),
    ("Uniformity (lower is better)", {"audio": "audio_uniformity", "text": "text_uniformity"}),
    ("Modality gap", {"audio-text": "audio-text_modality_gap"}),
    ("Effective rank", {"audio": "audio_effective_rank", "text": "text_effective_rank"}),
)
"""The panels of `geometry_bars`: title, and the column of the summary table by what it is measured on."""


def geometry_bars(summary: "pd.DataFrame") -> "Figure":
    """Alignment, uniformity, modality gap and effective rank of the pooled space, by objective.

    Args:
        summary: the report's summary table, or any table with `objective` and the columns that `GEOMETRY` names;
            columns that are absent or empty are left out.
    """
    names = summary["objective"].tolist()
    colours = {"audio": OKABE_ITO[0], "text": OKABE_ITO[3], "audio-text": OKABE_ITO[2]}
    with _style():
        panels = []
        for title, columns in GEOMETRY:
            known = {part: column for part, column in columns.items() if _filled(summary, column)}
            if known:
                panels.append((title, known))
        if not panels:
            raise InputError("the table has no column of the geometry: expected such as audio_uniformity.")
        lines = -(-len(panels) // 2)
        figure = _figure(9.6, lines * (0.75 + 0.62 * len(names)))
        grid = figure.subplots(lines, 2, squeeze=False, sharey=True)
        for axes, (title, columns) in zip(grid.flat, panels, strict=False):
            for place, (part, column) in enumerate(columns.items()):
                _bars(axes, summary[column].to_numpy(float), place, len(columns), colours[part], part)
            axes.set_title(title)
            axes.set_yticks(np.arange(len(names)), [_wrapped(name) for name in names])
            axes.tick_params(axis="y", length=0)
            axes.margins(x=0.32)
            low, high = axes.get_xlim()
            # Measures below 0 grow to the right as well, so that all panels are read alike.
            axes.set_xlim((0, low) if abs(low) > abs(high) else (0, high))
            axes.spines["left"].set_color(MUTED)
            axes.grid(axis="x")
        for axes in grid[:, 0]:
            axes.set_ylim(len(names) - 0.45, -0.55)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        return figure


def score_intervals(table: "pd.DataFrame") -> "Figure":
    """UA of each objective with its interval; the dashed line is the baseline's, where there is one.

    Args:
        table: the report's summary table, or any with `objective`, `UA`, `UA_low`, `UA_high` (shares of 1) and
            `verdict`.
    """
    with _style():
        names = table["objective"].tolist()
        figure = _figure(8.2, 0.95 + 0.46 * len(names))
        axes = figure.subplots()
        values = 100 * table[["UA", "UA_low", "UA_high"]].to_numpy(float)
        baseline = values[(table["verdict"] == "baseline").to_numpy(), 0]
        if len(baseline) == 1:
            axes.axvline(baseline[0], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for row, (mark, (score, low, high)) in enumerate(zip(marks(names).values(), values, strict=True)):
            axes.plot([low, high], [row, row], color=mark.colour, linewidth=2.2, solid_capstyle="round")
            axes.plot(score, row, mark.marker, color=mark.colour, markersize=9, markeredgecolor=PAPER)
            said = "no labelled clip" if np.isnan(score) else f"{score:.1f}"
            said += "" if np.isnan(low) else f"  [{low:.1f}, {high:.1f}]"
            axes.text(1.02, row, said, transform=axes.get_yaxis_transform(), va="center")
        axes.set_yticks(np.arange(len(names)), [_wrapped(name) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("UA on test, %, with the 95 % interval")
        axes.locator_params(axis="x", nbins=7, steps=[1, 2, 5, 10])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        return figure


def inline_svg(figure: "Figure", alt: str, prefix: str) -> str:
    """The figure as SVG to stand inside a page: crisp at any size, and in the page's own ink and paper.

    Args:
        figure: any figure of this module.
        alt: what a reader who cannot see the figure is told.
        prefix: keeps the names inside this SVG apart from those of other figures on the page.
    """
    buffer = io.StringIO()
    with _style():
        figure.savefig(buffer, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, body = svg.split(">", 1)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
    for tone, variable in THEME.items():
        body = body.replace(tone, f"var({variable}, {tone})")
    box = re.search(r'viewBox="[\d. ]+"', head)
    width = figure.get_figwidth() * 96
    label = escape(alt, quote=True)
    return f'<svg {box[0] if box else ""} width="{width:.0f}" role="img" aria-label="{label}">{body}'


def run_classes(runs: Iterable[Run]) -> list[str]:
    """The class names of the runs, each once, in the order of their corpora."""
    return list(dict.fromkeys(name for run in runs for name in run.result["classes"]))


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def _figure(width: float, height: float) -> "Figure":
    """A figure of its own, in inches, that pyplot knows nothing of."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return _shown_figure()(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06))


@cache
def _shown_figure() -> "type[Figure]":
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that Jupyter shows by itself, without `%matplotlib` and pyplot's global state."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            with _style():
                self.savefig(buffer, format="png", dpi=110)
            return buffer.getvalue()

    return ShownFigure


def _curves(axes: "Axes", runs: Sequence[Run], column: str, scale: float, mark: Mark) -> float:
    """Draws the lines of one objective; returns where its line ends."""
    import pandas as pd

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
    shared = min(history.index.max() for history in histories)
    mean = pd.concat(histories, axis="columns").loc[:shared].mean(axis="columns")
    axes.plot(mean.index, mean, color=mark.colour, linewidth=2.2)
    return float(mean.iloc[-1])


def _label_ends(figure: "Figure", axes: "Axes", ends: Mapping[str, float], looks: Mapping[str, Mark]) -> None:
    """Names the lines at the right edge, each beside its mark, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    names = sorted(ends, key=lambda name: ends[name])
    inches = figure.get_figheight() - 1.1
    gap = (high - low) * LINE * _lines(names) / len(names) / inches
    places = np.array([ends[name] for name in names])
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    places += (ends[names[-1]] - places[-1]) / 2  # what was pushed up is centred again, and kept beside the axes
    places += max(0.0, low - places[0]) - max(0.0, places[-1] - high)
    edge = axes.get_yaxis_transform()
    for name, place in zip(names, places, strict=True):
        look = looks[name]
        axes.plot(1.03, place, look.marker, color=look.colour, markersize=6, transform=edge, clip_on=False)
        axes.text(1.06, place, _wrapped(name), transform=edge, va="center")
    axes.set_ylim(low, high)


def _scatter(axes: "Axes", points: NDArray[np.float64], labels: NDArray[Any], classes: Sequence[str]) -> None:
    layer = np.arange(len(points)) % 6  # the classes in turn, six times over, so that none lies on top of all others
    for number in range(6):
        for name, mark in marks(classes).items():
            x, y = points[(labels == name) & (layer == number)].T
            style: Any = {"color": mark.colour, "markersize": 4.2, "markeredgecolor": PAPER, "markeredgewidth": 0.4}
            axes.plot(x, y, mark.marker, linestyle="none", alpha=0.85, label=name, **style)
    axes.margins(0.06)


def _class_legend(figure: "Figure", classes: Sequence[str], per_row: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=mark.colour, marker=mark.marker, linestyle="none", markersize=7, markeredgecolor=PAPER)
        for mark in marks(classes).values()
    ]
    columns = min(len(classes), per_row)
    figure.legend(handles, classes, loc="outside upper left", ncols=columns, frameon=False, handletextpad=0.2)


def _bars(axes: "Axes", values: NDArray[np.float64], place: int, bars: int, colour: str, part: str) -> None:
    """One bar for each objective, of the `place`-th of so many parts; the first says what the part is."""
    thick = min(0.78 / bars, 0.36)
    middles = np.arange(len(values)) + (place - (bars - 1) / 2) * thick
    axes.barh(middles, np.nan_to_num(values), height=0.86 * thick, color=colour)
    for row, (value, middle) in enumerate(zip(values, middles, strict=True)):
        if not np.isnan(value):
            digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
            number = f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")
            said = f"{number} {part}" if row == 0 else number
            axes.annotate(said, (value, middle), (4, 0), textcoords="offset points", va="center", fontsize=9)


def _by_objective(runs: Sequence[Run]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.config.objective, []).append(run)
    return groups


def _named(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by objective, or by folder where several share one."""
    names = [run.config.objective for run in runs]
    return {name if names.count(name) == 1 else run.folder.name: run for name, run in zip(names, runs, strict=True)}


def _filled(table: "pd.DataFrame", column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _lines(names: Iterable[str]) -> int:
    """Lines of text that so many names take, all as high as the highest."""
    heights = [_wrapped(name).count("\n") + 1 for name in names]
    return max(heights) * len(heights)


def _wrapped(name: str) -> str:
    """A row's name over several lines: the objective, then what else tells it from the others."""
    return name.replace(", ", ",\n")
