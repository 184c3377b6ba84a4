"""Sections on scores, learning curves, confusion, embedding maps and geometry, each figure with its table."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from turbo_kit.figures import (
    confusion,
    confusion_counts,
    embedding_map,
    geometry_scatter,
    learning_curves,
    run_classes,
    score_intervals,
)
from turbo_kit.figures.training_curves import LINES, mean_history
from turbo_kit.figures.umap_layout import embedding_spaces, separation
from turbo_kit.report.page import Section, Table, picture
from turbo_kit.report.rows import Row
from turbo_kit.report.sentences import interval, number, percent, records
from turbo_kit.runs import Run

PANELS = 8
"""Maximum number of rows with a confusion matrix and a map; the report says if there are more."""
MEASURES = ("alignment", "uniformity", "modality_gap", "effective_rank")


def score_section(table: pd.DataFrame) -> Section:
    """UA with its interval, row by row."""
    rows = records(table)
    said = "; ".join(f"{values['objective']} {percent(values['UA'])} {interval(values, 'UA')}" for values in rows)
    cells = [[v["objective"], percent(v["UA"]), interval(v, "UA"), str(v["clips"]), str(v["speakers"])] for v in rows]
    head = ("objective", "UA %", "95 % interval", "clips", "speakers")
    shown = table[["objective", "UA", "UA_low", "UA_high", "clips", "speakers"]]
    text = "Where intervals overlap, look at the interval of the difference in the table above: it is the fairer test."
    numbers = Table("ua", "UA with its interval", head, cells, shown)
    alt = f"UA on test in percent, with 95 % intervals: {said}."
    return Section("UA with its interval", text, [picture(score_intervals(table), alt, "", numbers)])


def learning_section(rows: Sequence[Row], reference: str | None) -> Section:
    """Development scores by epoch.

    Args:
        rows: of the test list itself.
        reference: name of the baseline's row, where there is one.
    """
    means = {row.name: mean_history(row.runs) for row in rows}
    epochs = sorted({epoch for history in means.values() for epoch in history.index})
    cells = [[name, *(_epoch(history, epoch) for epoch in epochs)] for name, history in means.items()]
    long = pd.concat(means, names=["objective", "epoch"]).reset_index()
    caption = "Development UA in percent / cross-entropy by epoch, mean of the runs"
    numbers = Table("learning-curves", caption, ("objective", *map(str, epochs)), cells, long)
    best = {row.name: ", ".join(str(run.result["best_epoch"]) for run in row.runs) for row in rows}
    chosen = "; ".join(f"{name} {epochs}" for name, epochs in best.items())
    one = len(rows) <= LINES
    kind = "Two line charts by epoch: development UA and development cross-entropy."
    kind = kind if one else "Line charts of development UA by epoch, one for each row."
    text = (
        "Each mark is the epoch that development data chose for a run; test data had no part in it. Where a row has "
        "several runs they are the thin lines, and their mean is the thick one, as far as all were trained. "
    )
    if one:
        text += "The cross-entropy is the classifier's alone, so that objectives can be compared."
    elif reference is not None:
        text += f"The grey line is the mean of {reference}."
    figure = learning_curves({row.name: row.runs for row in rows}, reference)
    return Section("Learning curves", text, [picture(figure, f"{kind} Chosen epochs: {chosen}.", "", numbers)])


def confusion_section(rows: Sequence[Row]) -> Section:
    """Confusion matrices of the first rows, Turbo always among them."""
    pictures = []
    for place, row in enumerate(panel_rows(rows), start=1):
        classes, predictions = run_classes(row.runs), row.predictions
        counts = confusion_counts(predictions, classes)
        recalls = [n[i] / n.sum() if n.sum() else np.nan for i, n in enumerate(counts)]
        body = [
            [name, *map(str, line), percent(recall)]
            for name, line, recall in zip(classes, counts, recalls, strict=True)
        ]
        head = ("true \\ predicted", *classes, "recall %")
        said = ", ".join(f"{name} {percent(recall)} %" for name, recall in zip(classes, recalls, strict=True))
        alt = f"Confusion matrix of {row.name}. Recall: {said}."
        numbers = Table(f"confusion-{place}", f"{row.name}: clips by class", head, body)
        pictures.append(picture(confusion(predictions, classes, title=row.name), alt, "", numbers))
    text = "Rows are the true classes. The shade is the share of the row, the number counts clips of all its runs."
    return Section("Confusion", text + rows_shown_note(len(pictures), len(rows)), pictures, small=True)


def map_section(rows: Sequence[Row]) -> Section:
    """Maps of one run a row, all of one fold and seed, in which each clip keeps its place."""
    shown = _comparable(rows)
    classes = run_classes(shown.values())
    found = {name: {space: separation(run, space) for space in embedding_spaces(run)} for name, run in shown.items()}
    spaces = list(dict.fromkeys(space for one in found.values() for space in one))
    cells = [[name, *(number(one.get(space)) for space in spaces)] for name, one in found.items()]
    caption = "Silhouette of the classes (cosine, before the map)"
    numbers = Table("maps", caption, ("objective", *spaces), cells)
    config = next(iter(shown.values())).config
    alt = f"UMAP scatter plots of the test clips by class, one panel each for {'; '.join(shown)}."
    beside = f"Fold {config.data.fold}, seed {config.training.seed}: one run of each row."
    text = (
        "UMAP of the unit-norm pooled embeddings of the test clips, both modalities side by side, dropout off: what "
        "the classifier sees. The maps are laid out together (AlignedUMAP), so that a clip keeps its place and moves "
        "only where its neighbours change. Neighbours mean something; the size of clusters, the gaps between them and "
        "the axes do not. A map is an illustration and no measurement; the silhouettes below it are (1: classes "
        "apart, 0: mixed, below 0: nearer to another class)."
    )
    pictures = [picture(embedding_map(shown, classes=classes), alt, beside, numbers)]
    return Section("Maps of the embedding spaces", text + rows_shown_note(len(shown), len(rows)), pictures)


def geometry_sections(table: pd.DataFrame) -> Iterator[Section]:
    """Geometry beside UA, where any was measured.

    Args:
        table: the rows of the test list itself.
    """
    columns = [
        name for name in map(str, table.columns) if name.split("_", 1)[-1] in MEASURES or name.startswith("projected_")
    ]
    columns = [name for name in columns if table[name].notna().any()]
    if not columns:
        return
    cells = [
        [f"{place}  {values['objective']}", percent(values["UA"]), *(number(values[name]) for name in columns)]
        for place, values in enumerate(records(table), start=1)
    ]
    head = ("row", "UA %", *(name.replace("_", " ") for name in columns))
    caption = "UA and geometry, mean of the runs"
    numbers = Table("geometry", caption, head, cells, table[["objective", "UA", *columns]])
    alt = "Scatter plots of UA against alignment, uniformity, modality gap and effective rank; the numbers are below."
    text = (
        "On unit-norm pooled classifier inputs of the test clips, dropout off. Alignment: mean squared distance of "
        "the two views of a clip (two dropout masks inside a modality; audio and text across). Uniformity: log of the "
        "mean of exp(-2 d²) over pairs of clips (arXiv 2005.10242). Lower is better in both. Modality gap: distance of "
        "the two centres (arXiv 2203.02053). Effective rank: directions in use. Measures across modalities need one "
        "width for both. What goes with UA here need not be its cause."
    )
    yield Section("Geometry beside accuracy", text, [picture(geometry_scatter(table), alt, "", numbers)])


def panel_rows(rows: Sequence[Row]) -> list[Row]:
    """The first `PANELS` rows; where there are more, the first row of Turbo takes the last place."""
    turbo = [row for row in rows if row.objective == "turbo"][:1]
    first = [row for row in rows if row not in turbo][: PANELS - len(turbo)]
    return [row for row in rows if row in first or row in turbo]


def _comparable(rows: Sequence[Row]) -> dict[str, Run]:
    """One run for each row with a panel, of the fold and seed that most rows have, all with the same test clips."""
    rows = panel_rows(rows)
    keys = Counter((run.config.data.fold, run.config.training.seed) for row in rows for run in row.runs)
    most = max(keys.values())
    fold, seed = min(key for key, count in keys.items() if count == most)
    found: dict[str, Run] = {}
    clips: set[str] = set()
    for row in rows:
        run = next((run for run in row.runs if (run.config.data.fold, run.config.training.seed) == (fold, seed)), None)
        if run is None:
            continue
        ids = set(run.fold["test"]["id"])
        clips = clips or ids
        if ids == clips:
            found[row.name] = run
    return found


def _epoch(history: pd.DataFrame, epoch: int) -> str:
    if epoch not in history.index:
        return "-"
    return f"{percent(history['dev_UA'][epoch])} / {number(history['dev_loss'][epoch])}"


def rows_shown_note(shown: int, total: int) -> str:
    return f" {shown} of {total} rows are shown." if shown < total else ""
