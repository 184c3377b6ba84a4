"""The summary of many runs: one row an objective, with intervals and the difference to the baseline."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from turbo_kit.figures.embedding_maps import flat_geometry
from turbo_kit.metrics import holm, paired_difference, speaker_bootstrap, verdict
from turbo_kit.report.grouping import is_baseline, matching_baselines, run_facts, summary_rows
from turbo_kit.report.rows import BASELINE, Row
from turbo_kit.runs import Run


def summary_table(runs: Sequence[Run], baseline: str = BASELINE) -> pd.DataFrame:
    """One row an objective: what the runs gave on test, over folds and seeds.

    Args:
        runs: finished runs; those that are trained but not evaluated are left out.
        baseline: the objective that the others are compared with, on the same folds, seeds and clips.

    Returns:
        `objective` first, then the counts of runs, folds, seeds, clips and speakers; `UA` with `UA_sd` (of the single
        runs, over folds and seeds), `UA_low` and `UA_high` (95 %, resampling speakers), `WA`, `macro_F1`;
        `difference`, `difference_low`, `difference_high` in UA to the baseline, `p`, `p_holm` (corrected for all
        comparisons of this table), `effect_size` (Cohen's d_z over speakers) and the `verdict` by `p_holm`; means over
        the runs of `EER`, `ROC_AUC`, `R@k` and the geometry, where they are known. All scores are shares of 1.

    Raises:
        InputError: no finished run, no run of a baseline other than the default, two runs of one setting with the same
            fold and seed, or two values that a search chose for one fold.
    """
    return rows_table(summary_rows([run for run in runs if run.done], baseline), baseline)


def rows_table(rows: Sequence[Row], baseline: str = BASELINE) -> pd.DataFrame:
    """`summary_table` of rows that are there already."""
    frames = {row.name: row.predictions for row in rows}
    found = [_compared(row, rows, frames, baseline) for row in rows]
    corrected = holm([None if one is None else one["p"] for one in found])
    return pd.DataFrame(
        [
            _scores(row, frames[row.name]) | _difference(row, one, p, baseline) | _averages(row)
            for row, one, p in zip(rows, found, corrected, strict=True)
        ]
    )


def search_scores(rows: Sequence[Row], runs: Sequence[Run]) -> pd.DataFrame:
    """The values tried by searches on development data, and their scores there.

    Args:
        rows: what `summary_rows` returned.
        runs: those of the searches, trained and not tested, among any others.

    Returns:
        One line for each search run and each knob that it searched: `row` (its name in `summary_table`), `objective`,
        `normalize_pairs`, `fold`, `knob`, `value` and `dev_UA`. A trained run counts where its config is that of a
        finished run with `searched`, but for the seed and the searched knobs, and its seed is that of the search.
    """
    tried: dict[tuple[str, int], list[tuple[Run, dict[str, Any]]]] = {}
    for run in runs:
        if not run.done and (run.folder / "result.json").is_file():
            facts = run_facts(run)
            tried.setdefault((facts["objective"], facts["fold"]), []).append((run, facts))
    lines: list[dict[str, Any]] = []
    for row in (row for row in rows if row.split == "test"):
        by_fold = {facts["fold"]: facts for facts in map(run_facts, row.runs if row.chosen else ())}
        for fold, facts in by_fold.items():
            for run, other in tried.get((row.objective, fold), ()):
                if _of_search(other, facts):
                    shared = {"row": row.name, "objective": row.objective, "normalize_pairs": facts["normalize_pairs"]}
                    score = _number(run.result["metrics"]["dev"]["UA"])
                    lines += [
                        shared | {"fold": fold, "knob": knob, "value": other[knob], "dev_UA": score}
                        for knob in row.chosen
                    ]
    columns = ["row", "objective", "normalize_pairs", "fold", "knob", "value", "dev_UA"]
    return pd.DataFrame(lines, columns=columns)


def _of_search(facts: dict[str, Any], settled: dict[str, Any]) -> bool:
    """Whether a run belongs to the search that chose the options of another run."""
    searched = settled["searched"]
    same = all(facts[key] == value for key, value in settled.items() if key not in ("searched", "seed", *searched))
    return same and all(facts[knob] in values for knob, values in searched.items())


def _scores(row: Row, frame: pd.DataFrame) -> dict[str, Any]:
    labelled = frame["label"].notna().any()
    unknown = {"mean": None, "low": None, "high": None}
    ua, wa = (speaker_bootstrap(frame, name) if labelled else unknown for name in ("UA", "WA"))
    scores = _metrics(row)
    single = [score["UA"] for score in scores if score["UA"] is not None]
    return {
        "objective": row.name,
        "runs": len(row.runs),
        "folds": frame["fold"].nunique(),
        "seeds": frame["seed"].nunique(),
        "clips": frame["id"].nunique(),
        "speakers": frame["speaker"].nunique(),
        "UA": _number(ua["mean"]),
        "UA_sd": float(np.std(single, ddof=1)) if len(single) > 1 else float("nan"),
        "UA_low": _number(ua["low"]),
        "UA_high": _number(ua["high"]),
        "WA": _number(wa["mean"]),
        "macro_F1": mean_of_known([score["macro_F1"] for score in scores]),
    }


def _compared(
    row: Row, rows: Sequence[Row], frames: dict[str, pd.DataFrame], baseline: str
) -> dict[str, float | None] | None:
    """UA minus that of the baseline on the same clips and seeds, where there is one."""
    clips = set() if is_baseline(row, baseline) else _clips(frames[row.name])
    for other in matching_baselines(row, rows, baseline) if clips else ():
        if _clips(frames[other.name]) == clips:
            return paired_difference(frames[row.name], frames[other.name])
    return None


def _difference(row: Row, found: dict[str, float | None] | None, p: float | None, baseline: str) -> dict[str, Any]:
    if found is None:
        columns = ("difference", "difference_low", "difference_high", "p", "p_holm", "effect_size")
        word = "baseline" if is_baseline(row, baseline) else "not compared"
        return dict.fromkeys(columns, np.nan) | {"verdict": word}
    return {
        "difference": _number(found["mean"]),
        "difference_low": _number(found["low"]),
        "difference_high": _number(found["high"]),
        "p": _number(found["p"]),
        "p_holm": _number(p),
        "effect_size": _number(found["effect_size"]),
        "verdict": verdict(found, p),
    }


def _clips(frame: pd.DataFrame) -> set[tuple[Any, ...]]:
    """What must be equal in a paired comparison: the labelled clips of each seed."""
    labelled = frame[frame["label"].notna()]
    return set(labelled[["id", "seed", "speaker", "label"]].itertuples(index=False, name=None))


def _averages(row: Row) -> dict[str, Any]:
    """Scores without an interval, as means over the runs."""
    flat = []
    for score in _metrics(row):
        two_classes = {name: score[name] for name in ("EER", "ROC_AUC") if name in score}
        flat.append(two_classes | _retrieval(score) | flat_geometry(score.get("geometry", {})))
    names = dict.fromkeys(name for one in flat for name in one)
    return {name: mean_of_known([one.get(name) for one in flat]) for name in names}


def _metrics(row: Row) -> list[dict[str, Any]]:
    return [run.result["metrics"][row.split] for run in row.runs]


def _retrieval(scores: dict[str, Any]) -> dict[str, float | None]:
    found = scores.get("retrieval")
    if not found:
        return {}
    both = [found["audio_to_text"], found["text_to_audio"]]
    means = {k: mean_of_known([one[k] for one in both]) for k in both[0]}
    directions = {f"{way}_{k}": value for way, recalls in found.items() for k, value in recalls.items()}
    return means | directions


def mean_of_known(values: Sequence[float | None]) -> float:
    """The mean of the values that are not None; NaN where there are none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
