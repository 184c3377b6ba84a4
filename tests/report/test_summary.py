"""Rows pool repetitions alone, are named in words, and are told apart from the baseline by the corrected p."""

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_run
from sklearn.metrics import balanced_accuracy_score

from turbo_kit.config import InputError
from turbo_kit.metrics import holm, paired_difference
from turbo_kit.objectives import PRESETS
from turbo_kit.report.grouping import summary_rows, unused_options
from turbo_kit.report.naming import board_name
from turbo_kit.report.sentences import findings, format_table
from turbo_kit.report.summary import search_scores, summary_table
from turbo_kit.runs import finished_runs, runs_in

SEARCHED = {"contrastive_weight": [0.01, 0.1, 1.0], "seed": [100]}
PAIRS = ("a1-a2", "t1-t2", "a1-t1", "a1-t2", "a2-t1", "a2-t2")


def names(folder):
    return summary_table(finished_runs(folder))["objective"].tolist()


def of(folder, baseline="ce-2pass"):
    return summary_table(finished_runs(folder), baseline).set_index("objective")


def write_grid(folder, folds=(0, 1), seeds=(0, 1), **knobs):
    for fold in folds:
        for seed in seeds:
            write_run(folder, fold=fold, seed=seed, **knobs)


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Twelve rows on 8 speakers: one much better than the baseline, one much worse, the rest no different."""
    folder = tmp_path_factory.mktemp("family")
    skills = {"ce-2pass": 1.5, "turbo": 3.0, "ce": 0.2}
    for objective in ("ce-2pass", "turbo", "ce", "r-drop", "simcse", "simcse-audio", "clip", "in-modal", "cross-modal"):
        write_grid(folder, objective=objective, skill=skills.get(objective, 1.5))
    for dot in ("clip", "in-modal", "cross-modal"):
        write_grid(folder, objective=dot, similarity="dot", skill=1.5)
    return folder


@pytest.fixture(scope="module")
def family_table(family):
    return of(family)


def test_sd_is_that_of_the_single_runs(family, family_table, tmp_path):
    table = family_table
    row = next(row for row in summary_rows(finished_runs(family)) if row.name == "turbo")
    single = [
        balanced_accuracy_score(t["label"], t["predicted"]) for t in (run.predictions("test") for run in row.runs)
    ]
    assert len(single) == 4 and table.loc["turbo", "UA_sd"] == pytest.approx(np.std(single, ddof=1))
    write_run(tmp_path, objective="turbo")
    assert np.isnan(of(tmp_path).loc["turbo", "UA_sd"])


def test_p_is_corrected_for_all_rows_that_were_compared(family, family_table):
    table = family_table
    rows = {row.name: row for row in summary_rows(finished_runs(family))}
    compared = table[table["verdict"] != "baseline"]
    assert len(compared) == len(table) - 1 == 11
    for name, values in compared.iterrows():
        found = paired_difference(rows[name].predictions, rows["ce-2pass"].predictions)
        kept = ["difference", "difference_low", "difference_high", "p", "effect_size"]
        assert tuple(values[kept]) == tuple(found.values())
    assert compared["p_holm"].tolist() == pytest.approx(holm(compared["p"].tolist()))
    assert table.loc["ce-2pass", ["p", "p_holm", "effect_size"]].isna().all()


def test_the_verdict_goes_by_the_corrected_p(family, family_table):
    # 8 speakers: no p below 2 / 2^8, which 11 comparisons raise to 0.086.
    table = family_table
    for name in ("turbo", "ce"):
        assert table.loc[name, "p"] == 2 / 2**8
        assert table.loc[name, "difference_low"] > 0 or table.loc[name, "difference_high"] < 0
    assert set(table["verdict"]) == {"baseline", "cannot tell"}
    runs = [run for run in finished_runs(family) if run.config.objective in ("ce-2pass", "turbo", "ce")]
    assert summary_table(runs)["verdict"].tolist() == ["baseline", "worse", "better"]


def test_a_baseline_by_name(family):
    table = of(family, "r-drop")
    assert table.index[0] == "r-drop" and table.loc["r-drop", "verdict"] == "baseline"
    ahead = table.loc["turbo", "UA"] - table.loc["r-drop", "UA"]
    assert table.loc["turbo", "difference"] == pytest.approx(ahead) and ahead > 0
    assert table.loc["ce-2pass", "verdict"] == "cannot tell"
    with pytest.raises(InputError, match="unknown baseline 'r-dorp': did you mean 'r-drop'"):
        summary_table(finished_runs(family), "r-dorp")
    text = " ".join(findings(table.reset_index()))
    assert "from that of r-drop: ce; ce-2pass;" in text and "Only differences to r-drop were tested" in text
    assert "UA - r-drop" in format_table(table.reset_index())


def test_a_baseline_with_contrastive_terms_compares_with_rows_of_other_weights_and_pairs(tmp_path):
    write_run(tmp_path, objective="turbo", contrastive_weight=1.0)
    write_run(tmp_path, objective="turbo", contrastive_weight=1.0, pair_weights={"a1-t2": 0})
    write_run(tmp_path, objective="in-modal", contrastive_weight=0.1)
    write_run(tmp_path, objective="ce-2pass", contrastive_weight=0.0, normalize_pairs=True)
    write_run(tmp_path, objective="clip", head_width=64)
    verdicts = of(tmp_path, "turbo")["verdict"]
    assert verdicts.index[0] == "turbo, head_width=128"
    assert verdicts.tolist().count("baseline") == 1
    assert verdicts[verdicts == "not compared"].index.tolist() == ["clip, head_width=64"]


def test_the_default_baseline_may_be_absent(tmp_path):
    write_run(tmp_path, objective="turbo")
    write_run(tmp_path, objective="clip")
    assert of(tmp_path)["verdict"].tolist() == ["not compared"] * 2


def test_a_row_by_its_name_is_the_baseline_of_all_others(tmp_path):
    for knobs, skill in (({}, 0.5), ({"layer_mix": True}, 1.0), ({"layer_mix": True, "text": "none"}, 0.2)):
        digest = "ab"["layer_mix" in knobs] * 64
        write_run(tmp_path, objective="ce-2pass", skill=skill, digest=digest, **knobs)
    table = of(tmp_path, "ce-2pass, layer_mix=False")
    assert list(table.index) == [
        "ce-2pass, layer_mix=False",
        "ce-2pass, layer_mix=True",
        "ce-2pass, audio alone, layer_mix=True",
    ]
    assert table["verdict"].tolist()[0] == "baseline" and table["difference"].notna().tolist() == [False, True, True]
    ahead = table["UA"].iloc[1] - table["UA"].iloc[0]
    assert table["difference"].iloc[1] == pytest.approx(ahead)
    with pytest.raises(InputError, match="did you mean 'ce-2pass, layer_mix=True'"):
        of(tmp_path, "ce-2pass, layer_mix=true")


def test_of_two_baselines_the_most_alike_is_taken(tmp_path):
    for normalize, skill in ((True, 0.5), (False, 2.5)):
        write_run(tmp_path, objective="ce-2pass", normalize_pairs=normalize, skill=skill)
        write_run(tmp_path, objective="turbo", normalize_pairs=normalize, skill=1.5)
    table = of(tmp_path)
    for turbo, baseline in (("turbo", "normalize_pairs=True"), ("turbo, plain sum", "normalize_pairs=False")):
        ahead = table.loc[turbo, "UA"] - table.loc[f"ce-2pass, {baseline}", "UA"]
        assert table.loc[turbo, "difference"] == pytest.approx(ahead)


@pytest.mark.parametrize("knobs", [{"head_width": 64}, {"temperature": "learned"}, {"pair_weights": {"a1-t1": 0.5}}])
def test_any_knob_keeps_runs_apart_and_names_them(tmp_path, knobs):
    write_run(tmp_path, objective="turbo", seed=0)
    write_run(tmp_path, objective="turbo", seed=1, **knobs)
    assert len(names(tmp_path)) == 2 and next(iter(knobs)) in " ".join(names(tmp_path))


@pytest.mark.parametrize("objective", PRESETS)
def test_the_weight_of_the_contrastive_terms_is_idle_only_where_there_are_none(tmp_path, objective):
    for weight in (0.1, 0.5):
        write_run(tmp_path, objective=objective, contrastive_weight=weight, clips=8, speakers=1)
    write_run(tmp_path, objective="ce-2pass", seed=1, clips=8, speakers=1)
    row = next(row for row in summary_rows(finished_runs(tmp_path)) if row.objective == objective)
    assert ("contrastive_weight" in unused_options(row)) == (objective in ("ce", "ce-2pass", "r-drop"))


def write_searched(folder, objective="turbo", chosen=(0.1, 1.0), **knobs):
    for fold, value in enumerate(chosen):
        write_grid(folder, (fold,), objective=objective, contrastive_weight=value, searched=SEARCHED, clips=24, **knobs)


def test_runs_whose_weight_was_chosen_in_each_fold_share_a_row(tmp_path):
    write_searched(tmp_path, skill=3.0)
    write_grid(tmp_path, objective="ce-2pass", skill=0.5, clips=24)
    baseline, row = summary_rows(finished_runs(tmp_path))
    assert (row.name, len(row.runs)) == ("turbo", 4)
    assert row.chosen == {"contrastive_weight": {0: 0.1, 1: 1.0}} and baseline.chosen == {}
    assert row.differs["contrastive_weight"] == SEARCHED["contrastive_weight"]
    assert of(tmp_path).loc["turbo", "verdict"] == "better"


def test_a_searched_weight_and_a_fixed_one_are_two_rows(tmp_path):
    write_searched(tmp_path)
    write_grid(tmp_path, objective="turbo", contrastive_weight=0.1, clips=24)
    write_grid(tmp_path, objective="clip", contrastive_weight=0.1, clips=24)
    assert sorted(names(tmp_path)) == ["clip", "turbo", "turbo, contrastive_weight=0.1"]
    write_grid(
        tmp_path, objective="turbo", contrastive_weight=0.5, searched=SEARCHED | {"contrastive_weight": [0.5]}, clips=24
    )
    assert len(set(names(tmp_path))) == 4
    assert "turbo, searched=contrastive_weight:0.01/0.1/1.0 seed:100" in names(tmp_path)


def test_two_searches_in_one_folder_are_an_error(tmp_path):
    write_run(tmp_path, objective="turbo", seed=0, contrastive_weight=0.1, searched=SEARCHED)
    write_run(tmp_path, objective="turbo", seed=1, contrastive_weight=1.0, searched=SEARCHED)
    with pytest.raises(InputError, match=r"contrastive_weight is 1, and another run of fold 0 has 0\.1"):
        summary_rows(finished_runs(tmp_path))


def test_a_searched_knob_that_matters_to_the_baseline_prevents_the_comparison(tmp_path):
    write_run(tmp_path, objective="ce-2pass")
    rates = {"learning_rate": [0.001, 0.01], "seed": [100]}
    write_run(tmp_path, objective="turbo", learning_rate=0.001, searched=rates)
    write_run(tmp_path, objective="r-drop", r_drop_alpha=0.5)
    verdicts = of(tmp_path)["verdict"]
    assert verdicts["turbo"] == "not compared" and verdicts.iloc[1] == "cannot tell"
    write_run(tmp_path, objective="ce-2pass", learning_rate=0.01, searched=rates)
    assert "not compared" not in of(tmp_path)["verdict"].tolist()


def test_what_a_search_tried(tmp_path):
    write_searched(tmp_path, chosen=(0.1, 1.0))
    write_grid(tmp_path, objective="ce-2pass", clips=24)
    scores = {}
    for fold in (0, 1):
        for weight in SEARCHED["contrastive_weight"]:
            run = write_run(
                tmp_path, objective="turbo", fold=fold, seed=100, contrastive_weight=weight, done=False, clips=24
            )
            scores[fold, weight] = run.result["metrics"]["dev"]["UA"]
    unlike = {"seed": 1}, {"contrastive_weight": 0.3}, {"temperature": 0.5}, {"source": "b" * 64}
    for knobs in unlike:  # of no search: another seed, a value that was not asked for, another setting, another kit
        write_run(tmp_path, objective="turbo", done=False, skill=2.0, clips=24, **({"seed": 100} | knobs))
    rows = summary_rows(finished_runs(tmp_path))
    found = search_scores(rows, list(runs_in(tmp_path)))
    assert found.columns.tolist() == ["row", "objective", "normalize_pairs", "fold", "knob", "value", "dev_UA"]
    assert dict(zip(zip(found["fold"], found["value"], strict=True), found["dev_UA"], strict=True)) == scores
    assert len(found) == 6
    assert set(found["row"]) == set(found["objective"]) == {"turbo"} and set(found["knob"]) == {"contrastive_weight"}
    assert search_scores([], []).empty and search_scores(rows, finished_runs(tmp_path)).empty


def test_a_test_without_a_modality_is_a_row_of_its_own(tmp_path):
    for dropout, skill in ((0.3, 3.0), (0.0, 3.0)):
        write_grid(tmp_path, objective="turbo", modality_dropout=dropout, skill=skill)
        write_grid(tmp_path, objective="ce-2pass", modality_dropout=dropout, skill=1.0)
    table = of(tmp_path)
    row = "turbo, modality_dropout=0.3"
    assert table.index.tolist()[4:] == [
        f"turbo{more}"
        for more in ("", *(f", modality_dropout=0.3{without}" for without in ("", ", without audio", ", without text")))
    ]
    for split in ("test", "test without audio"):
        name = row + split.removeprefix("test").replace(" without", ", without")
        rows = {one.name: one for one in summary_rows(finished_runs(tmp_path))}
        assert rows[name].split == split
        parts = [run.predictions(split).assign(seed=run.config.seed) for run in rows[name].runs]
        other = [
            run.predictions(split).assign(seed=run.config.seed) for run in rows[name.replace("turbo", "ce-2pass")].runs
        ]
        found = paired_difference(pd.concat(parts), pd.concat(other))
        assert table.loc[name, "difference"] == found["mean"] and table.loc[name, "p"] == found["p"]
        assert np.isnan(table.loc[name, "audio_uniformity"]) == (split != "test")
    assert table.loc[row, "UA"] > table.loc[f"{row}, without audio", "UA"]
    assert (table["verdict"] == "baseline").sum() == 4


def test_runs_of_one_modality_are_named_so(tmp_path):
    write_run(tmp_path, objective="ce-2pass")
    write_run(tmp_path, objective="turbo")
    write_run(tmp_path, objective="ce-2pass", text="none")
    write_run(tmp_path, objective="simcse", audio="none")
    table = of(tmp_path)
    assert table.index.tolist() == ["ce-2pass", "ce-2pass, audio alone", "simcse, text alone", "turbo"]
    assert table["verdict"].tolist() == ["baseline", "baseline", "not compared", "cannot tell"]
    write_run(tmp_path, objective="ce", text="none")
    assert of(tmp_path).loc["ce, audio alone", "verdict"] == "cannot tell"


def board(**weights):
    return {name.replace("_", "-"): weight for name, weight in weights.items()}


@pytest.mark.parametrize(
    ("objective", "weights", "name"),
    [
        ("turbo", {}, ""),
        ("turbo", dict.fromkeys(PAIRS[1:], 0), "a1-a2 alone"),
        ("turbo", dict.fromkeys(PAIRS[:5], 0), "a2-t2 alone"),
        ("turbo", board(a1_t2=0), "without a1-t2"),
        ("turbo", board(t2_a1=0, a1_a2=0), "without a1-a2 and a1-t2"),
        ("turbo", board(a1_a2=2, t1_t2=2), "in-modal : cross-modal = 1 : 1"),
        ("turbo", board(a1_a2=8, t1_t2=8, a1_t1=2, a1_t2=2, a2_t1=2, a2_t2=2), "in-modal : cross-modal = 2 : 1"),
        ("turbo", board(a1_a2=0.3333333, t1_t2=0.3333333), "in-modal : cross-modal = 1 : 6"),
        ("turbo", board(a1_a2=0.7071068, t1_t2=0.7071068), "in-modal : cross-modal = 1.41421 : 4"),
        ("turbo", dict.fromkeys(PAIRS[2:], 0), "in-modal : cross-modal = 1 : 0"),
        ("turbo", dict.fromkeys(PAIRS[:2], 0), "in-modal : cross-modal = 0 : 1"),
        ("turbo", board(a1_t1=0.5), "pair_weights=a1-t1:0.5"),
        ("turbo", board(a1_t1=0.5, a1_t2=0), "pair_weights=a1-t1:0.5 a1-t2:0"),
        ("turbo", dict.fromkeys(PAIRS, 0), "without a1-a2 and t1-t2 and a1-t1 and a1-t2 and a2-t1 and a2-t2"),
        ("clip", board(a1_t1=0.5), "pair_weights=a1-t1:0.5"),
        ("in-modal", board(a1_a2=0), "t1-t2 alone"),
        ("in-modal", board(a1_a2=0.5, t1_t2=0.5), "pair_weights=a1-a2:0.5 t1-t2:0.5"),
        ("forgotten", board(a1_t1=0), "pair_weights=a1-t1:0"),
    ],
)
def test_a_board_is_named_by_what_it_is(objective, weights, name):
    assert board_name(objective, weights) == name


def test_boards_are_rows_in_the_order_of_their_names_and_compared(tmp_path):
    write_run(tmp_path, objective="ce-2pass")
    write_run(tmp_path, objective="turbo")
    write_run(tmp_path, objective="turbo", pair_weights=board(a1_t2=0))
    write_run(tmp_path, objective="turbo", pair_weights=dict.fromkeys(PAIRS[1:], 0))
    for scale in (2, 4):  # of one ratio, so that the ratio alone would name two rows
        weights = dict.fromkeys(PAIRS[:2], 2.0 * scale) | dict.fromkeys(PAIRS[2:], 1.0 * scale)
        write_run(tmp_path, objective="turbo", pair_weights=weights)
    found = names(tmp_path)
    assert found[:3] == ["ce-2pass", "turbo", "turbo, a1-a2 alone"] and found[-1] == "turbo, without a1-t2"
    ratio = "turbo, in-modal : cross-modal = 1 : 1, pair_weights=a1-a2:"
    assert [name[: len(ratio) + 3] for name in found[3:5]] == [f"{ratio}4.0", f"{ratio}8.0"]
    assert "not compared" not in of(tmp_path)["verdict"].tolist()


def test_names_keep_silent_about_what_differs_only_where_it_changes_nothing(tmp_path):
    write_run(tmp_path, objective="ce-2pass", temperature=0.1)
    write_run(tmp_path, objective="turbo", temperature=0.5)
    write_run(tmp_path, objective="clip", temperature=0.5)
    assert names(tmp_path) == ["ce-2pass", "clip", "turbo"]
    write_run(tmp_path, objective="ce-2pass", temperature=0.2)
    assert names(tmp_path)[:2] == ["ce-2pass, temperature=0.1", "ce-2pass, temperature=0.2"]


def test_the_plain_sum_of_the_pairs_is_named_and_stands_beside_the_headline(tmp_path):
    for normalize in (False, True):
        write_run(tmp_path, objective="turbo", normalize_pairs=normalize)
    write_run(tmp_path, objective="clip", normalize_pairs=True)
    write_run(tmp_path, objective="ce-2pass", normalize_pairs=True)
    assert names(tmp_path) == ["ce-2pass", "clip", "turbo", "turbo, plain sum"]
    write_run(tmp_path, objective="ce-2pass", normalize_pairs=False)
    assert names(tmp_path)[:2] == ["ce-2pass, normalize_pairs=True", "ce-2pass, normalize_pairs=False"]
    assert "not compared" not in of(tmp_path)["verdict"].tolist()


def test_the_printed_table_fits_and_shows_what_was_found(family_table):
    table = family_table.reset_index()
    lines = format_table(table).splitlines()
    assert max(map(len, lines)) <= 100
    heads = ["objective", "UA %", "sd", "95 % interval", "WA %", "UA - ce-2pass", "Holm p", "verdict"]
    assert " ".join(lines[0].split()) == " ".join(heads)
    row = table.set_index("objective").loc["turbo"]
    shown = next(line for line in lines if line.startswith("turbo"))
    assert shown.split()[1:3] == [f"{100 * row['UA']:.1f}", f"{100 * row['UA_sd']:.1f}"]
    assert f"{100 * row['difference']:+.1f} [" in shown and "  0.086  cannot tell" in shown


def test_findings_say_what_the_p_values_are_corrected_for(family, family_table):
    text = " ".join(findings(family_table.reset_index()))
    assert "The p values are Holm-corrected for 11 comparisons" in text
    assert "With 8 test speakers and 11 comparisons no p value can be below 0.086" in text
    runs = [run for run in finished_runs(family) if run.config.objective in ("ce-2pass", "turbo", "ce")]
    text = " ".join(findings(summary_table(runs)))
    assert "Holm-corrected for 2 comparisons" in text and "no p value can be below" not in text
    assert "turbo: UA is" in text and "models of different folds share" in text


def turbo_sentence(folder):
    return next(one for one in findings(summary_table(finished_runs(folder))) if one.startswith("Turbo, as this kit"))


@pytest.mark.parametrize(
    ("skill", "said"),
    [
        (3.0, "is better than ce-2pass here. It has the highest UA of all rows."),
        (0.2, "is worse than ce-2pass here. The highest UA is that of ce-2pass."),
        (1.5, "is neither shown to be better than ce-2pass here nor worse."),
    ],
)
def test_findings_say_how_turbo_came_out_whichever_way(tmp_path, skill, said):
    write_grid(tmp_path, objective="ce-2pass", skill=1.5)
    write_grid(tmp_path, objective="turbo", skill=skill)
    assert said in turbo_sentence(tmp_path)
    assert "neither confirms nor refutes the paper" in turbo_sentence(tmp_path)


def test_findings_count_the_settings_of_turbo(tmp_path):
    for temperature, skill in ((0.05, 3.0), (0.5, 1.5)):
        write_grid(tmp_path, objective="turbo", temperature=temperature, skill=skill)
    assert "not compared" in summary_table(finished_runs(tmp_path))["verdict"].tolist()
    write_grid(tmp_path, objective="ce-2pass", skill=1.5)
    said = "is better than ce-2pass in 1 of 2 rows, worse in 0, and cannot be told apart in 1."
    assert said in turbo_sentence(tmp_path)


def test_findings_without_turbo_do_not_speak_of_it(tmp_path):
    write_grid(tmp_path, objective="ce-2pass", clips=8)
    write_grid(tmp_path, objective="clip", clips=8)
    assert "Turbo" not in " ".join(findings(summary_table(finished_runs(tmp_path))))
