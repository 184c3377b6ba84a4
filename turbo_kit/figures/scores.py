"""Scores: UA with its interval, row by row, and confusion matrices."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.figures.style import MUTED, PAPER, VERDICTS, add_legend, drawing, heat_map, marks, name_height, wrap_name
from turbo_kit.runs import Run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PLAIN: Any = {"markersize": 6, "markeredgecolor": "auto"}
"""Legend entries without a bright edge."""


def score_intervals(table: "pd.DataFrame") -> "Figure":
    """UA of each row with its interval, marked by verdict; the dashed line is the baseline's, where there is one.

    Args:
        table: the report's summary table, or any with `objective`, `UA`, `UA_low`, `UA_high` (shares of 1) and
            `verdict`.
    """
    names = [wrap_name(name) for name in table["objective"]]
    with drawing(8.2, 1.3 + max(0.3, name_height(names) + 0.06) * len(names)) as figure:
        axes = figure.subplots()
        values = 100 * table[["UA", "UA_low", "UA_high"]].to_numpy(float)
        verdicts = table["verdict"].tolist()
        baseline = values[[verdict == "baseline" for verdict in verdicts], 0]
        if len(baseline) == 1:
            axes.axvline(baseline[0], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for row, (verdict, (score, low, high)) in enumerate(zip(verdicts, values, strict=True)):
            mark = VERDICTS[verdict]
            axes.plot([low, high], [row, row], color=mark.colour, linewidth=2.2, solid_capstyle="round")
            axes.plot(score, row, mark.marker, color=mark.colour, markersize=9, markeredgecolor=PAPER)
            said = "no labelled clip" if np.isnan(score) else f"{score:.1f}"
            said += "" if np.isnan(low) else f"  [{low:.1f}, {high:.1f}]"
            axes.text(1.02, row, said, transform=axes.get_yaxis_transform(), va="center")
        axes.set_yticks(np.arange(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("UA on test, %, with the 95 % interval")
        axes.locator_params(axis="x", nbins=7, steps=[1, 2, 5, 10])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        shown = {verdict: mark for verdict, mark in VERDICTS.items() if verdict in verdicts}
        add_legend(figure, shown, len(shown), **PLAIN)
        return figure


def speaker_differences(differences: "pd.DataFrame", baseline: str) -> "Figure":
    """How much more of each speaker an objective gets right than the baseline: what a paired comparison looks at.

    Args:
        differences: accuracy minus that of the baseline (shares of 1), one row a speaker, one column an objective.
        baseline: its name.
    """
    looks = marks([baseline, *differences.columns])
    names = [wrap_name(str(name)) for name in differences.columns]
    columns = max(1, min(4, int(90 / (4 + max(len(line) for name in names for line in name.splitlines())))))
    places, step = np.arange(len(differences)), min(0.15, 0.8 / differences.shape[1])
    with drawing(8.2, 3.1 + name_height(names) * len(names) / columns) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=looks[baseline].colour, linewidth=1, linestyle=(0, (4, 3)))
        for number, (name, values) in enumerate(differences.items()):
            aside = step * (number - (differences.shape[1] - 1) / 2)
            mark = looks[str(name)]
            axes.plot(places + aside, 100 * values, mark.marker, color=mark.colour, markersize=9, markeredgecolor=PAPER)
        many = len(places) > 8
        said = [str(speaker) for speaker in differences.index]
        axes.set_xticks(places, said, rotation=40 if many else 0, ha="right" if many else "center")
        axes.margins(x=0.1, y=0.1)
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(f"accuracy minus {baseline}, points")
        axes.grid(axis="y")
        shown = {wrap_name(name): mark for name, mark in looks.items() if name != baseline}
        add_legend(figure, shown, columns, **PLAIN)
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
    return confusions({title: predictions}, classes)


def confusions(predictions: "Mapping[str, pd.DataFrame]", classes: Sequence[str]) -> "Figure":
    """The confusions of several models side by side; see `confusion`.

    Args:
        predictions: by the name that stands above the matrix.
        classes: the names, in the order of rows and columns.
    """
    size = 1.7 + 0.55 * len(classes)
    with drawing(size * len(predictions), size) as figure:
        grid = figure.subplots(1, len(predictions), squeeze=False)[0]
        for axes, (name, table) in zip(grid, predictions.items(), strict=True):
            counts = confusion_counts(table, classes)
            rows = counts.sum(axis=1, keepdims=True)
            shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
            texts = [[f"{count:,}" for count in line] for line in counts]
            heat_map(axes, shares, texts, classes, classes, limits=(0.0, 1.0))
            axes.set(xlabel="predicted", aspect="equal")
            axes.set_title(wrap_name(name))
        grid[0].set_ylabel("true")
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


def run_classes(runs: Iterable[Run]) -> list[str]:
    """The class names of the runs, each once, in the order of their corpora."""
    return list(dict.fromkeys(name for run in runs for name in run.result["classes"]))
