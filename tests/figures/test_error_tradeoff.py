"""The DET figure says what the runs say: their mean rates, EER, and the point that development chose."""

import numpy as np
import pytest
from fake_detection import TWO, write_detection_run
from scipy.stats import norm

from turbo_kit.figures import det_curves, marks, mean_curve, operating_point
from turbo_kit.figures.style import PAPER


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("directed")
    return {
        name: [write_detection_run(folder, objective=name, seed=seed, skill=skill) for seed in (0, 1)]
        for name, skill in (("ce-2pass", 0.6), ("turbo", 1.5))
    }


def reached(run, share):
    """The lowest false rejects of a run on test at no more than this share of false accepts, threshold by threshold."""
    table = run.predictions("test")
    positive, score = (table["label"] == TWO[1]).to_numpy(), table[f"p_{TWO[1]}"].to_numpy()
    rates = [((score[~positive] >= t).mean(), (score[positive] < t).mean()) for t in [np.inf, *score]]
    return min(reject for accept, reject in rates if accept <= share)


def test_a_curve_is_the_mean_of_its_runs_at_each_rate_of_false_accepts(runs):
    for of_row in runs.values():
        accept, reject = mean_curve(of_row)
        assert (accept[0], accept[-1], reject[-1]) == (0, 1, 0)
        for one, other in zip(accept, reject, strict=True):
            assert other == pytest.approx(np.mean([reached(run, one) for run in of_row]))


def test_the_marks_stand_at_the_equal_error_rate_and_at_the_threshold_of_development(runs):
    axes = det_curves(runs).axes[0]
    for name, of_row in runs.items():
        look = marks(runs)[name]
        drawn = [line for line in axes.lines if line.get_marker() == look.marker]
        filled, hollow = sorted(drawn, key=lambda line: line.get_markerfacecolor() == PAPER)
        eer = np.mean([run.result["metrics"]["test"]["EER"] for run in of_row])
        assert (filled.get_xdata()[0], filled.get_ydata()[0]) == pytest.approx((norm.ppf(eer),) * 2)
        point = np.mean(
            [
                [run.result["metrics"]["test"]["at_threshold"][f"false_{kind}_rate"] for kind in ("accept", "reject")]
                for run in of_row
            ],
            axis=0,
        )
        assert operating_point(of_row) == pytest.approx(point)
        shown = norm.ppf(np.maximum(point, 0.005))
        assert (hollow.get_xdata()[0], hollow.get_ydata()[0]) == pytest.approx(shown)


def test_a_mark_at_the_place_of_another_can_be_seen_around_it(runs):
    once = {"one": runs["turbo"], "other": runs["turbo"], "far": runs["ce-2pass"]}
    axes = det_curves(once).axes[0]
    for filled in (True, False):
        sizes = []
        for look in marks(once).values():
            drawn = [line for line in axes.lines if line.get_marker() == look.marker]
            sizes += [line.get_markersize() for line in drawn if (line.get_markerfacecolor() != PAPER) == filled]
        assert sizes[0] > sizes[1] == sizes[2]


def test_both_axes_say_percent_and_are_alike(runs):
    axes = det_curves(runs).axes[0]
    for ticks, labels in (
        (axes.get_xticks(), axes.get_xticklabels()),
        (axes.get_yticks(), axes.get_yticklabels()),
    ):
        said = [float(label.get_text()) / 100 for label in labels]
        np.testing.assert_allclose(norm.cdf(ticks), said)
    assert axes.get_xlim() == axes.get_ylim()
