"""The section on missing and noisy modalities."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from turbo_kit.corpora.conditions import GOLD, conditions_of
from turbo_kit.figures import robustness_curves
from turbo_kit.metrics import speaker_bootstrap
from turbo_kit.report.page import Section, Table, picture
from turbo_kit.report.rows import Row
from turbo_kit.report.sentences import interval, percent, records
from turbo_kit.report.summary import mean_of_known
from turbo_kit.runs import Run


def robustness_sections(rows: Sequence[Row]) -> Iterator[Section]:
    """UA of each row by condition, and as curves where it was tested under noise.

    Args:
        rows: of the test list itself.
    """
    if all(_tested(row) == ["test"] for row in rows):
        return
    table = condition_table(rows)
    names = list(dict.fromkeys(row.name for row in rows))
    heads = _ordered(table)
    found = {(line["objective"], line["condition"]): line for line in records(table)}
    cells = [[name, *(_cell(found.get((name, head))) for head in heads)] for name in names]
    caption = "UA in percent with its 95 % interval, by what the test clips lack"
    numbers = Table("robustness", caption, ("objective", *heads), cells, table)
    if table["level"].isna().all():
        yield Section("Missing or noised modality", _text(table), tables=[numbers])
        return
    said = "; ".join(f"{line['objective']}, {line['condition']} {percent(line['UA'])}" for line in records(table))
    alt = f"Line charts of UA on test in percent against word errors and against noise: {said}."
    yield Section("Missing or noised modality", _text(table), [picture(robustness_curves(table), alt, "", numbers)])


def condition_table(rows: Sequence[Row]) -> pd.DataFrame:
    """One line for each row and condition of its test: `objective`, `condition`, `modality`, `level`, `UA` with its
    interval (shares of 1), and `word_error_rate`, the mean of its runs, of the transcripts against gold.

    Args:
        rows: of the test list itself.
    """
    lines = []
    for row in rows:
        levels = {condition.split: condition for condition in conditions_of(row.runs[0].config)}
        results = [run.result for run in row.runs]
        for split in _tested(row):
            condition = levels.get(split)
            lines.append(
                {
                    "objective": row.name,
                    "condition": split.removeprefix("test").removeprefix(" at").strip() or "as is",
                    "modality": condition.modality if condition else split.removeprefix("test").split(" ")[-1],
                    "level": condition.level if condition else np.nan,
                    **_score(replace(row, split=split)),
                    "word_error_rate": mean_of_known([_error_rates(one).get(split) for one in results]),
                }
            )
    return pd.DataFrame(lines)


def _tested(row: Row) -> list[str]:
    """The names of the test conditions that all runs of a row share, the clean test list first."""
    metrics = [run.result["metrics"] for run in row.runs]
    return [name for name in metrics[0] if name.split()[0] == "test" and all(name in one for one in metrics)]


def transcript_sources(runs: Sequence[Run]) -> str:
    """The sources of the transcripts and their word error rates; empty where all are gold."""
    found: dict[str, list[dict[str, float | None]]] = {}
    for run in runs:
        config = run.config
        if config.data.transcripts != GOLD or config.conditions.word_errors:
            found.setdefault(config.data.transcripts, []).append(_error_rates(run.result))
    said = []
    for source, rates in found.items():
        lists = ", ".join(
            f"{name} {percent(mean_of_known([one.get(name) for one in rates]))}" for name in ("train", "dev", "test")
        )
        said.append(f"{source}; word error rate against gold in percent: {lists}")
    return "; ".join(said)


def _text(table: pd.DataFrame) -> str:
    text = "The same models and the same test clips throughout, and no model was chosen by them. "
    if table["condition"].str.startswith("without").any():
        text += "Only a model trained with modality dropout can do without a modality. "
    rates = table[(table["modality"] == "text") & table["level"].notna()]
    if not rates.empty:
        levels = sorted(set(rates["level"].tolist()))
        found = [rates["word_error_rate"][rates["level"] == level].mean() for level in levels]
        reached = ", ".join(f"{percent(rate)} at {100 * level:g}" for level, rate in zip(levels, found, strict=True))
        text += (
            "Word errors: at that rate a word is deleted, or a frequent English word stands in its place; word error "
            f"rate against gold in percent: {reached}. "
        )
    if ((table["modality"] == "audio") & table["level"].notna()).any():
        text += "Noise is white; the ratio is that of the mean power of the whole clip. "
    return text.strip()


def _ordered(table: pd.DataFrame) -> list[str]:
    """The conditions in order: clean, without a modality, increasing word errors, increasing noise."""

    def place(line: dict[str, Any]) -> tuple[float, float]:
        if np.isnan(line["level"]):
            return (-1, 0) if line["condition"] == "as is" else (0, 0)
        return (1, line["level"]) if line["modality"] == "text" else (2, -line["level"])

    return list(dict.fromkeys(line["condition"] for line in sorted(records(table), key=place)))


def _cell(line: dict[str, Any] | None) -> str:
    return "-" if line is None else f"{percent(line['UA'])} {interval(line, 'UA')}"


def _score(row: Row) -> dict[str, float]:
    frame = row.predictions
    found = speaker_bootstrap(frame) if frame["label"].notna().any() else {}
    names = {"UA": "mean", "UA_low": "low", "UA_high": "high"}
    return {name: mean_of_known([found.get(statistic)]) for name, statistic in names.items()}


def _error_rates(result: dict[str, Any]) -> dict[str, float | None]:
    rates: dict[str, float | None] = result.get("transcripts", {}).get("word_error_rate", {})
    return rates
