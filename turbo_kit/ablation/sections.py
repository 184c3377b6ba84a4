"""The figures of the report, each with the table of what it shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from turbo_kit.ablation.summary import Row
from turbo_kit.ablation.wording import interval, number, percent, records
from turbo_kit.figures import (
    confusion,
    confusion_counts,
    embedding_map,
    geometry_bars,
    inline_svg,
    learning_curves,
    run_classes,
    score_intervals,
)
from turbo_kit.maps import embedding_spaces, separation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PANELS = 8
"""So many rows, from the first, get a confusion matrix and a map; the report says where there are more."""
MAPS_PER_FIGURE = 4
MEASURES = ("alignment", "uniformity", "modality_gap", "effective_rank")


@dataclass(frozen=True)
class Table:
    """A table of the page: texts, the first cell of each row being its header."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A figure of the page with the table of what it shows."""

    svg: str
    caption: str
    table: Table


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    text: str
    pictures: Sequence[Picture]
    small: bool = False
    """Whether the figures stand beside one another."""


def report_sections(rows: Sequence[Row], table: "pd.DataFrame", maps: bool) -> Iterator[Section]:
    """Every figure of the report with its table, section by section."""
    yield _score_section(table)
    yield _learning_section(rows)
    yield _confusion_section(rows[:PANELS], len(rows))
    if maps:
        yield _map_section(rows[:PANELS], len(rows))
    columns = [
        name for name in map(str, table.columns) if name.split("_", 1)[-1] in MEASURES or name.startswith("projected_")
    ]
    if table[columns].notna().any(axis=None):
        yield _geometry_section(table, columns)


def _score_section(table: "pd.DataFrame") -> Section:
    rows = records(table)
    said = "; ".join(f"{values['objective']} {percent(values['UA'])} {interval(values, 'UA')}" for values in rows)
    cells = [[v["objective"], percent(v["UA"]), interval(v, "UA"), str(v["clips"]), str(v["speakers"])] for v in rows]
    numbers = Table("UA with its interval", ("objective", "UA %", "95 % interval", "clips", "speakers"), cells)
    text = "Where intervals overlap, look at the interval of the difference in the table above: it is the fairer test."
    picture = _picture(score_intervals(table), f"UA on test in percent, with 95 % intervals: {said}.", "", numbers)
    return Section("UA with its interval", text, [picture])


def _learning_section(rows: Sequence[Row]) -> Section:
    import pandas as pd

    means = {}
    for row in rows:
        histories = [run.history.set_index("epoch")[["dev_UA", "dev_loss"]] for run in row.runs]
        shared = min(history.index.max() for history in histories)
        means[row.name] = pd.concat(histories).groupby(level="epoch").mean().loc[:shared]
    epochs = sorted({epoch for history in means.values() for epoch in history.index})
    cells = [[str(epoch), *(_epoch(history, epoch) for history in means.values())] for epoch in epochs]
    numbers = Table("Development UA in percent / cross-entropy, mean of the runs", ("epoch", *means), cells)
    chosen = "; ".join(f"{row.name} {_values([run.result['best_epoch'] for run in row.runs])}" for row in rows)
    alt = f"Two line charts by epoch: development UA and development cross-entropy. Chosen epochs: {chosen}."
    text = (
        "Each mark is the epoch that development data chose for a run; test data had no part in it. Where a row has "
        "several runs they are the thin lines, and their mean is the thick one, as far as all were trained. "
        "The cross-entropy is the classifier's alone, so that objectives can be compared."
    )
    groups = {row.name: row.runs for row in rows}
    return Section("Learning curves", text, [_picture(learning_curves(groups), alt, "", numbers)])


def _confusion_section(rows: Sequence[Row], total: int) -> Section:
    pictures = []
    for row in rows:
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
        figure = confusion(predictions, classes, title=row.name)
        pictures.append(_picture(figure, alt, "", Table(f"{row.name}: clips by class", head, body)))
    text = "Rows are the true classes. The shade is the share of the row, the number counts clips of all its runs."
    return Section("Confusion", text + _shortened(rows, total), pictures, small=True)


def _map_section(rows: Sequence[Row], total: int) -> Section:
    classes = run_classes(row.runs[0] for row in rows)
    pictures = []
    for start in range(0, len(rows), MAPS_PER_FIGURE):
        shown = {row.name: row.runs[0] for row in rows[start : start + MAPS_PER_FIGURE]}
        trials = dict.fromkeys(f"fold {run.config.fold}, seed {run.config.seed}" for run in shown.values())
        found = {
            name: {space: separation(run, space) for space in embedding_spaces(run)} for name, run in shown.items()
        }
        spaces = list(dict.fromkeys(space for one in found.values() for space in one))
        cells = [[name, *(number(one.get(space)) for space in spaces)] for name, one in found.items()]
        numbers = Table("Silhouette of the classes (cosine, before the map)", ("objective", *spaces), cells)
        alt = f"UMAP scatter plots of the test clips by class, one column each for {'; '.join(shown)}."
        caption = f"One run of each row: {'; '.join(trials)}."
        pictures.append(_picture(embedding_map(shown, classes=classes), alt, caption, numbers))
    text = (
        "UMAP of the unit-norm pooled embeddings of the test clips, dropout off: what the classifier sees. Neighbours "
        "mean something; the size of clusters, the gaps between them and the axes do not. A map is an illustration and "
        "no measurement; the silhouettes below it are (1: classes apart, 0: mixed, below 0: nearer to another class)."
    )
    return Section("Maps of the embedding spaces", text + _shortened(rows, total), pictures)


def _geometry_section(table: "pd.DataFrame", columns: Sequence[str]) -> Section:
    cells = [[name.replace("_", " "), *(number(value) for value in table[name])] for name in columns]
    numbers = Table("Geometry, mean of the runs", ("measure", *table["objective"]), cells)
    alt = "Bar charts of alignment, uniformity, modality gap and effective rank by objective; the numbers are below."
    text = (
        "On unit-norm pooled classifier inputs of the test clips, dropout off. Alignment: mean squared distance of "
        "the two views of a clip (two dropout masks inside a modality; audio and text across). Uniformity: log of the "
        "mean of exp(-2 d²) over pairs of clips (arXiv 2005.10242). Modality gap: distance of the two centres "
        "(arXiv 2203.02053). Effective rank: directions in use. Measures across modalities need one width for both."
    )
    return Section("Geometry", text, [_picture(geometry_bars(table), alt, "", numbers)])


def _picture(figure: "Figure", alt: str, caption: str, table: Table) -> Picture:
    from hashlib import sha256

    from markupsafe import Markup

    prefix = "f" + sha256(f"{alt}{table.caption}".encode()).hexdigest()[:8]
    return Picture(Markup(inline_svg(figure, alt, prefix)), caption, table)


def _epoch(history: "pd.DataFrame", epoch: int) -> str:
    if epoch not in history.index:
        return "-"
    ua, loss = history["dev_UA"][epoch], history["dev_loss"][epoch]
    return f"{percent(ua)} / {number(loss)}"


def _values(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _shortened(rows: Sequence[Row], total: int) -> str:
    return f" The first {len(rows)} of {total} rows are shown." if len(rows) < total else ""
