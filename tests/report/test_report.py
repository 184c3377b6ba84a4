"""The report says what the run folders hold, pools only repetitions, and needs nothing but itself."""

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from fake_runs import CLASSES, write_run
from sklearn.metrics import balanced_accuracy_score, f1_score

from turbo_kit.config import InputError
from turbo_kit.metrics import paired_difference, speaker_bootstrap
from turbo_kit.report.sentences import format_table
from turbo_kit.report.summary import summary_table
from turbo_kit.report.write import write_report
from turbo_kit.runs import finished_runs, runs_in


class Page(HTMLParser):
    """What of a page the tests look at."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.code, self._open = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append(dict(attributes).get("id"))

    def handle_endtag(self, tag):
        if self._open:
            self._open.pop()

    def handle_data(self, data):
        if "recompute" in self._open[-1:]:
            self.code += data
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two objectives, two folds and seeds each, written in another order than the report's."""
    folder = tmp_path_factory.mktemp("grid")
    for objective, skill in (("turbo", 2.2), ("ce-2pass", 1.2)):
        for fold in (0, 1):
            for seed in (0, 1):
                write_run(folder, objective=objective, fold=fold, seed=seed, skill=skill)
    write_run(folder, "broken-off", objective="clip", done=False)
    return folder


@pytest.fixture(scope="module")
def report(grid, tmp_path_factory):
    return write_report(grid, tmp_path_factory.mktemp("out") / "report.html", maps=False)


def frames(folder, objective):
    """All test predictions of an objective, read without the code under test."""
    parts = []
    for done in sorted(folder.glob("*/DONE")):
        config = json.loads((done.parent / "config.json").read_text())
        if config["objective"] == objective:
            table = pd.read_parquet(done.parent / "predictions.parquet")
            parts.append(table[table["split"] == "test"].assign(seed=config["seed"], fold=config["fold"]))
    return pd.concat(parts)


def test_scores_are_those_of_the_predictions(grid):
    table = summary_table(finished_runs(grid)).set_index("objective")
    for objective in ("ce-2pass", "turbo"):
        clips = frames(grid, objective)
        row = table.loc[objective]
        by_seed = [balanced_accuracy_score(part["label"], part["predicted"]) for _, part in clips.groupby("seed")]
        assert row["UA"] == pytest.approx(np.mean(by_seed))
        assert row["WA"] == pytest.approx((clips["label"] == clips["predicted"]).mean())
        runs = clips.groupby(["seed", "fold"])
        assert row["macro_F1"] == pytest.approx(
            np.mean([f1_score(part["label"], part["predicted"], average="macro") for _, part in runs])
        )
        assert (row["runs"], row["folds"], row["seeds"]) == (4, 2, 2)
        assert (row["clips"], row["speakers"]) == (96, 8)
        found = speaker_bootstrap(clips)
        assert (row["UA_low"], row["UA_high"]) == (found["low"], found["high"])
    found = paired_difference(frames(grid, "turbo"), frames(grid, "ce-2pass"))
    row = table.loc["turbo"]
    columns = ["difference", "difference_low", "difference_high", "p", "effect_size"]
    assert row[columns].tolist() == list(found.values())
    assert row["difference"] == pytest.approx(row["UA"] - table.loc["ce-2pass", "UA"])
    assert row["verdict"] == "better"
    assert table.loc["ce-2pass", "verdict"] == "baseline"
    assert np.isnan(table.loc["ce-2pass", "difference"])


