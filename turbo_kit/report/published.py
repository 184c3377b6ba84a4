"""Published results on a corpus, with the protocol of each, beside the rows of a report."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from turbo_kit.figures import run_classes
from turbo_kit.report.page import Section, Table
from turbo_kit.report.rows import Row
from turbo_kit.report.sentences import interval, percent, records


class Published(NamedTuple):
    """One result as it was published; scores in percent, empty where none was given."""

    name: str
    wa: str
    ua: str
    modalities: str
    protocol: str
    source: str


_EMOBOX = "frozen encoder; five folds, each a session"
IEMOCAP = (
    Published("MGCMA (wav2vec2 + BERT)", "78.87", "80.24", "audio and gold text", "five folds", "arXiv 2412.20821"),
    Published(
        "MMER",
        "81.2",
        "",
        "audio and gold text",
        "five folds; its public code chooses the best epoch on the session that it tests",
        "arXiv 2203.16794",
    ),
    Published("WavLM-large", "69.1", "69.5", "audio", _EMOBOX, "EmoBox, arXiv 2406.07162"),
    Published("HuBERT-base", "63.1", "63.9", "audio", _EMOBOX, "EmoBox, arXiv 2406.07162"),
    Published("wav2vec2-base", "57.7", "58.3", "audio", _EMOBOX, "EmoBox, arXiv 2406.07162"),
)
"""IEMOCAP with four classes (happy and excited as one). The Turbo paper's own figures are not among them: its tables
were not at hand."""

TEXT = (
    "Four classes, happy and excited as one. These rows are not comparable with one another: they differ in encoders, "
    "in what is trained, and in how an epoch was chosen; one that was chosen on the tested session is too high. The "
    "kit's own rows leave one session out, choose on another one, and test once. WA is the overall accuracy, UA the "
    "mean recall of the classes; some public code swaps the two."
)


def published_sections(rows: Sequence[Row], table: pd.DataFrame) -> Iterator[Section]:
    """Published results beside the report's own, where all of its runs are of IEMOCAP with four classes.

    Args:
        rows: of the test list itself.
        table: their scores, in the same order.
    """
    runs = [run for row in rows for run in row.runs]
    if not all(run.config.data.corpus.startswith("iemocap:") for run in runs) or len(run_classes(runs)) != 4:
        return
    if any("part=" in run.config.data.corpus for run in runs):  # improvised or scripted turns alone are another task
        return
    own = []
    for row, values in zip(rows, records(table), strict=True):
        config = row.runs[0].config
        encoders = " + ".join(name.rpartition("/")[2] for name in config.modalities.values())  # of a folder or the hub
        seeds = f"{values['seeds']} seed{'s' * (values['seeds'] > 1)}"
        protocol = f"{values['folds']} of 5 folds, {seeds}; epoch chosen on another session"
        shown = f"{percent(values['UA'])} {interval(values, 'UA')}"
        modalities = " and ".join(config.modalities)
        own.append([f"{row.name} ({encoders})", percent(values["WA"]), shown, modalities, protocol, "this report"])
    head = ("result", "WA %", "UA %", "modalities", "protocol", "source")
    caption = "IEMOCAP, four classes: this report and published results"
    yield Section("Published results", TEXT, tables=[Table("published", caption, head, [*own, *map(list, IEMOCAP)])])
