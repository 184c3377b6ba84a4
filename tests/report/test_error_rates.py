"""The report of two classes: its error rates are those of the clips, each decided at its own run's threshold."""

import numpy as np
import pandas as pd
import pytest
from fake_detection import TWO, write_detection_run
from fake_runs import write_run

from turbo_kit.metrics import equal_error_rate, truth_and_score
from turbo_kit.report.error_rates import detection_sections, detection_table
from turbo_kit.report.grouping import summary_rows
from turbo_kit.report.write import write_report


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("directed")
    return [
        write_detection_run(folder, objective=o, fold=fold, seed=seed, skill=skill)
        for o, skill in (("ce-2pass", 0.6), ("turbo", 1.5))
        for fold in (0, 1)
        for seed in (0, 1)
    ]


def test_error_rates_are_counted_at_the_threshold_of_each_run(runs):
    table = detection_table(summary_rows(runs)).set_index("objective")
    for objective in ("ce-2pass", "turbo"):
        wrong = {True: [], False: []}
        rates = []
        for run in (run for run in runs if run.config.objective == objective):
            threshold = run.result["metrics"]["dev"]["threshold"]
            for label, score in run.predictions("test")[["label", f"p_{TWO[1]}"]].itertuples(index=False):
                wrong[label == TWO[1]].append((score >= threshold) != (label == TWO[1]))
            rates.append(equal_error_rate(*truth_and_score(run.predictions("test"), TWO)))
        row = table.loc[objective]
        assert row["false_accept_rate"] == pytest.approx(np.mean(wrong[False]))
        assert row["false_reject_rate"] == pytest.approx(np.mean(wrong[True]))
        assert row["accuracy"] == pytest.approx(1 - np.mean(wrong[True] + wrong[False]))
        assert row["EER"] == pytest.approx(np.mean(rates))
        for name in ("EER", "ROC_AUC", "false_accept_rate", "false_reject_rate", "accuracy"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    thresholds = {run.result["metrics"]["dev"]["threshold"] for run in runs}
    assert len(thresholds) == len(runs), "the draw must give each run a threshold of its own"


def test_the_section_tells_what_was_aimed_at_and_has_curve_and_tables(runs, tmp_path):
    page = write_report(runs[0].folder.parent, tmp_path / "report.html", maps=False)
    text = page.read_text()
    assert '<h2 id="detection">Detection</h2>' in text
    assert "accepts 5.0 % of the human-directed clips at most" in text
    assert "DET curves: false rejects in percent at 1, 2, 5, 10, 20 percent false accepts: ce-2pass " in text
    curves = pd.read_csv(tmp_path / "report_tables" / "det-curves.csv")
    assert set(curves["objective"]) == {"ce-2pass", "turbo"}
    for _, curve in curves.groupby("objective"):
        assert curve["false_accept_rate"].is_monotonic_increasing and curve["false_reject_rate"].is_monotonic_decreasing
    assert list(pd.read_csv(tmp_path / "report_tables" / "detection.csv")["objective"]) == ["ce-2pass", "turbo"]


def test_more_classes_and_runs_without_a_threshold_have_no_such_section(tmp_path):
    four = summary_rows([write_run(tmp_path / "four", objective="turbo")])
    old = summary_rows([write_run(tmp_path / "old", objective="turbo", classes=TWO)])
    assert not list(detection_sections(four)) and not list(detection_sections(old))