def test_retrieval_and_geometry_are_means_over_the_runs(grid):
    runs = [run for run in finished_runs(grid) if run.config.objective == "turbo"]
    scores = [run.result["metrics"]["test"] for run in runs]
    row = summary_table(runs).iloc[0]
    there = np.mean([score["retrieval"]["audio_to_text"]["R@5"] for score in scores])
    back = np.mean([score["retrieval"]["text_to_audio"]["R@5"] for score in scores])
    assert row["audio_to_text_R@5"] == pytest.approx(there)
    assert row["R@5"] == pytest.approx((there + back) / 2)
    pooled = [score["geometry"]["pooled"] for score in scores]
    projected = [score["geometry"]["projected"] for score in scores]
    assert row["audio_alignment"] == pytest.approx(np.mean([space["audio"]["alignment"] for space in pooled]))
    assert row["text_uniformity"] == pytest.approx(np.mean([space["text"]["uniformity"] for space in pooled]))
    gaps = [space["cross_modal"]["audio-text"]["modality_gap"] for space in pooled]
    assert row["audio-text_modality_gap"] == pytest.approx(np.mean(gaps))
    ranks = [space["audio"]["effective_rank"] for space in projected]
    assert row["projected_audio_effective_rank"] == pytest.approx(np.mean(ranks))


def test_the_baseline_comes_first_and_then_the_order_of_the_presets(tmp_path):
    for objective in ("turbo", "clip", "ce-2pass", "ce", "in-modal"):
        write_run(tmp_path, objective=objective, clips=8)
    names = summary_table(finished_runs(tmp_path))["objective"].tolist()
    assert names == ["ce-2pass", "ce", "in-modal", "clip", "turbo"]


def test_runs_with_other_knobs_are_not_pooled_and_their_names_say_what_differs(tmp_path):
    for weight in (0.5, 0.1):
        for seed in (0, 1):
            write_run(tmp_path, objective="turbo", contrastive_weight=weight, seed=seed, skill=1 + weight)
    for seed in (0, 1):
        write_run(tmp_path, objective="ce-2pass", seed=seed)
    table = summary_table(finished_runs(tmp_path))
    assert table["objective"].tolist() == [
        "ce-2pass",  # its weight weighs nothing, so the name keeps silent about it
        "turbo, contrastive_weight=0.1",
        "turbo, contrastive_weight=0.5",
    ]
    assert table["runs"].tolist() == [2, 2, 2]
    assert table["difference"].notna().tolist() == [False, True, True]


def test_runs_of_another_revision_of_the_kit_are_not_pooled_or_compared(tmp_path):
    write_run(tmp_path, objective="ce-2pass", source="a" * 64)
    write_run(tmp_path, objective="turbo", source="a" * 64)
    write_run(tmp_path, objective="turbo", source="b" * 64)
    table = summary_table(finished_runs(tmp_path))
    assert table["objective"].tolist() == [
        "ce-2pass, source=aaaaaaaa",
        "turbo, source=aaaaaaaa",
        "turbo, source=bbbbbbbb",
    ]
    assert table["verdict"].tolist()[0::2] == ["baseline", "not compared"]
    assert table["difference"].notna().tolist() == [False, True, False]


def test_one_setting_twice_is_an_error_that_names_both(tmp_path):
    for name in ("first", "second"):
        write_run(tmp_path, name, objective="turbo")
    with pytest.raises(InputError, match=r"first.*second.*same fold 0 and seed 0"):
        summary_table(finished_runs(tmp_path))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("other", [{"seed": 1}, {"fold": 1}, {"clips": 40}])
def test_no_difference_without_the_same_folds_seeds_and_clips(tmp_path, other):
    write_run(tmp_path, objective="ce-2pass")
    write_run(tmp_path, objective="turbo", **other)
    row = summary_table(finished_runs(tmp_path)).iloc[1]
    assert row["verdict"] == "not compared" and np.isnan(row["difference"])
    page = Page(write_report(tmp_path, maps=False).read_text())
    assert "Not compared, for want of ce-2pass on the same folds, seeds and clips: turbo." in page.text


def test_unfinished_runs_are_left_out_and_said(grid, report):
    assert "clip" not in pd.read_csv(report.with_suffix(".csv"))["objective"].tolist()
    assert summary_table(list(runs_in(grid)))["objective"].tolist() == ["ce-2pass", "turbo"]
    assert "Unfinished runs, left out: 1 (broken-off)." in Page(report.read_text()).text


def test_a_folder_without_a_finished_run_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "nowhere")
    write_run(tmp_path, done=False)
    with pytest.raises(InputError, match=r"no finished run \(1 unfinished, 0 failed\)"):
        write_report(tmp_path)
    assert not list(tmp_path.glob("report.*"))
    with pytest.raises(InputError, match="no finished run"):
        summary_table([])


