"""Error rates by threshold, against plain loops in float64 and against scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk

from turbo_kit.config import InputError
from turbo_kit.metrics import (
    at_threshold,
    det_curve,
    detection_bootstrap,
    equal_error_rate,
    mean_det_curve,
    threshold_at,
    truth_and_score,
)


def draw(clips: int = 101, seed: int = 0, decimals: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, size=clips)
    return truth, (1 / (1 + np.exp(-rng.normal(size=clips) - 1.5 * truth))).round(decimals)


def rates(truth: np.ndarray, score: np.ndarray, threshold: float) -> tuple[float, float]:
    """False accepts and false rejects, counted clip by clip."""
    accepted = rejected = 0
    for one, value in zip(truth, score, strict=True):
        accepted += int(not one and float(value) >= threshold)
        rejected += int(bool(one) and float(value) < threshold)
    return accepted / int((truth == 0).sum()), rejected / int((truth == 1).sum())


def lowest_threshold(truth: np.ndarray, score: np.ndarray, target: float) -> float:
    """By trying every score, and one above them all."""
    possible = [*sorted(set(map(float, score))), np.nextafter(float(score.max()), np.inf)]
    return next(value for value in possible if rates(truth, score, value)[0] <= target)


@pytest.mark.parametrize("decimals", [1, 6])  # the first with many ties
@pytest.mark.parametrize("seed", range(3))
def test_the_curve_counts_every_threshold(seed: int, decimals: int) -> None:
    truth, score = draw(seed=seed, decimals=decimals)
    curve = det_curve(truth, score)
    assert curve.threshold.tolist() == [np.inf, *sorted(set(score), reverse=True)]
    for threshold, accept, reject in zip(*curve, strict=True):
        assert (accept, reject) == pytest.approx(rates(truth, score, threshold))
    accept, reject, threshold = sk.det_curve(truth, score)
    known = np.isin(curve.threshold, threshold)
    np.testing.assert_allclose(curve.false_accept[known][::-1], accept)
    np.testing.assert_allclose(curve.false_reject[known][::-1], reject)


@pytest.mark.parametrize("target", [0, 0.02, 0.05, 0.3, 1])
@pytest.mark.parametrize("decimals", [1, 6])
def test_the_threshold_is_the_lowest_that_accepts_no_more_than_the_target(target: float, decimals: int) -> None:
    truth, score = draw(decimals=decimals)
    threshold = threshold_at(truth, score, target)
    assert threshold == lowest_threshold(truth, score, target)
    found = at_threshold(truth, score, threshold)
    assert found["false_accept_rate"] <= target
    assert (found["false_accept_rate"], found["false_reject_rate"]) == pytest.approx(rates(truth, score, threshold))


def test_a_target_that_is_met_exactly_is_met() -> None:
    truth, score = np.array([0] * 20 + [1] * 2), np.arange(22) / 22
    assert at_threshold(truth, score, threshold_at(truth, score, 0.05))["false_accept_rate"] == 0.05


def test_clips_of_one_score_are_accepted_or_rejected_together() -> None:
    truth, score = np.array([1, 1, 0, 0, 1, 0]), np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.1])
    assert threshold_at(truth, score, 0.34) == 0.9  # the next lower one accepts two negative clips at once
    assert threshold_at(truth, score, 0.67) == 0.5


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_where_the_highest_score_accepts_too_much_nothing_is_accepted(kind: type) -> None:
    truth, score = np.array([0, 1, 1, 0]), np.array([1.0, 1.0, 0.5, 0.1], dtype=kind)
    threshold = json.loads(json.dumps(threshold_at(truth, score, 0.1), allow_nan=False))  # as a run folder keeps it
    assert threshold > 1
    assert at_threshold(truth, score, threshold) == {
        "false_accept_rate": 0.0,
        "false_reject_rate": 1.0,
        "accuracy": 0.5,
        "UA": 0.5,
    }


def test_a_threshold_that_was_written_to_a_file_decides_as_before() -> None:
    truth, score = draw()
    score = score.astype(np.float32)
    threshold = threshold_at(truth, score, 0.1)
    assert at_threshold(truth, score, json.loads(json.dumps(threshold))) == at_threshold(truth, score, threshold)
    assert rates(truth, score, threshold)[0] == at_threshold(truth, score, threshold)["false_accept_rate"]


def test_scores_at_a_threshold_agree_with_scikit_learn() -> None:
    truth, score = draw(seed=4)
    truth[:30] = 0  # so that accuracy and its balanced form differ
    found = at_threshold(truth, score, 0.7)
    decided = score >= 0.7
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, decided))
    assert found["UA"] == pytest.approx(sk.balanced_accuracy_score(truth, decided))
    assert found["false_reject_rate"] == pytest.approx(1 - sk.recall_score(truth, decided))
    assert found["accuracy"] != pytest.approx(found["UA"], abs=0.01)


def test_a_class_that_is_missing_has_no_rate() -> None:
    found = at_threshold(np.array([1, 1]), np.array([0.2, 0.9]), 0.5)
    assert found == {"false_accept_rate": None, "false_reject_rate": 0.5, "accuracy": 0.5, "UA": 0.5}
    assert set(at_threshold(np.array([], dtype=int), np.array([]), 0.5).values()) == {None}


def test_better_and_worse_than_chance() -> None:
    truth = np.array([0, 0, 1, 1])
    for score, rate in (([0.1, 0.2, 0.8, 0.9], 0), ([0.9, 0.8, 0.2, 0.1], 1), ([0.5] * 4, 0.5)):
        assert equal_error_rate(truth, np.array(score)) == pytest.approx(rate)


def test_a_monotone_change_of_the_scores_changes_the_threshold_alone() -> None:
    truth, score = draw()
    odds = np.log(score / (1 - score))
    before, after = det_curve(truth, score), det_curve(truth, odds)
    np.testing.assert_array_equal(before.false_accept, after.false_accept)
    np.testing.assert_array_equal(before.false_reject, after.false_reject)


def test_predictions_give_truth_and_the_second_class_score_of_labelled_clips() -> None:
    table = pd.DataFrame({"label": ["b", None, "a"], "p_a": [0.3, 0.5, 0.8], "p_b": [0.7, 0.5, 0.2]})
    truth, score = truth_and_score(table, ("a", "b"))
    assert (truth.tolist(), score.tolist()) == ([True, False], [0.7, 0.2])


@pytest.mark.parametrize(
    ("truth", "score", "message"),
    [
        ([0, 1], [0.5], r"shapes \(2,\) and \(1,\)"),
        ([0, -1], [0.5, 0.5], "truth of clip 1 is -1"),
        ([0, 1], [0.5, np.nan], "score of clip 1 is nan"),
        ([1, 1], [0.5, 0.6], "2 of 2 clips are positive"),
        ([], [], "0 of 0 clips are positive"),
    ],
)
def test_bad_input_is_named(truth: list[int], score: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        det_curve(np.array(truth, dtype=int), np.array(score))


@pytest.mark.parametrize("target", [-0.1, 1.1])
def test_a_target_that_is_no_share_is_an_error(target: float) -> None:
    with pytest.raises(InputError, match="expected a share from 0 to 1"):
        threshold_at(*draw(), target)


def several_runs(rng: np.random.Generator) -> pd.DataFrame:
    """Two folds of three speakers and two seeds each; one speaker has positive clips alone, scores have ties."""
    parts = []
    for fold, seed in np.ndindex(2, 2):
        speaker = np.repeat(np.arange(3), 8)
        positive = (np.arange(24) % 2 == 0) | (speaker == 0)
        score = (rng.normal(size=24) + positive + 3 * fold).round(1)
        voices = [f"s{fold}{s}" for s in speaker]
        parts.append(
            pd.DataFrame({"speaker": voices, "positive": positive, "score": score, "fold": fold, "seed": seed})
        )
    return pd.concat(parts, ignore_index=True)


def plain(frame: pd.DataFrame, statistic: str) -> float:
    """Mean over the runs of what scikit-learn, or the equal error rate of the rows themselves, gives for each."""
    score = sk.roc_auc_score if statistic == "ROC_AUC" else equal_error_rate
    runs = [run for _, run in frame.groupby(["fold", "seed"]) if run["positive"].nunique() == 2]
    return float(np.mean([score(run["positive"].to_numpy(), run["score"].to_numpy()) for run in runs]))


@pytest.mark.parametrize("statistic", ["EER", "ROC_AUC"])
def test_the_interval_is_that_of_speakers_drawn_row_by_row(statistic: str) -> None:
    frame = several_runs(np.random.default_rng(0))
    names = sorted(frame["speaker"].unique())
    values = []
    for times in np.random.default_rng(3).multinomial(6, [1 / 6] * 6, size=50):
        chosen = [name for name, n in zip(names, times, strict=True) for _ in range(n)]
        values.append(plain(pd.concat([frame[frame["speaker"] == name] for name in chosen]), statistic))
    found = detection_bootstrap(frame.sample(frac=1, random_state=0), statistic, resamples=50, level=0.5, seed=3)
    assert found["mean"] == pytest.approx(plain(frame, statistic))
    tail = stats.norm.sf(np.sqrt(6 / 5) * stats.t.isf(0.25, 5))  # expanded for six speakers
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(values, [tail, 1 - tail]).tolist())


def test_nothing_is_said_where_no_run_has_both_classes() -> None:
    frame = several_runs(np.random.default_rng(0)).query("positive")
    assert detection_bootstrap(frame) == {"mean": None, "low": None, "high": None}


def test_the_mean_of_curves_reads_each_at_the_same_rate_of_false_accepts() -> None:
    curves = [
        det_curve(np.array([0, 0, 1, 1]), np.array([0.9, 0.1, 0.8, 0.2])),  # reject 1, 0 at accept 0, 0.5
        det_curve(np.array([0, 0, 0, 1]), np.array([0.3, 0.5, 0.1, 0.4])),  # reject 1, 0 at accept 0, 1/3
    ]
    accept, reject = mean_det_curve(curves)
    assert accept.tolist() == pytest.approx([0, 1 / 3, 1 / 2, 2 / 3, 1])
    assert reject.tolist() == [1, 0.5, 0, 0, 0]
