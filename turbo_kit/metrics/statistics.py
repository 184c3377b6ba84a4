"""Intervals and tests over speakers: neither the clips of a speaker nor the seeds of a clip are independent data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.metrics.detection import Floats, crossing

if TYPE_CHECKING:
    import pandas as pd

Statistic = Literal["UA", "WA"]

SIGNIFICANCE = 0.05
"""A p value up to here, beside a 95 % interval that leaves out 0, makes a difference."""

EXACT_UP_TO = 16
"""So many speakers have all their 2^speakers swaps counted; more have FLIPS of them drawn at random."""

FLIPS = 99_999


def speaker_bootstrap(
    frame: "pd.DataFrame", statistic: Statistic = "UA", resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> dict[str, float | None]:
    """Score and its interval, by resampling speakers with all their clips and all the seeds of each clip.

    The score is computed for each seed over its clips (of all folds together) and averaged over the seeds. The
    interval is the expanded percentile interval of T. Hesterberg (arXiv 1411.5279), since plain percentiles are too
    narrow for few speakers; below about ten speakers even this one is.

    Args:
        frame: one row for each clip and seed, with the columns id, speaker, label, predicted and seed; rows without a
            label are left out.
        statistic: ``"UA"`` (mean recall of the classes that occur in the resample) or ``"WA"`` (accuracy).
        resamples: how often the speakers are drawn.
        level: share of such intervals that is meant to hold the truth.
        seed: of the draws.

    Returns:
        ``mean``, ``low``, ``high``; the last two are None where there is only one speaker to draw from.

    Raises:
        InputError: a column is missing, nothing is labelled, a labelled row has a gap, a clip occurs twice under one
            seed or has two speakers, or statistic, resamples or level cannot be used.
    """
    hit, total = _counts(_tidy(frame, "frame"), statistic)
    return _interval(_resampled(hit, total, resamples, seed), total.shape[1], level)


def detection_bootstrap(
    frame: "pd.DataFrame",
    statistic: Literal["EER", "ROC_AUC"] = "EER",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float | None]:
    """EER or ROC-AUC and its interval, by resampling speakers as `speaker_bootstrap` does.

    The scores of two models lie on no common scale. So each run, one fold and seed, is scored by itself over its own
    clips, and the mean over the runs is taken. A run that a draw leaves without one of the classes takes no part.

    Args:
        frame: one row for each clip and run, with the columns speaker, fold, seed, positive (whether the clip belongs
            to the positive class) and score.
        statistic: which of the two.
        resamples, level, seed: as for `speaker_bootstrap`.

    Returns:
        As `speaker_bootstrap`; all None where no run has clips of both classes.
    """
    speaker, names = frame["speaker"].factorize(sort=True)
    positive, score = frame["positive"].to_numpy(bool), frame["score"].to_numpy(float)
    times = _draws(len(names), resamples, seed)
    clips_of_runs = frame.groupby(["fold", "seed"]).indices.values()
    runs = np.array([_detection(times[:, speaker[i]], positive[i], score[i], statistic) for i in clips_of_runs])
    found = _mean_of_drawn(np.nan_to_num(runs), ~np.isnan(runs), axis=0)
    defined = ~np.isnan(runs).all(axis=0)
    if not defined[0]:
        return {"mean": None, "low": None, "high": None}
    return _interval(found[defined], len(names), level)


def paired_difference(
    frame_a: "pd.DataFrame",
    frame_b: "pd.DataFrame",
    statistic: Statistic = "UA",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float | None]:
    """Score of a minus score of b on the same clips, with an interval and a test that keep each speaker whole.

    The interval draws the same speakers for both. The test swaps the predictions of a and b for all clips and seeds
    of a speaker together (R. A. Fisher, The Design of Experiments, 1935, chapter III, with speakers for his pairs of
    plants): both models score the same clips, so the difference is the sum of one contribution a speaker, and a swap
    turns its sign. All swaps are counted up to 16 speakers, else 99,999 random ones and the data themselves
    (arXiv 1603.05766).

    Interval and test answer for the choice of the test speakers, given the trained models and, through the seeds,
    an average over them. They do not answer for other training speakers; and where clips of several folds are put
    together, the models of the folds share most of their training speakers, which neither accounts for.

    Args:
        frame_a: as for ``speaker_bootstrap``.
        frame_b: the same clips under the same seeds, with other predictions.
        statistic, resamples, level: as for ``speaker_bootstrap``.
        seed: as for ``speaker_bootstrap``, and of the random swaps.

    Returns:
        ``mean``, ``low``, ``high`` of a - b; ``p``, two-sided, None with one speaker, and never below
        2^(1 - speakers); ``effect_size``, Cohen's d_z: the mean of the speakers' contributions over their standard
        deviation, None with one speaker or where all contribute alike. See ``holm`` and ``verdict``.

    Raises:
        InputError: as for ``speaker_bootstrap``, or the two differ in clips, seeds, speakers or labels.
    """
    a, b = _tidy(frame_a, "frame_a"), _tidy(frame_b, "frame_b")
    _check_same(a, b)
    (hit_a, total), (hit_b, _) = _counts(a, statistic), _counts(b, statistic)
    differences = _resampled(hit_a, total, resamples, seed) - _resampled(hit_b, total, resamples, seed)
    found = _interval(differences, total.shape[1], level)
    contributions = _contributions(hit_a - hit_b, total)
    return found | {"p": _sign_flip(contributions, seed), "effect_size": _effect_size(contributions)}


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrects p values for their number, so that one false alarm among them all is as rare as p says.

    Holds whatever the dependence between the tests (S. Holm, A simple sequentially rejective multiple test procedure,
    Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: one for each comparison; None or NaN where there is none, which does not count.

    Returns:
        The corrected values in the same order, None and NaN as they came.
    """
    from statsmodels.stats.multitest import multipletests

    known = [place for place, p in enumerate(p_values) if p is not None and not np.isnan(p)]
    corrected = list(p_values)
    if known:
        values = multipletests([p_values[place] for place in known], method="holm")[1]
        for place, value in zip(known, values, strict=True):
            corrected[place] = float(value)
    return corrected