def test_the_csv_is_the_summary_table(grid, report):
    expected = summary_table(finished_runs(grid))
    assert expected.columns[0] == "objective"
    pd.testing.assert_frame_equal(pd.read_csv(report.with_suffix(".csv")), expected)


def test_every_table_of_the_page_is_a_csv_file_and_scores_are_not_rounded(grid, report):
    folder = report.parent / "report_tables"
    expected = summary_table(finished_runs(grid))
    linked = [link["href"] for link in Page(report.read_text()).all("a") if "report_tables/" in link["href"]]
    assert sorted(linked) == sorted(f"report_tables/{path.name}" for path in folder.iterdir())
    assert len(linked) == len(Page(report.read_text()).all("table"))
    board = pd.read_csv(folder / "leader-board.csv")
    pd.testing.assert_frame_equal(board, expected[board.columns])
    assert {"UA_sd", "p_holm", "effect_size", "difference_low"} <= set(board)
    geometry = pd.read_csv(folder / "geometry.csv")
    pd.testing.assert_frame_equal(geometry, expected[geometry.columns])
    runs = pd.read_csv(folder / "runs.csv")
    assert runs.groupby("objective")["UA"].agg("std").tolist() == pytest.approx(expected["UA_sd"].tolist())


def test_the_page_needs_no_other_file(report):
    text = report.read_text()
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "img", "object", "base")]
    assert not re.search(r"@import|url\((?!#)", text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith("#") or tag == "a", (tag, name, value)


def test_every_link_leads_somewhere(report):
    page = Page(report.read_text())
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for attributes in page.all("a")]
    assert any(link.startswith("#") for link in links) and any(link.endswith("config.json") for link in links)
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids
        elif not link.startswith("https://arxiv.org/"):
            assert (report.parent / unquote(link)).is_file(), link


def test_the_page_is_accessible(report):
    page = Page(report.read_text())
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table")) > 4
    assert {attributes["scope"] for attributes in page.all("th")} == {"col", "row"}
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 20 for svg in page.all("svg"))
    assert len(page.all("svg")) == len(page.all("figure")) == 5
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in report.read_text()


def test_the_page_shows_the_numbers_and_what_was_run(grid, report):
    text = Page(report.read_text()).text
    row = summary_table(finished_runs(grid)).set_index("objective").loc["turbo"]
    assert f"{100 * row['UA']:.1f}" in text
    assert f"[{100 * row['UA_low']:.1f}, {100 * row['UA_high']:.1f}]" in text
    assert f"turbo: UA is {100 * row['difference']:.1f} points above ce-2pass" in text
    assert "Synthetic speech, made up for a test." in text
    for said in (
        "demo-emotion",
        "audio demo, text demo",
        "Folds 0-1",
        "Seeds 0-1",
        "torch 2.8.0",
        "Device cpu",
        "96 / 48 / 48",
    ):
        assert said in text


def test_the_snippet_has_five_lines_and_gives_the_same_numbers(grid, report, monkeypatch):
    code = Page(report.read_text()).code
    assert len(code.strip().splitlines()) == 5
    monkeypatch.chdir(grid)
    variables = {}
    exec(code, variables)
    expected = summary_table(finished_runs(grid)).set_index("objective")
    for score in ("UA", "WA"):
        assert variables["table"][score].to_dict() == pytest.approx(expected[score].to_dict())


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("other", [{"contrastive_weight": 0.5, "pair_weights": {"a1-t1": 2.0}}, {"source": "b" * 64}])
def test_the_snippet_keeps_apart_what_the_table_does(tmp_path, monkeypatch, other):
    for seed in (0, 1):
        write_run(tmp_path, objective="turbo", seed=seed, skill=0.5)
        write_run(tmp_path, objective="turbo", seed=seed, skill=2.5, **other)
    code = Page(write_report(tmp_path, maps=False).read_text()).code
    monkeypatch.chdir(tmp_path)
    variables = {}
    exec(code, variables)
    expected = summary_table(finished_runs(tmp_path))["UA"]
    assert sorted(variables["table"]["UA"]) == pytest.approx(sorted(expected))
    assert len(expected) == 2


