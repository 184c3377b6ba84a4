"""The section for two classes: error rates at the development threshold, and the DET curve."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from turbo_kit.figures import det_curves, mean_curve
from turbo_kit.metrics import detection_bootstrap, speaker_bootstrap
from turbo_kit.report.page import Picture, Section, Table, picture
from turbo_kit.report.rows import Row
from turbo_kit.report.score_sections import panel_rows, rows_shown_note
from turbo_kit.report.sentences import interval, percent, records

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""False accept rates at which the table below the figure samples the curves."""
SCORES = ("EER", "ROC_AUC", "false_accept_rate", "false_reject_rate", "accuracy")


def detection_sections(rows: Sequence[Row]) -> Iterator[Section]:
    """Scores of two classes with intervals, and the DET curve; nothing where a row has more, or chose no threshold.

    Args:
        rows: of the test list itself.
    """
    tested = [run.result["metrics"]["test"] for row in rows for run in row.runs]
    if any("at_threshold" not in scores or scores["EER"] is None for scores in tested):
        return
    scores = detection_table(rows)
    classes = rows[0].runs[0].result["classes"]
    shown = panel_rows(rows)
    targets = sorted({run.config.evaluation.false_accept_rate for row in rows for run in row.runs})
    aims = ", ".join(f"{percent(target)} %" for target in targets)
    text = (
        f"{classes[1]} is the positive class. Its threshold was chosen for each run on development clips, as the "
        f"lowest that accepts {aims} of the {classes[0]} clips at most; on test it may come to more or less. EER and "
        "ROC-AUC are means over the runs, false accepts, false rejects and accuracy are counted over the clips of all "
        "folds for each seed; all intervals resample the speakers. The curve of a row is the mean of its runs' false "
        "rejects at each share of false accepts, since scores of different models are on no common scale."
    )
    yield Section("Detection", text + rows_shown_note(len(shown), len(rows)), [_curves(shown)], [_scores(scores)])


def detection_table(rows: Sequence[Row]) -> pd.DataFrame:
    """One line a row: `EER`, `ROC_AUC`, and at the threshold of each run `false_accept_rate`, `false_reject_rate` and
    `accuracy`, each with `_low` and `_high` (95 %, resampling speakers). All are shares of 1.

    Args:
        rows: of finished runs of two classes, whose development clips chose a threshold.
    """
    lines = []
    for row in rows:
        frame = _decided(row)
        errors = {
            name: _one_minus(speaker_bootstrap(frame[frame["positive"] == positive], "WA"))
            for name, positive in (("false_accept_rate", False), ("false_reject_rate", True))
        }
        found = {name: detection_bootstrap(frame, name) for name in ("EER", "ROC_AUC")}
        found |= errors | {"accuracy": speaker_bootstrap(frame, "WA")}
        line: dict[str, Any] = {"objective": row.name}
        for name in SCORES:
            line |= {name: found[name]["mean"], **{f"{name}_{end}": found[name][end] for end in ("low", "high")}}
        lines.append(line)
    return pd.DataFrame(lines).astype({name: float for name in lines[0] if name != "objective"})


def _decided(row: Row) -> pd.DataFrame:
    """The labelled predictions of a row, decided at the threshold of each run, with `positive` and `score`."""
    parts = []
    for run in row.runs:
        negative, positive = run.result["classes"]
        table = run.predictions(row.split)
        table = table[table["label"].notna()]
        score = table[f"p_{positive}"].astype(np.float64)
        threshold = run.result["metrics"][row.split]["at_threshold"]["threshold"]
        predicted = np.where(score >= threshold, positive, negative)
        facts = {"fold": run.config.data.fold, "seed": run.config.training.seed, "score": score, "predicted": predicted}
        parts.append(table.assign(**facts, positive=table["label"] == positive))
    return pd.concat(parts, ignore_index=True)


def _one_minus(accuracy: Mapping[str, float | None]) -> dict[str, float | None]:
    """An error rate and its interval, from those of the accuracy."""
    turned = {"mean": accuracy["mean"], "low": accuracy["high"], "high": accuracy["low"]}
    return {name: None if value is None else 1 - value for name, value in turned.items()}


def _scores(table: pd.DataFrame) -> Table:
    cells = [
        [values["objective"], *(f"{percent(values[name])} {interval(values, name)}" for name in SCORES)]
        for values in records(table)
    ]
    head = ("row", "EER %", "ROC-AUC %", "false accepts %", "false rejects %", "accuracy %")
    caption = "EER and ROC-AUC; false accepts, false rejects and accuracy at the threshold from development"
    return Table("detection", caption, head, cells, table)


def _curves(rows: Sequence[Row]) -> Picture:
    curves = {row.name: mean_curve(row.runs) for row in rows}
    cells = []
    for name, (accept, reject) in curves.items():
        places = np.searchsorted(accept, RATES, side="right") - 1
        cells.append([name, *(percent(reject[place]) for place in places)])
    head = ("row", *(f"at {100 * rate:g} % false accepts" for rate in RATES))
    rates_of = {name: pd.DataFrame({"false_accept_rate": x, "false_reject_rate": y}) for name, (x, y) in curves.items()}
    long = pd.concat(rates_of, names=["objective", "point"]).reset_index("objective")
    numbers = Table("det-curves", "False rejects in percent by false accepts, mean of the runs", head, cells, long)
    said = "; ".join(f"{name} {', '.join(values)}" for name, *values in cells)
    rates = ", ".join(f"{100 * rate:g}" for rate in RATES)
    alt = f"DET curves: false rejects in percent at {rates} percent false accepts: {said}."
    beside = "Axes of normal deviates. The straight line joins equal rates; the dashed one is the share aimed at."
    return picture(det_curves({row.name: row.runs for row in rows}), alt, beside, numbers)
