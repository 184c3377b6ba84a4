"""Intervals that resample speakers: neither the clips of a speaker nor the seeds of a clip are independent data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError

if TYPE_CHECKING:
    import pandas as pd

Statistic = Literal["UA", "WA"]


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
    tidy = _tidy(frame, "frame")
    return _interval(_resampled(tidy, statistic, resamples, seed), tidy["speaker"].nunique(), level)


def paired_difference(
    frame_a: "pd.DataFrame",
    frame_b: "pd.DataFrame",
    statistic: Statistic = "UA",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float | None]:
    """Score of a minus score of b on the same clips, with an interval that draws the same speakers for both.

    Args:
        frame_a: as for ``speaker_bootstrap``.
        frame_b: the same clips under the same seeds, with other predictions.
        statistic: as for ``speaker_bootstrap``.
        resamples: as for ``speaker_bootstrap``.
        level: as for ``speaker_bootstrap``.
        seed: as for ``speaker_bootstrap``.

    Returns:
        ``mean``, ``low``, ``high`` of a - b; see ``verdict``.

    Raises:
        InputError: as for ``speaker_bootstrap``, or the two differ in clips, seeds, speakers or labels.
    """
    a, b = _tidy(frame_a, "frame_a"), _tidy(frame_b, "frame_b")
    _check_same(a, b)
    difference = _resampled(a, statistic, resamples, seed) - _resampled(b, statistic, resamples, seed)
    return _interval(difference, a["speaker"].nunique(), level)


def verdict(difference: Mapping[str, float | None]) -> str:
    """Put a paired difference into words.

    Args:
        difference: what ``paired_difference`` returned.

    Returns:
        ``"better"`` or ``"worse"`` where the whole interval lies on one side of 0, else ``"cannot tell"``.
    """
    low, high = difference["low"], difference["high"]
    if low is None or high is None or low <= 0 <= high:
        return "cannot tell"
    return "better" if low > 0 else "worse"


def _resampled(frame: "pd.DataFrame", statistic: str, resamples: int, seed: int) -> NDArray[np.float64]:
    """(1 + resamples,) scores: of the data as they are, then of each draw of speakers."""
    if statistic not in ("UA", "WA"):
        raise InputError(f"statistic is {statistic!r}, expected 'UA' or 'WA'")
    if resamples < 1:
        raise InputError(f"resamples is {resamples}, expected at least 1, such as 2000")
    index = [frame[column].factorize(sort=True)[0] for column in ("seed", "speaker", "label")]
    total = np.zeros([codes.max() + 1 for codes in index])  # (seeds, speakers, classes)
    hit = np.zeros_like(total)
    np.add.at(total, tuple(index), 1)
    np.add.at(hit, tuple(index), frame["predicted"].eq(frame["label"]).to_numpy())

    speakers = total.shape[1]
    drawn = np.random.default_rng(seed).multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)
    times = np.vstack([np.ones(speakers), drawn])
    hit, total = times @ hit, times @ total  # (seeds, 1 + resamples, classes)
    if statistic == "WA":
        hit, total = hit.sum(axis=2, keepdims=True), total.sum(axis=2, keepdims=True)
    # A class, or a whole seed, whose clips were not drawn takes no part in the mean.
    recall = np.divide(hit, total, out=np.zeros_like(hit), where=total > 0)
    return _mean_of_drawn(_mean_of_drawn(recall, total, axis=2), total.sum(axis=2), axis=0)


def _mean_of_drawn(values: NDArray[np.float64], clips: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    present = clips > 0
    return np.asarray((values * present).sum(axis=axis) / np.maximum(present.sum(axis=axis), 1))


def _interval(scores: NDArray[np.float64], speakers: int, level: float) -> dict[str, float | None]:
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
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(f"{name} lacks {', '.join(missing)}: expected the columns {', '.join(columns)}")
    tidy = frame.loc[frame["label"].notna(), columns]
    if tidy.empty:
        raise InputError(f"{name} has {len(frame)} rows and none with a label: expected predictions of labelled clips")
    for column in columns:  # a clip of no speaker would else count as one of the last speaker's
        gaps = tidy.loc[tidy[column].isna(), "id"]
        if len(gaps):
            raise InputError(
                f"{name} has no {column} for clip {gaps.iloc[0]!r} ({len(gaps)} such rows): fill the column or leave "
                "those rows out"
            )
    twice = tidy[tidy.duplicated(["id", "seed"])]
    if len(twice):
        clip, seed = twice["id"].iloc[0], twice["seed"].iloc[0]
        raise InputError(
            f"{name} holds clip {clip!r} more than once under seed {seed!s} ({len(twice)} rows "
            "too many): expected one row for each clip and seed; give the predictions of one setting only"
        )
    speakers = tidy.groupby("id")["speaker"].nunique()
    shared = speakers.index[speakers > 1]
    if len(shared):
        raise InputError(f"{name} gives clip {shared[0]!r} several speakers: expected one")
    return tidy.sort_values(["id", "seed"], ignore_index=True)


def _check_same(a: "pd.DataFrame", b: "pd.DataFrame") -> None:
    advice = "compare runs of the same corpus, folds and seeds"
    for column in ("id", "seed"):
        only: set[Any] = set(a[column]) ^ set(b[column])
        if only:
            raise InputError(f"the two differ in {column}: only one has {_some(only)}; {advice}")
    if len(a) != len(b) or not (a[["id", "seed"]] == b[["id", "seed"]]).all(axis=None):
        pairs = [set(zip(frame["id"], frame["seed"], strict=True)) for frame in (a, b)]
        raise InputError(f"the two differ in (id, seed): only one has {_some(pairs[0] ^ pairs[1])}; {advice}")
    for column in ("speaker", "label"):
        other = (a[column] != b[column]).to_numpy().nonzero()[0]
        if other.size:
            clip, one, two = a["id"][other[0]], a[column][other[0]], b[column][other[0]]
            raise InputError(f"the two differ in {column}: clip {clip!r} has {one!r} in one and {two!r} in the other")


def _some(values: set[Any]) -> str:
    shown = ", ".join(map(repr, sorted(values, key=str)[:3]))
    return shown + (f" and {len(values) - 3} more" if len(values) > 3 else "")