def test_texts_of_the_data_are_escaped(tmp_path):
    classes = ("<b>bold</b>", '"><script>alert(1)</script>', "$x$", "plain")
    write_run(tmp_path, objective="turbo", classes=classes, about="<img src=x onerror=alert(2)> & more", clips=9)
    text = write_report(tmp_path).read_text()
    page = Page(text)
    assert not {"b", "script", "img"} & {tag for tag, _ in page.tags}
    assert "<img src=x onerror=alert(2)> & more" in page.text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_one_run_alone_gives_a_whole_report(tmp_path):
    write_run(tmp_path, objective="turbo", speakers=1, clips=9)
    path = write_report(tmp_path)
    page = Page(path.read_text())
    assert path == tmp_path / "report.html"
    assert len(page.all("figure")) == 5
    assert "trained with a single seed and fold" in page.text
    assert "one speaker gives no interval" in page.text
    assert np.isnan(pd.read_csv(tmp_path / "report.csv").loc[0, "UA_low"])


def test_runs_of_one_modality_have_no_cross_modal_columns(tmp_path):
    write_run(tmp_path, objective="ce-2pass", text="none", clips=9)  # few clips are mapped without UMAP
    write_run(tmp_path, objective="ce", text="none", skill=0.5, clips=9)
    table = summary_table(finished_runs(tmp_path))
    assert not [name for name in table if "R@" in name or "text" in name]
    assert table["audio_uniformity"].notna().all()
    assert len(Page(write_report(tmp_path).read_text()).all("figure")) == 6


def test_modalities_of_different_width_have_no_gap(tmp_path):
    write_run(tmp_path, objective="turbo", text_width=6)
    assert "audio-text_modality_gap" not in summary_table(finished_runs(tmp_path))
    assert write_report(tmp_path, maps=False).is_file()


def test_clips_without_labels_leave_the_scores_open(tmp_path):
    for objective in ("ce-2pass", "turbo"):
        run = write_run(tmp_path, objective=objective)
        path = run.folder / "predictions.parquet"
        pd.read_parquet(path).assign(label=None).to_parquet(path)
    table = summary_table(finished_runs(tmp_path))
    assert table[["UA", "UA_low", "WA", "difference"]].isna().all(axis=None)
    assert table["verdict"].tolist() == ["baseline", "not compared"]
    assert len(Page(write_report(tmp_path, maps=False).read_text()).all("figure")) == 5


@pytest.mark.usefixtures("undrawn")
def test_two_classes_add_eer_and_roc_auc(tmp_path):
    run = write_run(tmp_path, objective="turbo", classes=("no", "yes"))
    scores = run.result["metrics"]["test"]
    row = summary_table([run]).iloc[0]
    assert (row["EER"], row["ROC_AUC"]) == (scores["EER"], scores["ROC_AUC"])
    assert "EER %" in format_table(summary_table([run]))
    assert f"{100 * scores['ROC_AUC']:.1f}" in Page(write_report(tmp_path, maps=False).read_text()).text


@pytest.mark.usefixtures("undrawn")
def test_the_verdict_is_cannot_tell_where_the_interval_holds_0(tmp_path):
    for objective in ("ce-2pass", "turbo"):
        write_run(tmp_path, objective=objective, skill=1.0)
    table = summary_table(finished_runs(tmp_path))
    row = table.iloc[1]
    assert row["difference_low"] <= 0 <= row["difference_high"]
    assert row["verdict"] == "cannot tell"
    text = Page(write_report(tmp_path, maps=False).read_text()).text
    assert "The UA of turbo cannot be told apart from that of ce-2pass." in text
    assert "points above" not in text and "points below" not in text


