"""The rows of a summary: which runs are repetitions of one another, and which rows may be compared."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from turbo_kit.board import PRESETS
from turbo_kit.config import InputError, unknown
from turbo_kit.report.naming import board_name, row_names
from turbo_kit.report.rows import BASELINE, CONTRASTIVE_OPTIONS, Row
from turbo_kit.runs import Run


def summary_rows(runs: Sequence[Run], baseline: str = BASELINE) -> list[Row]:
    """Groups runs into rows: runs of a row agree in everything but fold, seed and searched options; the baseline first.

    Args:
        runs: finished runs.
        baseline: the objective that the others are compared with, or the name of one row that all others are.

    Returns:
        The rows; one that was also tested without a modality is followed by a row for each such test.

    Raises:
        InputError: no run, no run of a baseline other than the default, two runs of one setting with the same fold
            and seed, or two values that a search chose for one fold.
    """
    if not runs:
        raise InputError("no finished run to summarise: train and evaluate at least one.")
    facts = {run: run_facts(run) for run in runs}
    objectives = {fact["objective"] for fact in facts.values()}
    settings = {run: row_setting(fact) for run, fact in facts.items()}
    differing = [
        key for key in next(iter(settings.values())) if len({_text(one.get(key)) for one in settings.values()}) > 1
    ]
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run, one in settings.items():
        groups.setdefault(tuple(_text(one.get(key)) for key in differing), []).append(run)
    rows = []
    for members in groups.values():
        members.sort(key=lambda run: (facts[run]["fold"], facts[run]["seed"]))
        _check_once(members, facts)
        one = settings[members[0]]
        differs = {key: one.get(key) for key in differing if key != "objective"}
        rows.append(Row("", one["objective"], differs, tuple(members), chosen=_chosen(members, facts)))
    rows.sort(key=lambda row: _place(row, baseline))
    names = row_names(rows, [unused_options(row) for row in rows])
    if baseline not in {*objectives, *names, BASELINE}:
        raise unknown("baseline", baseline, {*objectives, *names})
    named = [replace(row, name=name) for name, row in zip(names, rows, strict=True)]
    if baseline not in objectives:
        named.sort(key=lambda row: row.name != baseline)
    return [part for row in named for part in (row, *_without(row))]


def run_facts(run: Run) -> dict[str, Any]:
    """The config of a run, the revision of the kit that trained it, and the weights of its encoders."""
    result = run.result
    return run.config.to_dict() | {key: result.get(key) for key in ("source", "encoders")}


def row_setting(facts: dict[str, Any]) -> dict[str, Any]:
    """What must agree for two runs to share a row; a searched option as the values it was chosen from."""
    searched = {knob: values for knob, values in facts["searched"].items() if knob != "seed"}
    return {key: value for key, value in facts.items() if key not in ("fold", "seed")} | searched


def matching_baselines(row: Row, rows: Sequence[Row], baseline: str) -> list[Row]:
    """The baseline rows that agree with `row` in every option used by both, the most similar first; a named row always.

    Contrastive weight, pair weights and R-Drop's alpha belong to an objective and may differ; the last two only where
    the baseline has its preset's values.
    """
    if all(other.objective != baseline for other in rows):
        return [other for other in rows if other.name == baseline]
    found = []
    for other in rows:
        if not is_baseline(other, baseline) or other.split != row.split:
            continue
        own = [key for key in ("pair_weights", "r_drop_alpha") if not other.differs.get(key)]
        free = {"contrastive_weight", "searched", *own, *unused_options(other), *unused_options(row)}
        differs = {key for key, value in row.differs.items() if value != other.differs[key]}
        if differs <= free:
            found.append((len(differs), other))
    return [other for _, other in sorted(found, key=lambda pair: pair[0])]


def is_baseline(row: Row, baseline: str) -> bool:
    """Whether others are compared with this row; its objective with other pair weights is itself compared."""
    return row.name == baseline or (row.objective == baseline and not row.differs.get("pair_weights"))


def unused_options(row: Row) -> tuple[str, ...]:
    """The options that change nothing in this row."""
    preset = PRESETS.get(row.objective)
    contrastive = preset is None or preset.contrastive or row.runs[0].config.loss.pair_weights
    return () if contrastive else CONTRASTIVE_OPTIONS


def _chosen(runs: Sequence[Run], facts: dict[Run, dict[str, Any]]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for knob in facts[runs[0]]["searched"]:
        if knob == "seed":
            continue
        found[knob] = {}
        for run in runs:
            fold, value = facts[run]["fold"], facts[run][knob]
            if found[knob].setdefault(fold, value) != value:
                raise InputError(
                    f"{run.folder}: {knob} is {value:g}, and another run of fold {fold} has {found[knob][fold]:g}, "
                    "both chosen by a search: a search chooses one value a fold; keep two searches in two folders."
                )
    return found


def _without(row: Row) -> list[Row]:
    """The tests of these runs with one modality missing, as separate rows."""
    if not row.runs[0].config.model.modality_dropout:
        return []
    tested = [run.result["metrics"] for run in row.runs]
    splits = [name for name in tested[0] if name.startswith("test without ") and all(name in one for one in tested)]
    return [replace(row, name=f"{row.name}, {split.removeprefix('test ')}", split=split) for split in splits]


def _place(row: Row, baseline: str) -> tuple[Any, ...]:
    """A sort key: the baseline first, then the order of the presets, the preset's pairs, the differing values."""
    known = list(PRESETS)
    order = known.index(row.objective) if row.objective in known else len(known)
    board = board_name(row.objective, row.differs.get("pair_weights") or {})
    values = []
    for key, value in row.differs.items():
        value = not value if key == "normalize_pairs" else value  # the plain sum stands beside the headline
        number = isinstance(value, int | float)
        values.append((0, value, "") if number else (1, 0.0, _text(value) if value else ""))
    return (row.objective != baseline, order, row.objective, board, values)


def _check_once(runs: Sequence[Run], facts: dict[Run, dict[str, Any]]) -> None:
    seen: dict[tuple[int, int], Run] = {}
    for run in runs:
        fold, seed = facts[run]["fold"], facts[run]["seed"]
        if (fold, seed) in seen:
            raise InputError(
                f"{seen[fold, seed].folder} and {run.folder} are one setting with the same fold {fold} and seed "
                f"{seed}, from different clips or searches: keep runs of different corpora or searches in different "
                "folders."
            )
        seen[fold, seed] = run


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