def verdict(difference: Mapping[str, float | None], p: float | None = None) -> str:
    """Put a paired difference into words.

    Args:
        difference: what ``paired_difference`` returned.
        p: the p value to go by, such as one corrected by ``holm``; None = the difference's own.

    Returns:
        ``"better"`` or ``"worse"`` where the whole interval lies on one side of 0 and p is 0.05 at most, else
        ``"cannot tell"``.
    """
    low, high = difference["low"], difference["high"]
    p = difference["p"] if p is None else p
    if low is None or high is None or low <= 0 <= high or p is None or not p <= SIGNIFICANCE:
        return "cannot tell"
    return "better" if low > 0 else "worse"


def _counts(frame: "pd.DataFrame", statistic: Statistic) -> tuple[Floats, Floats]:
    """The clips that are right, and all clips: (seeds, speakers, classes) each, all classes as one for WA."""
    if statistic not in ("UA", "WA"):
        raise InputError(f"statistic is {statistic!r}, expected 'UA' or 'WA'")
    index = [frame[column].factorize(sort=True)[0] for column in ("seed", "speaker", "label")]
    total = np.zeros([codes.max() + 1 for codes in index])
    hit = np.zeros_like(total)
    np.add.at(total, tuple(index), 1)
    np.add.at(hit, tuple(index), frame["predicted"].eq(frame["label"]).to_numpy())
    return (hit, total) if statistic == "UA" else (hit.sum(axis=2, keepdims=True), total.sum(axis=2, keepdims=True))


def _contributions(gain: Floats, total: Floats) -> Floats:
    """(speakers,) parts of the score that sum to it, from right (or more right) clips and all clips."""
    clips = total.sum(axis=1, keepdims=True)
    share = np.divide(gain, clips, out=np.zeros_like(gain), where=clips > 0)
    return np.asarray((share.sum(axis=2) / (clips > 0).sum(axis=2)).mean(axis=0))


def _sign_flip(contributions: Floats, seed: int) -> float | None:
    """Two-sided p of the sum of the contributions, where each may as well have had the other sign."""
    if (speakers := len(contributions)) < 2:
        return None
    noise = 1e-9 * np.abs(contributions).sum()  # a swap that gives the same sum but for rounding counts as the same
    reached = abs(contributions.sum()) - noise
    if speakers <= EXACT_UP_TO:
        swapped = np.arange(2**speakers)[:, None] >> np.arange(speakers) & 1
        return float((np.abs((1 - 2 * swapped) @ contributions) >= reached).mean())
    rng, count = np.random.default_rng(seed), 1
    for start in range(0, FLIPS, 1000):  # a part at a time, for the memory that many speakers would need
        swapped = rng.integers(2, size=(min(1000, FLIPS - start), speakers))
        count += int((np.abs((1 - 2 * swapped) @ contributions) >= reached).sum())
    return count / (1 + FLIPS)


def _effect_size(contributions: Floats) -> float | None:
    deviation = contributions.std(ddof=1) if len(contributions) > 1 else 0.0
    alike = deviation <= 1e-9 * np.abs(contributions).max()
    return None if alike else float(contributions.mean() / deviation)


def _resampled(hit: Floats, total: Floats, resamples: int, seed: int) -> Floats:
    """(1 + resamples,) scores: of the data as they are, then of each draw of speakers."""
    times = _draws(total.shape[1], resamples, seed)
    hit, total = times @ hit, times @ total  # (seeds, 1 + resamples, classes)
    # A class, or a whole seed, whose clips were not drawn takes no part in the mean.
    recall = np.divide(hit, total, out=np.zeros_like(hit), where=total > 0)
    return _mean_of_drawn(_mean_of_drawn(recall, total, axis=2), total.sum(axis=2), axis=0)


