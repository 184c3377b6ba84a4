"""Controls above a figure that follows them: the frame of most explorers."""

from collections.abc import Callable, Mapping
from html import escape
from itertools import count
from typing import TYPE_CHECKING, Any

import ipywidgets

from turbo_kit.config import InputError
from turbo_kit.figures import inline_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The figure's neutral tones are those of JupyterLab's theme, whichever it is.
THEME = "--ink:var(--jp-ui-font-color1);--muted:var(--jp-ui-font-color2);--rule:var(--jp-border-color2);" + (
    "--paper:var(--jp-layout-color0)"
)
FITTING = "<style>.turbo-figure :is(svg, img) { max-width: 100%; height: auto; }</style>"
"""A figure keeps its width, or takes that of the notebook where it is narrower."""
_NUMBERS = count()


def figure_html(figure: "Figure", said: str) -> str:
    """A figure as HTML in the colours of the notebook's theme, with a sentence below that describes it."""
    svg = inline_svg(figure, said, f"explorer{next(_NUMBERS)}")
    line = f'<p role="status" style="color:var(--ink)">{escape(said)}</p>'
    return f'<div class="turbo-figure" style="{THEME}">{FITTING}{svg}{line}</div>'


def figure_panel(
    draw: "Callable[..., tuple[Figure, str]]", controls: "Mapping[str, ipywidgets.ValueWidget]"
) -> ipywidgets.VBox:
    """Puts controls above a figure that is redrawn whenever one of them changes.

    Args:
        draw: takes the values of the controls by name, and returns the figure and a sentence that says in numbers what
            it shows, which stands below it and is its alternative text.
        controls: by the names of `draw`'s arguments.

    Returns:
        The panel; its last child is the `HTML` widget that holds the figure. What an `InputError` says stands in the
        figure's place.
    """
    place = ipywidgets.HTML()

    def redraw(_: Any = None) -> None:
        try:
            place.value = figure_html(*draw(**{name: control.value for name, control in controls.items()}))
        except InputError as error:
            place.value = f'<p role="alert">{escape(str(error))}</p>'

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([*controls.values(), place])
