"""Detection scores of two classes: how often a negative clip is accepted and a positive one rejected, by threshold.

A clip is accepted where its score is the threshold or above. Scores are compared as float64, so that a threshold read
back from a file decides as it did when it was chosen.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Truth = NDArray[np.integer[Any]] | NDArray[np.bool_]


class DetCurve(NamedTuple):
    """The two error rates at each threshold, from the strictest to the loosest: (K,) each."""

    threshold: Floats
    """Every distinct score from the highest, after infinity, which accepts nothing."""
    false_accept: Floats
    """Share of the negative clips that are accepted: rises from 0 to 1."""
    false_reject: Floats
    """Share of the positive clips that are rejected: falls from 1 to 0."""


def det_curve(truth: Truth, score: NDArray[np.floating[Any]]) -> DetCurve:
    """Detection error trade-off: false accepts and false rejects at every threshold that makes a difference.

    Clips of one score are accepted or rejected together. Source: A. Martin et al., The DET curve in assessment of
    detection task performance, Eurospeech 1997.

    Args:
        truth: (N,) 1 for positive clips, 0 for negative ones.
        score: (N,) the higher, the more likely positive.

    Raises:
        InputError: the shapes do not fit one another, a score is not finite, or one of the two classes is missing.
    """
    from sklearn.metrics import roc_curve

    positive, score = _checked(truth, score)
    if positive.all() or not positive.any():
        raise InputError(
            f"{int(positive.sum())} of {len(positive)} clips are positive: error rates need clips of both classes; "
            "label some of the other class"
        )
    false_accept, hit, threshold = roc_curve(positive, score, drop_intermediate=False)
    return DetCurve(threshold, false_accept, 1 - hit)


def mean_det_curve(curves: Sequence[DetCurve]) -> tuple[Floats, Floats]:
    """The mean of some curves at each rate of false accepts: vertical averaging.

    The scores of two models lie on no common scale, and their clips cannot be pooled without one; error rates can be
    averaged. Source: T. Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006, section 8.

    Args:
        curves: of one model each.

    Returns:
        (K,) rates of false accepts, and the mean of the lowest rates of false rejects that the curves reach up to each.
    """
    accept = np.unique(np.concatenate([curve.false_accept for curve in curves]))
    reached = [c.false_reject[np.searchsorted(c.false_accept, accept, side="right") - 1] for c in curves]
    return accept, np.mean(reached, axis=0)


def crossing(false_accept: Floats, false_reject: Floats) -> Floats:
    """Where the two error rates are equal, on the straight line between the last points before and after.

    Args:
        false_accept: (..., K) rising from 0 to 1.
        false_reject: (..., K) falling from 1 to 0.

    Returns:
        (...) the equal error rates.
    """
    excess = false_reject - false_accept  # falls from 1 to -1: the two rates are equal where it crosses zero
    after = np.argmax(excess <= 0, axis=-1)[..., None]
    ends = [np.take_along_axis(rate, after - step, axis=-1) for rate in (excess, false_accept) for step in (1, 0)]
    above, below, start, end = (value[..., 0] for value in ends)
    return np.asarray(start + above / (above - below) * (end - start))


def equal_error_rate(truth: Truth, score: NDArray[np.floating[Any]]) -> float:
    """EER: the rate at which false accepts and false rejects are equal, by linear interpolation on the curve.

    Args:
        truth, score: as for `det_curve`.

    Raises:
        InputError: as for `det_curve`.
    """
    _, false_accept, false_reject = det_curve(truth, score)
    return float(crossing(false_accept, false_reject))


def threshold_at(truth: Truth, score: NDArray[np.floating[Any]], false_accept_rate: float) -> float:
    """The lowest of the clips' scores that, as a threshold, accepts no more than this share of the negative clips.

    Clips of one score are accepted or rejected together, so the share that is reached may lie below the one asked
    for, and never above. Where even the highest score accepts too many negative clips, the threshold lies just above
    that score and accepts none of these clips.

    Args:
        truth: as for `det_curve`.
        score: as for `det_curve`; of development clips, since a threshold is a choice.
        false_accept_rate: the largest share of negative clips that may be accepted, 0 to 1.

    Raises:
        InputError: as for `det_curve`, or the share is out of range.
    """
    if not 0 <= false_accept_rate <= 1:
        raise InputError(f"false_accept_rate is {false_accept_rate}, expected a share from 0 to 1, such as 0.05")
    threshold, false_accept, _ = det_curve(truth, score)
    last = int(np.flatnonzero(false_accept <= false_accept_rate)[-1])
    return float(threshold[last] if last else np.nextafter(threshold[1], np.inf))


def at_threshold(truth: Truth, score: NDArray[np.floating[Any]], threshold: float) -> dict[str, float | None]:
    """What accepting every clip of at least this score comes to.

    Args:
        truth: as for `det_curve`; a class may be missing.
        score: as for `det_curve`.
        threshold: such as `threshold_at` chose on other clips.

    Returns:
        `false_accept_rate`, `false_reject_rate`, `accuracy` and `UA` (balanced accuracy, over the classes that
        occur); None where there is no clip to count.

    Raises:
        InputError: the shapes do not fit one another, or a score is not finite.
    """
    positive, score = _checked(truth, score)
    wrong = (score >= threshold) != positive
    groups = (wrong[~positive], wrong[positive], wrong)
    false_accept, false_reject, errors = (float(group.mean()) if len(group) else None for group in groups)
    known = [rate for rate in (false_accept, false_reject) if rate is not None]
    return {
        "false_accept_rate": false_accept,
        "false_reject_rate": false_reject,
        "accuracy": None if errors is None else 1 - errors,
        "UA": 1 - sum(known) / len(known) if known else None,
    }


def truth_and_score(predictions: "pd.DataFrame", classes: Sequence[str]) -> tuple[NDArray[np.bool_], Floats]:
    """What the functions above take, from a table of predictions: the labelled clips alone.

    Args:
        predictions: one row a clip with `label` and a column of probabilities for each class, such as
            `run.predictions("dev")`.
        classes: the two names; the second is the positive one, and its probability the score.
    """
    labelled = predictions[predictions["label"].notna()]
    truth = (labelled["label"] == classes[1]).to_numpy(bool)
    return truth, labelled[f"p_{classes[1]}"].to_numpy(np.float64)


def _checked(truth: NDArray[Any], score: NDArray[Any]) -> tuple[NDArray[np.bool_], Floats]:
    truth, score = np.asarray(truth), np.asarray(score)
    if truth.ndim != 1 or truth.shape != score.shape:
        raise InputError(
            f"truth and score have shapes {truth.shape} and {score.shape}: give one number of each for every clip"
        )
    if (other := np.flatnonzero((truth != 0) & (truth != 1))).size:
        raise InputError(
            f"truth of clip {other[0]} is {truth[other[0]]}: expected 1 for a positive clip and 0 for a negative one; "
            "leave unlabelled clips out"
        )
    if (broken := np.flatnonzero(~np.isfinite(score))).size:
        raise InputError(
            f"score of clip {broken[0]} is {score[broken[0]]} ({broken.size} such clips): it must be finite"
        )
    return truth.astype(bool), score.astype(np.float64)
