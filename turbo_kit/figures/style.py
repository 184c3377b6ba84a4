"""The style shared by all figures: colours, markers, fonts, and SVG that follows the theme of its page.

Colours are those of M. Okabe and K. Ito, "Color universal design" (2008), and cividis. Whatever is told apart by colour
also has its own marker shape or its name beside it.
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

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
    """The colour and marker of a class or an objective, the same in every figure."""

    colour: str
    marker: str


VERDICTS = {
    "baseline": Mark(INK, "D"),
    "better": Mark(OKABE_ITO[2], "^"),
    "worse": Mark(OKABE_ITO[1], "v"),
    "cannot tell": Mark(OKABE_ITO[0], "o"),
    "not compared": Mark(MUTED, "s"),
}
"""How each verdict on a row looks."""


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """A colour and a marker shape for each name, by its place; the first 72 pairs are all different."""
    return {name: Mark(OKABE_ITO[i % len(OKABE_ITO)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}


def legend_handle(mark: Mark, **style: Any) -> "Line2D":
    """A legend's entry for a mark, without a line unless the style gives one."""
    from matplotlib.lines import Line2D

    look: Any = {"linestyle": "none", "markersize": 7, "markeredgecolor": PAPER} | style
    return Line2D([], [], color=mark.colour, marker=mark.marker, **look)


def add_legend(
    figure: "Figure", looks: Mapping[str, Mark], columns: int, where: Any = "outside upper left", **style: Any
) -> None:
    """A legend of marks in so many columns; `style` is that of each entry."""
    handles = [legend_handle(mark, **style) for mark in looks.values()]
    figure.legend(handles, list(looks), loc=where, ncols=columns, frameon=False, handletextpad=0.2)


@contextmanager
def figure_style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


@contextmanager
def drawing(width: float, height: float) -> "Iterator[Figure]":
    """A figure of that size in inches to draw on in the kit's style, not registered with pyplot."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with figure_style():
        yield _notebook_figure()(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06))


@cache
def _notebook_figure() -> "type[Figure]":
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that Jupyter displays without `%matplotlib` or pyplot's global state."""

        def _repr_png_(self) -> bytes:
            return small_png(self)

    return ShownFigure


def small_png(figure: "Figure") -> bytes:
    """The figure as a PNG with at most 256 colours, a third of the size, for notebooks kept in git."""
    from PIL import Image

    full, small = io.BytesIO(), io.BytesIO()
    with figure_style():
        figure.savefig(full, format="png", dpi=110)
    flat = Image.open(full).convert("RGB")
    flat.quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def inline_svg(figure: "Figure", alt: str, prefix: str) -> str:
    """The figure as inline SVG that takes the text and background colours of its page.

    Args:
        figure: any figure of these modules.
        alt: alternative text.
        prefix: makes ids inside this SVG differ from those of other figures on the page.
    """
    buffer = io.StringIO()
    with figure_style():
        figure.savefig(buffer, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, body = svg.split(">", 1)

    def themed(tag: re.Match[str]) -> str:
        named = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", tag[0])
        for tone, variable in THEME.items():
            named = named.replace(tone, f"var({variable}, {tone})")
        return named

    body = re.sub(r"<[^>]+>", themed, body)  # in tags alone: a class may be called like a colour
    box = re.search(r'viewBox="[\d. ]+"', head)
    width = figure.get_figwidth() * 96
    label = escape(alt, quote=True)
    return f'<svg {box[0] if box else ""} width="{width:.0f}" role="img" aria-label="{label}">{body}'


def name_height(names: Iterable[str]) -> float:
    """Inches that the tallest of the names takes, wrapped."""
    return LINE * max(wrap_name(name).count("\n") + 1 for name in names)


def wrap_name(name: str) -> str:
    """A row's name over several lines: the objective, then the options that distinguish it."""
    return name.replace(", ", ",\n")


def heat_map(
    axes: "Axes",
    values: NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    limits: tuple[float, float] | None = None,
) -> None:
    """A table of shaded cells, each with its text; cells without a number stay blank.

    Args:
        axes: where to draw.
        values: (R, C), NaN where there is none.
        texts: R x C.
        rows: names of the rows, from the top.
        columns: names of the columns.
        limits: values of the darkest and the lightest cell; None = the lowest and the highest value.
    """
    low, high = limits or (float(np.nanmin(values)), float(np.nanmax(values)))
    high = high if high > low else low + 1.0
    shades = np.ma.masked_invalid(values)
    axes.pcolormesh(shades, cmap="cividis", vmin=low, vmax=high, edgecolors=PAPER, linewidth=2)
    for (row, column), value in np.ndenumerate(values):
        ink = INK if np.isnan(value) else "#ffffff" if (value - low) / (high - low) < 0.55 else "#000000"
        if texts[row][column]:
            axes.text(column + 0.5, row + 0.5, texts[row][column], ha="center", va="center", color=ink)
    long = max(map(len, columns)) > 8
    axes.set_xticks(
        np.arange(len(columns)) + 0.5, columns, rotation=40 if long else 0, ha="right" if long else "center"
    )
    axes.set_yticks(np.arange(len(rows)) + 0.5, [wrap_name(name) for name in rows])
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