def test_the_printed_table_has_a_row_an_objective_with_its_name_first(grid, tmp_path):
    table = summary_table(finished_runs(grid))
    lines = format_table(table).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["ce-2pass", "turbo"]
    turbo = table.set_index("objective").loc["turbo"]
    assert lines[3].split()[1] == f"{100 * turbo['UA']:.1f}"
    assert lines[3].endswith("better") and f"{100 * turbo['difference']:+.1f} [" in lines[3]
    assert lines[0].index("verdict") == lines[3].index("better")
    long = {"contrastive_weight": 0.5, "temperature": 0.07, "similarity": "dot", "pair_weights": {"a1-t1": 0.5}}
    write_run(tmp_path, objective="cross-modal", classes=("no", "yes"), **long)
    write_run(tmp_path, objective="simcse-audio", classes=("no", "yes"))
    assert max(map(len, format_table(summary_table(finished_runs(tmp_path))).splitlines())) <= 100


@pytest.mark.usefixtures("undrawn")
def test_a_report_that_is_there_stays_whole_when_a_new_one_fails(grid, report, monkeypatch):
    before = report.read_bytes()
    monkeypatch.setattr("turbo_kit.report.write._template", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(grid, report, maps=False)
    assert report.read_bytes() == before
    assert {path.name for path in report.parent.iterdir()} == {"report.html", "report.csv", "report_tables"}


def test_out_must_be_an_html_file_or_a_folder(grid, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.html"):
        write_report(grid, tmp_path / "report.pdf", maps=False)


@pytest.mark.usefixtures("undrawn")
def test_many_rows_are_shown_in_part_and_the_report_says_so(tmp_path):
    for i in range(10):
        write_run(tmp_path, objective="turbo", contrastive_weight=0.1 * (i + 1), clips=8)
    page = Page(write_report(tmp_path, maps=False).read_text())
    assert "8 of 10 rows are shown." in page.text
    assert len(page.all("figure")) == 8 + 3
    assert CLASSES[0] in page.text


def test_every_run_is_listed_with_links_to_what_it_left(grid, report):
    page = Page(report.read_text())
    for run in finished_runs(grid):
        for name in ("config.json", "result.json"):
            assert sum(link["href"].endswith(f"{run.folder.name}/{name}") for link in page.all("a")) == 1
    assert not [link for link in page.all("a") if link["href"].endswith(".ipynb")]  # none was left


@pytest.mark.usefixtures("undrawn")
def test_a_failed_run_is_listed_with_its_error_and_notebook(tmp_path):
    for objective in ("ce-2pass", "turbo"):
        run = write_run(tmp_path, objective=objective, clips=9)
        (run.folder / "notebook.ipynb").write_text("{}")
    failed = write_run(tmp_path, "fell over", objective="clip", seed=3, done=False)
    (failed.folder / "notebook.ipynb").write_text("{}")
    error = {"error": "RuntimeError", "message": "no <b>memory</b> left", "when": "2031-01-02T03:04:05"}
    (failed.folder / "error.json").write_text(json.dumps(error))
    path = write_report(tmp_path, maps=False)
    page = Page(path.read_text())
    assert "Failed runs, listed below: 1 (fell over)." in page.text and "nfinished" not in page.text
    assert "no <b>memory</b> left" in page.text and "2031-01-02T03:04:05" in page.text
    notebooks = [link["href"] for link in page.all("a") if link["href"].endswith(".ipynb")]
    assert len(notebooks) == 3 and "fell%20over/notebook.ipynb" in notebooks
    table = pd.read_csv(tmp_path / "report_tables" / "failed.csv")
    assert table[["run", "seed", "message"]].iloc[0].tolist() == ["fell over", 3, "no <b>memory</b> left"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Turbo with a weight that each of two folds chose of three, the runs of the search, and one unfinished run."""
    folder = tmp_path_factory.mktemp("searched")
    values = [0.01, 0.1, 1.0]
    for fold, best in ((0, 0.1), (1, 1.0)):
        for seed in (0, 1):
            write_run(folder, objective="ce-2pass", fold=fold, seed=seed, clips=16)
            knobs = {"contrastive_weight": best, "searched": {"contrastive_weight": values, "seed": [100]}}
            write_run(folder, objective="turbo", fold=fold, seed=seed, clips=16, skill=1.5, **knobs)
        for value in values:
            knobs = {"contrastive_weight": value, "seed": 100, "fold": fold}
            write_run(folder, objective="turbo", done=False, clips=16, skill=1 + (value == best), **knobs)
    write_run(folder, "broken-off", objective="turbo", fold=5, done=False)
    return folder


def test_what_a_search_tried_and_chose_is_shown_and_its_runs_are_no_unfinished_ones(searched, tmp_path):
    path = write_report(searched, tmp_path, maps=False)
    page = Page(path.read_text())
    assert "Unfinished runs, left out: 1 (broken-off)." in page.text
    assert "Runs of searches, trained and not tested: 6" in page.text
    assert "turbo chosen by fold 0.1, 1" in page.text
    tables = path.parent / "report_tables"
    chosen = pd.read_csv(tables / "chosen-contrastive-weight.csv")
    assert chosen.to_dict("records") == [{"row": "turbo", "fold 0": 0.1, "fold 1": 1.0}]
    tried = pd.read_csv(tables / "search-contrastive-weight.csv")
    assert len(tried) == 6
    for run in runs_in(searched):
        if run.config.seed == 100:
            line = tried[(tried["fold"] == run.config.fold) & (tried["value"] == run.config.contrastive_weight)]
            assert line["dev_UA"].tolist() == pytest.approx([run.result["metrics"]["dev"]["UA"]])
    runs = pd.read_csv(tables / "runs.csv")
    assert runs[runs["objective"] == "turbo"]["contrastive_weight"].tolist() == [0.1, 0.1, 1.0, 1.0]
    (figure,) = [svg["aria-label"] for svg in page.all("svg") if "Heat map of mean development UA" in svg["aria-label"]]
    for value, part in tried.groupby("value"):
        assert f"turbo at {value:g}: {100 * part['dev_UA'].mean():.1f}" in figure


@pytest.mark.usefixtures("undrawn")
def test_turbo_has_a_panel_wherever_it_stands(tmp_path):
    for objective in (
        "ce-2pass",
        "ce",
        "r-drop",
        "simcse",
        "in-modal",
        "clip",
        "gram",
        "cross-modal",
        "supcon",
        "turbo",
    ):
        write_run(tmp_path, objective=objective, clips=8)
    page = Page(write_report(tmp_path, maps=False).read_text())
    shown = [svg["aria-label"].split()[3] for svg in page.all("svg") if svg["aria-label"].startswith("Confusion")]
    assert shown == ["ce-2pass.", "ce.", "r-drop.", "simcse.", "in-modal.", "clip.", "gram.", "turbo."]


@pytest.mark.usefixtures("undrawn")
def test_the_snippet_pools_what_a_search_chose_as_the_table_does(searched, tmp_path, monkeypatch):
    folder = shutil.copytree(searched, tmp_path / "runs")
    write_run(folder, objective="turbo", contrastive_weight=0.1, clips=16, skill=0.3)
    code = Page(write_report(folder, maps=False).read_text()).code
    monkeypatch.chdir(folder)
    variables = {}
    exec(code, variables)
    expected = summary_table(finished_runs(folder))
    assert len(expected) == 3
    assert sorted(variables["table"]["UA"]) == pytest.approx(sorted(expected["UA"]))


PAIRS = ("a1-a2", "t1-t2", "a1-t1", "a1-t2", "a2-t1", "a2-t2")


def test_boards_have_a_pair_matrix_and_a_map_of_ratios(tmp_path):
    write_run(tmp_path, objective="ce-2pass", clips=16)
    write_run(tmp_path, objective="turbo", clips=16)
    for pair in PAIRS[1:4]:
        write_run(tmp_path, objective="turbo", clips=16, pair_weights={other: 0 for other in PAIRS if other != pair})
        write_run(tmp_path, objective="turbo", clips=16, pair_weights={pair: 0})
    for weight in (0.1, 1.0):
        boards = {"contrastive_weight": weight, "pair_weights": {"a1-a2": 2, "t1-t2": 2}}
        write_run(tmp_path, objective="turbo", clips=16, **boards)
    uneven = {"a2-t2": 0, "a1-t1": 2}  # lacks a pair, but has another weight as well
    write_run(tmp_path, objective="turbo", clips=16, pair_weights=uneven)
    path = write_report(tmp_path, maps=False)
    scores = summary_table(finished_runs(tmp_path)).set_index("objective")["UA"]
    tables = path.parent / "report_tables"
    cells = pd.read_csv(tables / "pairs-1.csv").set_index("pair")
    assert list(cells.index) == [*PAIRS[1:4], "whole board"]
    for pair in PAIRS[1:4]:
        assert float(cells["this pair alone"][pair]) == pytest.approx(100 * scores[f"turbo, {pair} alone"], abs=0.05)
        assert float(cells["without this pair"][pair]) == pytest.approx(
            100 * scores[f"turbo, without {pair}"], abs=0.05
        )
    assert float(cells["this pair alone"]["whole board"]) == pytest.approx(100 * scores["turbo"], abs=0.05)
    ratios = pd.read_csv(tables / "ratios-2.csv")
    assert ratios[["ratio", "contrastive_weight"]].to_numpy().tolist() == [
        ["1 : 2", 0.1],
        ["1 : 1", 0.1],
        ["1 : 1", 1.0],
    ]
    assert ratios["UA"].tolist() == scores[ratios["objective"]].tolist()
    assert ratios["in_modal"].tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 2])


def test_a_grid_without_boards_and_searches_has_no_sections_for_them(report):
    text = Page(report.read_text()).text
    assert "The pair board" not in text and "What the search tried" not in text


@pytest.mark.usefixtures("undrawn")
def test_a_test_without_a_modality_has_scores_and_no_panels_of_its_own(tmp_path):
    for objective in ("ce-2pass", "turbo"):
        write_run(tmp_path, objective=objective, clips=16, modality_dropout=0.3)
    path = write_report(tmp_path, maps=False)
    page = Page(path.read_text())
    assert len(pd.read_csv(path.parent / "report_tables" / "ua.csv")) == 6
    assert len(page.all("svg")) == 1 + 1 + 2 + 1
    assert pd.read_csv(path.parent / "report_tables" / "runs.csv")["run"].is_unique
    curves = pd.read_csv(path.parent / "report_tables" / "learning-curves.csv")
    assert curves["objective"].unique().tolist() == ["ce-2pass", "turbo"]


def test_maps_are_of_one_fold_and_seed_with_the_same_clips(tmp_path):
    write_run(tmp_path, objective="ce-2pass", seed=3, clips=9)
    for fold, seed in ((0, 1), (1, 0)):
        for objective in ("in-modal", "turbo"):
            write_run(tmp_path, objective=objective, fold=fold, seed=seed, clips=9)
    page = Page(write_report(tmp_path).read_text())
    assert "Fold 0, seed 1: one run of each row." in page.text
    assert "2 of 3 rows are shown." in page.text
    assert [svg for svg in page.all("svg") if svg["aria-label"].endswith("one panel each for in-modal; turbo.")]


@pytest.mark.usefixtures("undrawn")
def test_rows_may_be_compared_with_another_baseline(grid, tmp_path):
    path = write_report(grid, tmp_path, maps=False, baseline="turbo")
    text = Page(path.read_text()).text
    assert "UA - turbo in points" in text and "points below turbo" in text
    assert pd.read_csv(path.with_suffix(".csv"))["verdict"].tolist() == ["baseline", "worse"]
    assert pd.read_csv(path.parent / "report_tables" / "runs.csv")["objective"].iloc[0] == "turbo"


@pytest.mark.usefixtures("undrawn")
def test_tables_of_an_earlier_report_do_not_stay(grid, tmp_path):
    path = write_report(grid, tmp_path, maps=False)
    stale = path.parent / "report_tables" / "confusion-9.csv"
    stale.write_text("old")
    write_report(grid, tmp_path, maps=False)
    assert not stale.exists()
