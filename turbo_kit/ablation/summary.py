"""The summary of many runs: one row an objective, with intervals and the difference to the baseline."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from turbo_kit.config import InputError
from turbo_kit.metrics import paired_difference, speaker_bootstrap, verdict
from turbo_kit.objectives import PRESETS
from turbo_kit.runs import Run

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "ce-2pass"
"""What every row is compared with: it sees as many dropout masks as the two-pass objectives."""

ONLY_FOR_PAIRS = (
    "contrastive_weight",
    "temperature",
    "similarity",
    "direction",
    "negatives",
    "normalize_pairs",
    "exclude",
)
"""Knobs that change nothing where an objective has no pairs."""


@dataclass(frozen=True)
class Row:
    """Runs that differ in fold and seed alone, and the name that tells them from the others."""

    name: str
    objective: str
    differs: dict[str, Any]
    """What differs among the rows, as this row has it: knobs, source revision, encoder weights."""
    runs: tuple[Run, ...]

    @property
    def predictions(self) -> "pd.DataFrame":
        """The test predictions of all runs below one another, with the columns seed and fold."""
        import pandas as pd

        configs = [(run, run.config) for run in self.runs]
        parts = [run.predictions("test").assign(seed=config.seed, fold=config.fold) for run, config in configs]
        return pd.concat(parts, ignore_index=True)


def summary_rows(runs: Sequence[Run]) -> list[Row]:
    """Groups runs: only those that agree in all but fold and seed share a row; the baseline comes first.

    Raises:
        InputError: no run, or two runs of one setting with the same fold and seed.
    """
    if not runs:
        raise InputError("no finished run to summarise: train and evaluate at least one.")
    facts = {run: _facts(run) for run in runs}
    differing = [
        key for key in next(iter(facts.values())) if len({_text(fact.get(key)) for fact in facts.values()}) > 1
    ]
    differing = [key for key in differing if key != "objective"]
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run, fact in facts.items():
        groups.setdefault((fact["objective"], *(_text(fact.get(key)) for key in differing)), []).append(run)
    rows = []
    for members in groups.values():
        fact = facts[members[0]]
        members.sort(key=lambda run: (run.config.fold, run.config.seed))
        rows.append(Row("", fact["objective"], {key: fact.get(key) for key in differing}, tuple(members)))
        _check_once(members)
    rows.sort(key=_place)
    return [Row(name, row.objective, row.differs, row.runs) for name, row in zip(_names(rows), rows, strict=True)]


def summary_table(runs: Sequence[Run]) -> "pd.DataFrame":
    """One row an objective: what the runs gave on test, over folds and seeds.

    Args:
        runs: finished runs; those that are trained but not evaluated are left out.

    Returns:
        `objective` first, then the counts of runs, folds, seeds, clips and speakers; `UA` with `UA_low` and `UA_high`
        (95 %, resampling speakers), `WA`, `macro_F1`; `difference`, `difference_low`, `difference_high` in UA to the
        baseline and `verdict`; means over the runs of `EER`, `ROC_AUC`, `R@k` and the geometry, where they are known.
        All scores are shares of 1.

    Raises:
        InputError: no finished run, or two runs of one setting with the same fold and seed.
    """
    import pandas as pd

    rows = summary_rows([run for run in runs if run.done])
    frames = {row.name: row.predictions for row in rows}
    return pd.DataFrame([_summary(row, rows, frames) for row in rows])


def _summary(row: Row, rows: Sequence[Row], frames: "dict[str, pd.DataFrame]") -> dict[str, Any]:
    frame = frames[row.name]
    labelled = frame["label"].notna().any()
    unknown = {"mean": None, "low": None, "high": None}
    ua, wa = (speaker_bootstrap(frame, name) if labelled else unknown for name in ("UA", "WA"))
    scores = [run.result["metrics"]["test"] for run in row.runs]
    values: dict[str, Any] = {
        "objective": row.name,
        "runs": len(row.runs),
        "folds": frame["fold"].nunique(),
        "seeds": frame["seed"].nunique(),
        "clips": frame["id"].nunique(),
        "speakers": frame["speaker"].nunique(),
        "UA": _number(ua["mean"]),
        "UA_low": _number(ua["low"]),
        "UA_high": _number(ua["high"]),
        "WA": _number(wa["mean"]),
        "macro_F1": _mean([score["macro_F1"] for score in scores]),
    }
    values |= _difference(row, rows, frames)
    for name in ("EER", "ROC_AUC"):
        if any(name in score for score in scores):
            values[name] = _mean([score.get(name) for score in scores])
    flat = [_retrieval(score) | _geometry(score) for score in scores]
    for name in dict.fromkeys(name for one in flat for name in one):
        values[name] = _mean([one.get(name) for one in flat])
    return values


def _difference(row: Row, rows: Sequence[Row], frames: "dict[str, pd.DataFrame]") -> dict[str, Any]:
    """UA minus that of the baseline on the same clips and seeds, where there is one."""
    names = ("difference", "difference_low", "difference_high")
    nothing: dict[str, Any] = dict.fromkeys(names, np.nan)
    if row.objective == BASELINE:
        return nothing | {"verdict": "baseline"}
    clips = _clips(frames[row.name])
    for other in _baselines(row, rows):
        if clips and _clips(frames[other.name]) == clips:
            found = paired_difference(frames[row.name], frames[other.name])
            numbers = [_number(found[key]) for key in ("mean", "low", "high")]
            return dict(zip(names, numbers, strict=True)) | {"verdict": verdict(found)}
    return nothing | {"verdict": "not compared"}


def _clips(frame: "pd.DataFrame") -> set[tuple[Any, ...]]:
    """What has to be the same for a paired comparison: the labelled clips, seed by seed."""
    labelled = frame[frame["label"].notna()]
    return set(labelled[["id", "seed", "speaker", "label"]].itertuples(index=False, name=None))


def _baselines(row: Row, rows: Sequence[Row]) -> list[Row]:
    """The baseline rows that share all that matters to the baseline with `row`, the most alike first."""
    found = []
    for other in rows:
        differs = {key for key, value in row.differs.items() if value != other.differs[key]}
        if other.objective == BASELINE and differs <= set(idle_knobs(other)):
            found.append((len(differs), other))
    return [other for _, other in sorted(found, key=lambda pair: pair[0])]


def idle_knobs(row: Row) -> tuple[str, ...]:
    """The knobs that change nothing in this row."""
    preset = PRESETS.get(row.objective)
    pairs = preset is None or "pairs" in preset.options or any(run.config.pair_weights for run in row.runs)
    return () if pairs else ONLY_FOR_PAIRS


def _facts(run: Run) -> dict[str, Any]:
    """All that must agree for two runs to be repetitions of one another."""
    values = run.config.to_dict()
    del values["fold"], values["seed"]
    result = run.result
    return values | {key: result.get(key) for key in ("source", "encoders")}


def _names(rows: Sequence[Row]) -> list[str]:
    """The objective, and what differs; knobs that change nothing only where two rows would be called the same.

    The weight of the pairs as a whole is each objective's own affair, and is named where one objective has several.
    """
    short = [_name(row, (*idle_knobs(row), "contrastive_weight")) for row in rows]
    fuller = [
        _name(row, idle_knobs(row)) if short.count(name) > 1 else name for name, row in zip(short, rows, strict=True)
    ]
    return [_name(row, ()) if fuller.count(name) > 1 else name for name, row in zip(fuller, rows, strict=True)]


def _name(row: Row, silent: Sequence[str]) -> str:
    parts = [f"{key}={_brief(value)}" for key, value in row.differs.items() if key not in silent]
    return ", ".join([row.objective, *parts])


def _brief(value: Any) -> str:
    """A value as a row's name shows it: digests cut to eight digits, a dict as key:value."""
    if isinstance(value, dict):
        return " ".join(f"{key}:{_brief(item)}" for key, item in value.items()) or "none"
    text = str(value)
    return text[:8] if len(text) >= 32 and all(c in "0123456789abcdef" for c in text) else text


