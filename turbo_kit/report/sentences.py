"""Numbers and findings of the summary table in words, for the terminal and for the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from turbo_kit.metrics.statistics import SIGNIFICANCE
from turbo_kit.report.rows import BASELINE

FEW_SPEAKERS = 10
"""Below about this many speakers even the expanded interval is too narrow (see `speaker_bootstrap`)."""


def format_table(table: pd.DataFrame) -> str:
    """The summary as plain text of at most 100 columns: one row an objective, its name first.

    Args:
        table: what `summary_table` returned. What else a name says stands on lines of its own, below the objective.
    """
    two_classes = "EER" in table
    heads = ["objective", "UA %", "sd", "95 % interval", "WA %"] + ["EER %"] * two_classes
    heads += [f"UA - {baseline_name(table)}", "Holm p", "verdict"]
    grid = [heads]
    for values in records(table):
        cells = [values["objective"].split(", ")[0], percent(values["UA"]), percent(values["UA_sd"])]
        cells += [interval(values, "UA"), *(percent(values[name]) for name in ("WA", "EER") if name in values)]
        compared = not np.isnan(values["difference"])
        grid.append(
            [*cells, difference_with_interval(values), p_value(values["p_holm"]) if compared else "", values["verdict"]]
        )
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    last = len(widths) - 1
    line = "  ".join(f"{{:{'<' if i in (0, last) else '>'}{width}}}" for i, width in enumerate(widths))
    lines = [line.format(*cells).rstrip() for cells in grid]
    knobs = [[f"  {knob}" for knob in name.split(", ")[1:]] for name in table["objective"]]
    body = [part for row, below in zip(lines[1:], knobs, strict=True) for part in (row, *below)]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * last), *body])


def baseline_name(table: pd.DataFrame) -> str:
    """The objective that a summary's rows are compared with."""
    names = table["objective"][table["verdict"] == "baseline"].tolist()
    return str(names[0]).split(", ")[0] if names else BASELINE


def findings(table: pd.DataFrame) -> list[str]:
    """What you can and cannot conclude from the table, in sentences generated from its numbers."""
    baseline = baseline_name(table)
    compared = table[table["difference"].notna()]
    told = compared[compared["verdict"].isin(["better", "worse"])]
    sentences = [
        f"{values['objective']}: UA is {abs(100 * values['difference']):.1f} points "
        f"{'above' if values['difference'] > 0 else 'below'} {baseline} ({difference_with_interval(values)})."
        for values in records(told)
    ]
    open_ones = compared[~compared["verdict"].isin(["better", "worse"])]["objective"].tolist()
    if open_ones:
        told_apart = f"cannot be told apart from that of {baseline}"
        several = f"The UA of each of these rows {told_apart}: {'; '.join(open_ones)}."
        sentences.append(several if len(open_ones) > 1 else f"The UA of {open_ones[0]} {told_apart}.")
    sentences += _about_tests(compared, baseline) + _about_turbo(table, baseline) + _cautions(table)
    lone = table[table["verdict"] == "not compared"]["objective"].tolist()
    if lone:
        sentences.append(f"Not compared, for want of {baseline} on the same folds, seeds and clips: {'; '.join(lone)}.")
    return sentences


def _about_tests(compared: pd.DataFrame, baseline: str) -> list[str]:
    """The correction of the p values, and whether significance was attainable."""
    tests = int(compared["p"].notna().sum())
    if not tests:
        return []
    sentences = []
    if tests > 1:
        sentences.append(
            f"The p values are Holm-corrected for {tests} comparisons: where no row differs, the chance that any is "
            f"called better or worse is one in twenty at most. Only differences to {baseline} were tested; the order "
            "of the other rows among themselves is no finding."
        )
    least = min(1.0, tests * 2.0 ** (1 - int(compared["speakers"].max())))
    if least > SIGNIFICANCE:
        sentences.append(
            f"With {int(compared['speakers'].max())} test speakers"
            f"{f' and {tests} comparisons' if tests > 1 else ''} no p value can be below {least:.3f}, so no "
            "difference can be told here, however large: test on more speakers, such as those of all folds."
        )
    return sentences


