"""The temperature explorer: what one number does to the softmax of a pair, to its loss and to its negatives."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np
import pandas as pd
from torch import Tensor

from turbo_kit.explorer.figure_panel import figure_panel
from turbo_kit.explorer.slider import new_slider
from turbo_kit.figures.similarity_maps import LEARNED_START, temperature_panels
from turbo_kit.inspection.pair_gradients import HARDEST_NEGATIVES, all_pairs, look_at_pair, temperature_table
from turbo_kit.objectives import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STOPS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Stops of the slider."""
USUAL_RANGE = (0.01, 1.0)
"""Ends of the curves; where the slider stands beyond one of them, they reach that far: at 0.001 a loss may be so high
that nothing could be told of the others beside it."""
CURVE_POINTS = 41
"""Temperatures of the curves."""


def temperature_explorer(
    objective: Objective, views: Mapping[str, Tensor], pair: str = "a1-t1", temperature: float = 0.05
) -> ipywidgets.VBox:
    """A slider over temperatures and a choice of pairs, above what they do.

    Args:
        objective: whose similarity and direction are used.
        views: (B, D) by name.
        pair: to begin with.
        temperature: to begin with.

    Raises:
        InputError: no such pair, or a temperature that is none.
    """

    @cache
    def table(pair: str, lowest: float, highest: float) -> pd.DataFrame:
        return _curves(objective, views, pair, lowest, highest)

    temperature_view(objective, views, pair, temperature)  # a wrong one is an error here, and no slider
    names = [each.name for each in all_pairs(objective, views)]
    controls = {
        "temperature": new_slider("temperature", STOPS, temperature, _stop_text),
        # Buttons: the arrow keys that a drop-down list needs are JupyterLab's own, and move to another cell.
        "pair": ipywidgets.ToggleButtons(
            options=names, value=pair, description="pair", style={"description_width": "7em", "button_width": "5em"}
        ),
    }

    def draw(temperature: float, pair: str) -> "tuple[Figure, str]":
        return _view(objective, views, pair, temperature, table(pair, *_curve_range(temperature)))

    return figure_panel(draw, controls)


def temperature_view(
    objective: Objective, views: Mapping[str, Tensor], pair: str, temperature: float
) -> "tuple[Figure, str]":
    """What the explorer shows at one place of its controls: the figure, and the same in a sentence.

    Raises:
        InputError: no such pair, or a temperature that is none.
    """
    look_at_pair(objective, views, pair, temperature=temperature)  # what is wrong with it is said of it, not of a curve
    return _view(objective, views, pair, temperature, _curves(objective, views, pair, *_curve_range(temperature)))


def _stop_text(temperature: float) -> str:
    return f"{temperature:g}" + " (a learned one starts here)" * (temperature == LEARNED_START)


def _curve_range(temperature: float) -> tuple[float, float]:
    """Lowest and highest temperature of the curves, so that the present one is on them."""
    return min(USUAL_RANGE[0], temperature), max(USUAL_RANGE[1], temperature)


def _curves(
    objective: Objective, views: Mapping[str, Tensor], pair: str, lowest: float, highest: float
) -> pd.DataFrame:
    return temperature_table(objective, views, pair, np.geomspace(lowest, highest, CURVE_POINTS).tolist())


def _view(
    objective: Objective, views: Mapping[str, Tensor], pair: str, temperature: float, table: pd.DataFrame
) -> "tuple[Figure, str]":
    look = look_at_pair(objective, views, pair, temperature=temperature)
    here = temperature_table(objective, views, pair, [temperature]).iloc[0]
    said = (
        f"{pair} at temperature {temperature:.3g}: loss {here['loss']:.2f}. Of its {len(look.logits) - 1} negatives an "
        f"anchor feels {here['effective_negatives']:.1f} (effective number); the {HARDEST_NEGATIVES} hardest get "
        f"{100 * here['hardest_share']:.1f} % of the push. The pull on the positive is {here['pull']:.3f} of 1."
    )
    return temperature_panels(look, table, temperature), said