def _place(row: Row) -> tuple[Any, ...]:
    """The baseline first, then the order of the presets, then the values of what differs."""
    known = list(PRESETS)
    order = known.index(row.objective) if row.objective in known else len(known)
    values = [
        (0, value, "") if isinstance(value, int | float) else (1, 0.0, _text(value)) for value in row.differs.values()
    ]
    return (row.objective != BASELINE, order, row.objective, values)


def _check_once(runs: Sequence[Run]) -> None:
    seen: dict[tuple[int, int], Run] = {}
    for run in runs:
        fold, seed = run.config.fold, run.config.seed
        if (fold, seed) in seen:
            raise InputError(
                f"{seen[fold, seed].folder} and {run.folder} are one setting with the same fold {fold} and seed "
                f"{seed}, from different clips: keep runs of different corpora in different folders."
            )
        seen[fold, seed] = run


def _retrieval(scores: dict[str, Any]) -> dict[str, float | None]:
    found = scores.get("retrieval")
    if not found:
        return {}
    both = [found["audio_to_text"], found["text_to_audio"]]
    means = {k: _mean([one[k] for one in both]) for k in both[0]}
    directions = {f"{way}_{k}": value for way, recalls in found.items() for k, value in recalls.items()}
    return means | directions


def _geometry(scores: dict[str, Any]) -> dict[str, float | None]:
    """The measures under flat names: `audio_uniformity`, `audio-text_alignment`, `projected_audio_uniformity`, ..."""
    flat: dict[str, float | None] = {}
    for space, parts in scores.get("geometry", {}).items():
        prefix = "" if space == "pooled" else f"{space}_"
        for part, measures in ({**parts, **parts["cross_modal"]}).items():
            if part != "cross_modal":
                flat |= {f"{prefix}{part}_{name}": value for name, value in measures.items()}
    return flat


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
