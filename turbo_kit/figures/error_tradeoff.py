"""Detection error trade-off of two classes: false accepts against false rejects, on axes of normal deviates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turbo_kit.figures.style import INK, LINE, MUTED, PAPER, Mark, drawing, legend_handle, marks, wrap_name
from turbo_kit.metrics import det_curve, mean_det_curve, truth_and_score
from turbo_kit.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
LOWEST = 0.005
"""Lowest rate on the axes: few corpora hold enough clips to tell a lower one from 0."""
SIZE, AROUND, NEAR = 9, 6, 0.04
"""Of a mark, and how much larger one is for each later mark that would hide it, in points; how far apart, in normal
deviates, two marks hide one another."""


def det_curves(runs: Mapping[str, Sequence[Run]]) -> "Figure":
    """The DET curve of each row on test, with its EER and the operating point of the development threshold.

    On axes of normal deviates the curve of normally distributed scores is a straight line (A. Martin et al., The DET
    curve in assessment of detection task performance, Eurospeech 1997). Several runs of a row are shown as the means
    of their rates: see `mean_det_curve`.

    Args:
        runs: finished runs of two classes, by the name of the row.
    """
    looks = marks(runs)
    with drawing(8.2, max(5.4, 1.5 + LINE * sum(wrap_name(name).count("\n") + 1.4 for name in runs))) as figure:
        axes = figure.subplots()
        equal = {
            name: 2 * (_mean([run.result["metrics"]["test"]["EER"] for run in each]),) for name, each in runs.items()
        }
        chosen = {name: operating_point(of_row) for name, of_row in runs.items()}
        for name, of_row in runs.items():
            accept, reject = mean_curve(of_row)
            axes.plot(
                _deviate(accept), _deviate(reject), drawstyle="steps-post", color=looks[name].colour, linewidth=1.4
            )
        _draw_marks(axes, chosen, looks, filled=False)
        _draw_marks(axes, equal, looks, filled=True)
        highest = max(rate for point in (*equal.values(), *chosen.values()) for rate in point)
        _frame(axes, 0.6 if highest < 0.4 else 0.95)
        targets = {run.config.evaluation.false_accept_rate for of_row in runs.values() for run in of_row}
        for target in targets if len(targets) == 1 else ():
            axes.axvline(_deviate(target), color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            axes.text(_deviate(target), 1.01, "aimed at", transform=axes.get_xaxis_transform(), ha="center")
        _legend(figure, looks)
        return figure


def mean_curve(runs: Sequence[Run]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rates of false accepts and false rejects of some runs on test, one curve: see `mean_det_curve`."""
    return mean_det_curve([det_curve(*truth_and_score(run.predictions("test"), run.result["classes"])) for run in runs])


def operating_point(runs: Sequence[Run]) -> tuple[float, float]:
    """Mean rates of false accepts and false rejects on test, at the threshold that each run's development chose."""
    reached = [run.result["metrics"]["test"]["at_threshold"] for run in runs]
    return _mean([one["false_accept_rate"] for one in reached]), _mean([one["false_reject_rate"] for one in reached])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _deviate(rate: ArrayLike) -> Any:
    """The normal deviate of a rate; 0 and 1 map to finite values beyond the edges of the axes."""
    from scipy.stats import norm

    return norm.ppf(np.clip(rate, LOWEST / 10, 1 - LOWEST / 10))


def _draw_marks(
    axes: "Axes", points: Mapping[str, tuple[float, float]], looks: Mapping[str, Mark], *, filled: bool
) -> None:
    """A mark for each row; marks that later ones would hide are drawn larger, so that they stay visible."""
    places = np.array([[_deviate(max(rate, LOWEST)) for rate in point] for point in points.values()])
    for number, (name, place) in enumerate(zip(points, places, strict=True)):
        hidden = int((np.linalg.norm(places[number + 1 :] - place, axis=1) < NEAR).sum())
        colour, marker = looks[name]
        axes.plot(
            *place,
            marker,
            color=colour,
            markersize=SIZE + AROUND * hidden,
            markerfacecolor=colour if filled else PAPER,
            markeredgecolor=PAPER if filled else colour,
            markeredgewidth=1 if filled else 2,
            clip_on=False,
            zorder=3,
        )


def _frame(axes: "Axes", highest: float) -> None:
    """The same axes for both errors, the diagonal on which they are equal, and chance."""
    ticks = [tick for tick in TICKS if tick <= highest]
    for which in (axes.xaxis, axes.yaxis):
        which.set_ticks(_deviate(ticks), [f"{100 * tick:g}" for tick in ticks])
    low, high = _deviate(LOWEST), _deviate(highest)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel="false accepts, % of negative clips", ylabel="false rejects, % of positive clips")
    axes.grid()
    axes.plot([low, high], [low, high], color=MUTED, linewidth=0.8, zorder=1)
    axes.plot([-high, high], [high, -high], color=INK, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1)


def _legend(figure: "Figure", looks: Mapping[str, Mark]) -> None:
    dot = Mark(MUTED, "o")
    hollow = legend_handle(dot, markerfacecolor=PAPER, markeredgecolor=MUTED, markeredgewidth=2)
    kinds = {
        "filled: equal error rate": legend_handle(dot, markeredgecolor=MUTED),
        "hollow: at the threshold\nthat development chose": hollow,
        "chance": legend_handle(Mark(INK, ""), linewidth=1.2, linestyle=(0, (1, 2))),
    }
    handles = [*(legend_handle(look, linestyle="-") for look in looks.values()), *kinds.values()]
    names = [*map(wrap_name, looks), *kinds]
    figure.legend(handles, names, loc="outside right upper", frameon=False, labelspacing=0.7)