def _draws(speakers: int, resamples: int, seed: int) -> Floats:
    """(1 + resamples, speakers) how often each speaker is drawn: first the data as they are, each speaker once."""
    if resamples < 1:
        raise InputError(f"resamples is {resamples}, expected at least 1, such as 2000")
    drawn = np.random.default_rng(seed).multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)
    return np.vstack([np.ones(speakers), drawn])


def _detection(times: Floats, positive: NDArray[np.bool_], score: Floats, statistic: str) -> Floats:
    """(R,) EER or ROC-AUC where clip n is there times[r, n] times; NaN where a class is not there at all."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # of the clips of one score
    rates = []
    for of in (~positive, positive):
        accepted = np.cumsum(times[:, order] * of[order], axis=1)[:, last]
        all_of = accepted[:, -1:]
        share = np.divide(accepted, all_of, out=np.full_like(accepted, np.nan), where=all_of > 0)
        rates.append(np.pad(share, ((0, 0), (1, 0))))  # at first nothing is accepted
    false_accept, hit = rates
    if statistic == "EER":
        return np.where(np.isnan(false_accept + hit)[:, -1], np.nan, crossing(false_accept, 1 - hit))
    return np.asarray((np.diff(false_accept) * (hit[:, 1:] + hit[:, :-1]) / 2).sum(axis=1))


def _mean_of_drawn(values: Floats, clips: NDArray[Any], axis: int) -> Floats:
    present = clips > 0
    return np.asarray((values * present).sum(axis=axis) / np.maximum(present.sum(axis=axis), 1))


def _interval(scores: Floats, speakers: int, level: float) -> dict[str, float | None]:
    from scipy.stats import norm, t

    if not 0 < level < 1:
        raise InputError(f"level is {level}, expected a share between 0 and 1, such as 0.95")
    if speakers < 2:
        return {"mean": float(scores[0]), "low": None, "high": None}
    tail = norm.cdf(-np.sqrt(speakers / (speakers - 1)) * t.ppf((1 + level) / 2, speakers - 1))
    low, high = np.quantile(scores[1:], [tail, 1 - tail])
    return {"mean": float(scores[0]), "low": float(low), "high": float(high)}


def _tidy(frame: "pd.DataFrame", name: str) -> "pd.DataFrame":
    columns = ["id", "speaker", "label", "predicted", "seed"]
    if missing := [column for column in columns if column not in frame]:
        raise InputError(f"{name} lacks {', '.join(missing)}: expected the columns {', '.join(columns)}")
    tidy = frame.loc[frame["label"].notna(), columns]
    if tidy.empty:
        raise InputError(f"{name} has {len(frame)} rows and none with a label: expected predictions of labelled clips")
    for column in columns:  # a clip of no speaker would else count as one of the last speaker's
        if len(gaps := tidy["id"][tidy[column].isna().to_numpy()]):
            raise InputError(
                f"{name} has no {column} for clip {gaps.iloc[0]!r} ({len(gaps)} such rows): fill the column or leave "
                "those rows out"
            )
    if len(twice := tidy[tidy.duplicated(["id", "seed"])]):
        clip, seed = twice["id"].iloc[0], twice["seed"].iloc[0]
        raise InputError(
            f"{name} holds clip {clip!r} more than once under seed {seed!s} ({len(twice)} rows "
            "too many): expected one row for each clip and seed; give the predictions of one setting only"
        )
    speakers = tidy.groupby("id")["speaker"].nunique()
    if len(shared := speakers.index[speakers > 1]):
        raise InputError(f"{name} gives clip {shared[0]!r} several speakers: expected one")
    return tidy.sort_values(["id", "seed"], ignore_index=True)


def _check_same(a: "pd.DataFrame", b: "pd.DataFrame") -> None:
    advice = "compare runs of the same corpus, folds and seeds"
    for column in ("id", "seed"):
        if only := set(a[column]) ^ set(b[column]):
            raise InputError(f"the two differ in {column}: only one has {_some(only)}; {advice}")
    if len(a) != len(b) or not (a[["id", "seed"]] == b[["id", "seed"]]).all(axis=None):
        pairs = [set(zip(frame["id"], frame["seed"], strict=True)) for frame in (a, b)]
        raise InputError(f"the two differ in (id, seed): only one has {_some(pairs[0] ^ pairs[1])}; {advice}")
    for column in ("speaker", "label"):
        if (other := np.flatnonzero(a[column] != b[column])).size:
            clip, one, two = a["id"][other[0]], a[column][other[0]], b[column][other[0]]
            raise InputError(f"the two differ in {column}: clip {clip!r} has {one!r} in one and {two!r} in the other")


def _some(values: set[Any]) -> str:
    shown = ", ".join(map(repr, sorted(values, key=str)[:3]))
    return shown + (f" and {len(values) - 3} more" if len(values) > 3 else "")
