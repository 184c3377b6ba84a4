"""Numbers and findings of the summary table in words, for the terminal and for the report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from turbo_kit.ablation.summary import BASELINE

if TYPE_CHECKING:
    import pandas as pd

FEW_SPEAKERS = 10
"""Below about so many speakers even the expanded interval is too narrow (see `speaker_bootstrap`)."""


def format_table(table: "pd.DataFrame") -> str:
    """The summary as plain text of at most 100 columns: one row an objective, its name first.

    Args:
        table: what `summary_table` returned. What else a name says stands on lines of its own, below the objective.
    """
    two_classes = "EER" in table
    heads = ["objective", "UA %", "95 % interval", "WA %", "F1 %"] + ["EER %"] * two_classes
    heads += [f"UA - {BASELINE}", "verdict"]
    grid = [heads]
    for values in records(table):
        cells = [values["objective"].split(", ")[0], percent(values["UA"]), interval(values, "UA")]
        cells += [percent(values[name]) for name in ("WA", "macro_F1", "EER") if name in values]
        grid.append([*cells, gain(values), values["verdict"]])
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    last = len(widths) - 1
    lines = [
        "  ".join(
            c.ljust(w) if i in (0, last) else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in grid
    ]
    knobs = [[f"  {knob}" for knob in name.split(", ")[1:]] for name in table["objective"]]
    body = [part for line, below in zip(lines[1:], knobs, strict=True) for part in (line.rstrip(), *below)]
    return "\n".join([lines[0].rstrip(), "-" * (sum(widths) + 2 * last), *body])


def findings(table: "pd.DataFrame") -> list[str]:
    """What may be read from the table, and what may not, in sentences that follow from its numbers alone."""
    compared = table[table["difference"].notna()]
    told = compared[compared["verdict"].isin(["better", "worse"])]
    sentences = []
    for values in records(told):
        sentences.append(
            f"{values['objective']}: UA is {abs(100 * values['difference']):.1f} points "
            f"{'above' if values['difference'] > 0 else 'below'} {BASELINE} ({gain(values)})."
        )
    open_ones = compared[~compared["verdict"].isin(["better", "worse"])]["objective"].tolist()
    if open_ones:
        sentences.append(f"UA cannot be told apart from that of {BASELINE}: {'; '.join(open_ones)}.")
    if len(told) and len(compared) > 1:
        sentences.append(
            f"Of {len(compared)} comparisons with 95 % intervals, about one in twenty would leave out 0 "
            "without any difference; the intervals are not widened for that."
        )
    sentences += _cautions(table)
    lone = table[table["verdict"] == "not compared"]["objective"].tolist()
    if lone:
        sentences.append(f"Not compared, for want of {BASELINE} on the same folds, seeds and clips: {'; '.join(lone)}.")
    return sentences


def _cautions(table: "pd.DataFrame") -> list[str]:
    sentences = []
    if (table["seeds"] == 1).any():
        once = "Each row was" if (table["seeds"] == 1).all() else "Some rows were"
        folds = " and fold" if (table["folds"] == 1).all() else ""
        sentences.append(
            f"{once} trained with a single seed{folds}. The intervals cover the choice of the test speakers, not the "
            "chance in training: any difference here, and any order of the rows, may turn with another seed."
        )
    fewest = int(table["speakers"].min())
    if fewest < FEW_SPEAKERS:
        sentences.append(
            f"There are {fewest} test speakers{'' if fewest > 1 else ' (one speaker gives no interval)'}: below about "
            f"{FEW_SPEAKERS}, intervals are too narrow even though they are widened for small samples."
        )
    return sentences


def records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows of a table by column name."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def percent(share: float) -> str:
    """A share of 1 as a percentage with one decimal; a dash where it is unknown."""
    return number(100 * share, ".1f")


def number(value: float | None, form: str = ".3f") -> str:
    """A number in the given format; a dash where it is unknown."""
    return "-" if value is None or np.isnan(value) else format(value, form)


def interval(values: Mapping[str, Any], name: str, form: str = ".1f") -> str:
    """`[low, high]` of a score, in percent."""
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    return "-" if np.isnan(low) else f"[{100 * low:{form}}, {100 * high:{form}}]"


def gain(values: Mapping[str, Any]) -> str:
    """The difference to the baseline in points, with its interval; empty where there is none."""
    if np.isnan(values["difference"]):
        return ""
    points = f"{100 * values['difference']:+.1f}"
    return points if np.isnan(values["difference_low"]) else f"{points} {interval(values, 'difference', '+.1f')}"


def span(values: Sequence[int]) -> str:
    """Whole numbers as people write them: 0-3, 5."""
    ordered = sorted(set(values))
    starts = [v for v in ordered if v - 1 not in ordered]
    ends = [v for v in ordered if v + 1 not in ordered]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