def _about_turbo(table: pd.DataFrame, baseline: str) -> list[str]:
    """Turbo's result, whatever it is, and its limits."""
    known = records(table[table["UA"].notna()])
    rows = [values for values in known if values["objective"].split(", ")[0] == "turbo"]
    rows = [values for values in rows if values["objective"] == "turbo"] or rows
    if not rows or baseline == "turbo":
        return []
    if len(rows) == 1:
        words = {"better": f"better than {baseline} here", "worse": f"worse than {baseline} here"}
        words["cannot tell"] = f"neither shown to be better than {baseline} here nor worse"
        outcome = words.get(rows[0]["verdict"], f"not compared with {baseline} here")
    else:
        counts = [sum(values["verdict"] == word for values in rows) for word in ("better", "worse", "cannot tell")]
        outcome = "better than {} in {} of {} rows, worse in {}, and cannot be told apart in {}".format(
            baseline, counts[0], len(rows), *counts[1:]
        )
    best = max(known, key=lambda values: float(values["UA"]))["objective"]
    order = (
        "It has the highest UA of all rows" if best.split(", ")[0] == "turbo" else f"The highest UA is that of {best}"
    )
    return [
        f"Turbo, as this kit reads arXiv 2409.09282, is {outcome}. {order}. That speaks of this corpus, these encoders "
        "and these settings, and neither confirms nor refutes the paper's results."
    ]


def _cautions(table: pd.DataFrame) -> list[str]:
    sentences = []
    if (table["seeds"] == 1).any():
        once = "Each row was" if (table["seeds"] == 1).all() else "Some rows were"
        folds = " and fold" if (table["folds"] == 1).all() else ""
        sentences.append(
            f"{once} trained with a single seed{folds}. Intervals and p values cover the choice of the test speakers, "
            "not the chance in training: any difference here, and any order of the rows, may turn with another seed."
        )
    if (table["folds"] > 1).any():
        sentences.append(
            "Intervals and p values do not cover the choice of the training speakers, most of which the models of "
            "different folds share."
        )
    fewest = int(table["speakers"].min())
    if fewest < FEW_SPEAKERS:
        sentences.append(
            f"There are {fewest} test speakers{'' if fewest > 1 else ' (one speaker gives no interval)'}: below about "
            f"{FEW_SPEAKERS}, intervals are too narrow even though they are widened for small samples."
        )
    return sentences


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table by column name."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def percent(share: float) -> str:
    """A share of 1 as a percentage with one decimal; a dash where it is unknown."""
    return number(100 * share, ".1f")


def number(value: float | None, form: str = ".3f") -> str:
    """A number in the given format; a dash where it is unknown."""
    return "-" if value is None or np.isnan(value) else format(value, form)


def p_value(p: float | None) -> str:
    """A p value with three decimals; a dash where it is unknown."""
    return "<0.001" if p is not None and p < 0.001 else number(p)


def interval(values: Mapping[str, Any], name: str, form: str = ".1f") -> str:
    """`[low, high]` of a score, in percent."""
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    return "-" if np.isnan(low) else f"[{100 * low:{form}}, {100 * high:{form}}]"


def difference_with_interval(values: Mapping[str, Any]) -> str:
    """The difference to the baseline in points, with its interval; empty where there is none."""
    if np.isnan(values["difference"]):
        return ""
    points = f"{100 * values['difference']:+.1f}"
    return points if np.isnan(values["difference_low"]) else f"{points} {interval(values, 'difference', '+.1f')}"


def number_ranges(values: Sequence[int]) -> str:
    """Integers as ranges: 0-3, 5."""
    ordered = sorted(set(values))
    starts = [v for v in ordered if v - 1 not in ordered]
    ends = [v for v in ordered if v + 1 not in ordered]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
