"""A slider that a screen reader can name: those of ipywidgets have a handle without a name.

It is the browser's own `<input type="range">` over a list of stops, each with a text, so that what is read out is the
value as it stands beside the slider and not a place on its scale.
"""

import math
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import anywidget

FRONTEND = Path(__file__).parent / "frontend"


def new_slider(
    description: str, stops: Iterable[float], value: float, said: Callable[[float], str] = "{:g}".format
) -> "anywidget.AnyWidget":
    """A slider over some numbers.

    Args:
        description: its name, beside it and for a screen reader.
        stops: where it halts.
        value: to begin with.
        said: a number as a text.

    Returns:
        The widget. `value` can be read, set and observed, as with a slider of ipywidgets, and one between two stops
        becomes a stop; `description` and `disabled` can be set.
    """
    slider: anywidget.AnyWidget = _widget_class()(description, stops, value, said)
    return slider


@cache
def _widget_class() -> Any:
    """The widget's class, made when it is first needed: importing anywidget takes its time."""
    import anywidget
    import traitlets

    class Slider(anywidget.AnyWidget):
        """The page knows the place of `value` among the stops, `index`, and what each is called, `texts`."""

        _esm = (FRONTEND / "range_input.js").read_text(encoding="utf-8")
        _css = (FRONTEND / "slider_style.css").read_text(encoding="utf-8")

        description = traitlets.Unicode().tag(sync=True)
        texts = traitlets.List(traitlets.Unicode()).tag(sync=True)
        index = traitlets.Int().tag(sync=True)
        disabled = traitlets.Bool(False).tag(sync=True)
        value = traitlets.Any()

        def __init__(
            self, description: str, stops: Iterable[float], value: float, said: Callable[[float], str]
        ) -> None:
            self.stops, self._said = sorted(stops), said
            super().__init__(description=description, value=value)

        @traitlets.validate("value")
        def _as_the_stop_has_it(self, proposal: Any) -> Any:
            return next((stop for stop in self.stops if _same(stop, proposal["value"])), proposal["value"])

        @traitlets.observe("value")
        def _show(self, change: Any) -> None:
            self.stops = sorted({*self.stops, change["new"]})
            with self.hold_sync():
                self.texts = [self._said(stop) for stop in self.stops]
                self.index = self.stops.index(change["new"])

        @traitlets.observe("index")
        def _take(self, change: Any) -> None:
            self.value = self.stops[change["new"]]

    return Slider


def _same(one: float, other: float) -> bool:
    """Whether two numbers are one but for how sums of floats are rounded."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
