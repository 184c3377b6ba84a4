"""The report's section on missing and noised modalities: every condition in one table, none in the leader board."""

import json

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_run
from sklearn.metrics import balanced_accuracy_score

from turbo_kit import InputError
from turbo_kit.figures import robustness_curves
from turbo_kit.report.summary import summary_table
from turbo_kit.report.write import write_report
from turbo_kit.runs import finished_runs

NOISE = {"tested_word_errors": [0.4, 0.1], "tested_snr": [0, 20]}
TITLE = "Missing or noised modality"


@pytest.fixture(scope="module")
def robustness(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness")
    for objective in ("ce-2pass", "turbo"):
        for dropout in (0.0, 0.3):
            for seed in (0, 1):
                write_run(folder, objective=objective, modality_dropout=dropout, seed=seed, skill=2.5, **NOISE)
    return write_report(folder, maps=False)


def test_every_row_and_condition_has_its_ua_from_the_predictions(robustness):
    table = pd.read_csv(robustness.with_name("report_tables") / "robustness.csv")
    assert len(table) == 4 * 5 + 2 * 2
    runs = [run for run in finished_runs(robustness.parent) if run.config.objective == "turbo"]
    for name, dropout in (("turbo", 0.0), ("turbo, modality_dropout=0.3", 0.3)):
        for condition, split in (("as is", "test"), ("40 % word errors", "test at 40 % word errors")):
            parts = [run.predictions(split) for run in runs if run.config.modality_dropout == dropout]
            expected = np.mean([balanced_accuracy_score(part["label"], part["predicted"]) for part in parts])
            line = table[(table["objective"] == name) & (table["condition"] == condition)].iloc[0]
            assert line["UA"] == pytest.approx(expected)
            assert line["UA_low"] < line["UA"] < line["UA_high"]


def test_columns_go_from_clips_as_they_are_to_more_and_more_noise(robustness):
    page = robustness.read_text()
    heads = ["as is", "without audio", "without text", "10 % word errors", "40 % word errors", "20 dB SNR", "0 dB SNR"]
    assert "".join(f'<th scope="col">{head}</th>' for head in heads) in page
    assert "9.9 at 10, 39.6 at 40" in page  # what was reached, as the runs say
    assert page.count("Line charts of UA on test in percent against word errors") == 1


def test_noise_adds_no_row_to_the_leader_board(robustness):
    names = pd.read_csv(robustness.with_suffix(".csv"))["objective"]
    assert len(names) == 4 + 4 and not names.str.contains("SNR|errors").any()


def test_a_row_that_was_not_tested_so_has_a_dash(tmp_path):
    write_run(tmp_path, objective="ce-2pass", tested_snr=[10])
    write_run(tmp_path, objective="turbo", tested_word_errors=[0.2])
    page = write_report(tmp_path, maps=False)
    assert page.read_text().count("<td>-</td>") >= 2
    table = pd.read_csv(page.with_name("report_tables") / "robustness.csv")
    assert sorted(table["condition"]) == ["10 dB SNR", "20 % word errors", "as is", "as is"]


@pytest.mark.usefixtures("undrawn")
def test_without_noise_there_is_a_table_alone_and_without_any_condition_no_section(tmp_path):
    write_run(tmp_path, objective="ce-2pass")
    assert TITLE not in write_report(tmp_path, maps=False).read_text()
    write_run(tmp_path, objective="turbo", modality_dropout=0.3)
    page = write_report(tmp_path, maps=False).read_text()
    assert TITLE in page and "Line charts of UA on test" not in page
    table = pd.read_csv(tmp_path / "report_tables" / "robustness.csv")
    with pytest.raises(InputError, match="tested_snr"):
        robustness_curves(table.assign(modality=table["modality"].fillna("")))


@pytest.mark.usefixtures("undrawn")
def test_where_the_transcripts_come_from_is_said_unless_all_are_gold(tmp_path):
    write_run(tmp_path, objective="ce-2pass")
    assert "word error rate against gold" not in write_report(tmp_path, maps=False).read_text()
    write_run(tmp_path, objective="turbo", transcripts="whisper", word_errors=0.1)
    said = "whisper; word error rate against gold in percent: train 10.0, dev 10.0, test 10.0"
    assert said in write_report(tmp_path, maps=False).read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_run_from_before_these_knobs_is_one_with_their_defaults(tmp_path):
    run = write_run(tmp_path, objective="turbo")
    result = run.result
    result.pop("transcripts")
    for knob in ("transcripts", "word_errors", "snr", "tested_word_errors", "tested_snr"):
        result["config"].pop(knob)
    (run.folder / "config.json").write_text(json.dumps(result["config"]))
    (run.folder / "result.json").write_text(json.dumps(result))
    page = write_report(tmp_path, maps=False).read_text()
    assert TITLE not in page and "word error rate against gold" not in page


def test_clips_without_labels_leave_the_section_open(tmp_path):
    run = write_run(tmp_path, objective="turbo", tested_snr=[10])
    path = run.folder / "predictions.parquet"
    pd.read_parquet(path).assign(label=None).to_parquet(path)
    write_report(tmp_path, maps=False)
    assert pd.read_csv(tmp_path / "report_tables" / "robustness.csv")["UA"].isna().all()
    assert summary_table([run])["UA"].isna().all()


def test_each_row_has_a_line_from_the_clips_as_they_are_to_the_worst_noise(robustness):
    table = pd.read_csv(robustness.with_name("report_tables") / "robustness.csv")
    figure = robustness_curves(table.assign(modality=table["modality"].fillna("")))
    for axes, condition in zip(figure.axes, ("40 % word errors", "0 dB SNR"), strict=True):
        lines = [line for line in axes.lines if len(line.get_xdata()) > 1]
        assert len({(line.get_color(), line.get_marker()) for line in lines}) == len(lines) == 4
        for name, line in zip(table["objective"].unique(), lines, strict=True):
            own = table[table["objective"] == name].set_index("condition")["UA"]
            assert (np.diff(line.get_xdata()) > 0).all()
            assert line.get_ydata()[[0, -1]].tolist() == pytest.approx([100 * own["as is"], 100 * own[condition]])
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["as is", "20", "0"]
