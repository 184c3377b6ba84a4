"""Every figure says what its data say, and one name looks the same wherever it stands."""

import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from fake_runs import CLASSES, write_run
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from safetensors.numpy import load_file, save_file

from turbo_kit.config import InputError
from turbo_kit.figures import (
    GEOMETRY,
    MARKERS,
    OKABE_ITO,
    confusion,
    embedding_map,
    geometry_scatter,
    inline_svg,
    learning_curves,
    marks,
    pair_matrix,
    pair_ratios,
    score_intervals,
    search_map,
)
from turbo_kit.figures.style import MUTED

TABLE = pd.DataFrame(
    {
        "objective": ["ce-2pass", "turbo"],
        "UA": [0.6, 0.65],
        "UA_low": [0.55, np.nan],
        "UA_high": [0.66, np.nan],
        "verdict": ["baseline", "cannot tell"],
        "audio_alignment": [0.2, 0.1],
        "text_alignment": [0.3, 0.25],
        "audio-text_alignment": [1.4, 0.9],
        "audio_uniformity": [-2.0, -3.1],
        "text_uniformity": [-1.0, np.nan],
        "audio-text_modality_gap": [0.8, 0.4],
        "audio_effective_rank": [20.0, 44.0],
        "text_effective_rank": [11.0, 12.0],
    }
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder, objective=o, seed=s, clips=9) for o in ("ce-2pass", "turbo") for s in (0, 1)]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def lines_with(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker]


def test_marks_are_different_for_72_names():
    assert len(set(marks(map(str, range(len(OKABE_ITO) * len(MARKERS)))).values())) == 72


def test_learning_curves_draw_each_run_its_chosen_epoch_and_the_mean(runs):
    figure = learning_curves(runs)
    assert isinstance(figure, Figure) and len(figure.axes) == 2
    ua = figure.axes[0]
    means = [line for line in ua.lines if line.get_linewidth() > 2]
    expected = pd.concat([run.history for run in runs[:2]]).groupby("epoch")["dev_UA"].mean()
    assert len(means) == 2
    np.testing.assert_allclose(means[0].get_ydata(), 100 * expected)
    for run, line in zip(runs[:2], lines_with(ua, "o"), strict=False):
        epoch = run.result["best_epoch"]
        assert line.get_xdata()[0] == epoch
        assert line.get_ydata()[0] == pytest.approx(100 * run.history.set_index("epoch")["dev_UA"][epoch])
    assert set(texts(ua)) == {"ce-2pass", "turbo"}


def test_the_mark_stands_at_the_chosen_epoch_and_not_at_the_end(tmp_path):
    run = write_run(tmp_path, epochs=5)
    (run.folder / "result.json").write_text(json.dumps({**run.result, "best_epoch": 2}))
    for axes, column, scale in zip(learning_curves([run]).axes, ("dev_UA", "dev_loss"), (100, 1), strict=True):
        mark = lines_with(axes, "o")[0]
        assert list(mark.get_xdata()) == [2]
        assert list(mark.get_ydata()) == pytest.approx([scale * run.history[column][1]])


def test_the_mean_stops_where_the_shortest_run_does(tmp_path):
    runs = [write_run(tmp_path, seed=0, epochs=6), write_run(tmp_path, seed=1, epochs=3)]
    (mean,) = [line for line in learning_curves(runs).axes[0].lines if line.get_linewidth() > 2]
    assert list(mean.get_xdata()) == [1, 2, 3]


def test_labels_of_lines_do_not_overlap_where_all_lines_end_at_one_place(runs):
    figure = learning_curves({f"turbo, contrastive_weight={i}": runs[:1] for i in range(6)})
    figure.canvas.draw()
    for axes in figure.axes:
        boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
        assert len(boxes) == 6
        assert all(below.y1 <= above.y0 + 1 for below, above in pairwise(boxes))


def test_confusion_counts_by_class_and_leaves_out_the_unlabelled():
    predictions = pd.DataFrame(
        {"label": ["a", "a", "b", None, "a"], "predicted": ["a", "b", "b", "b", "b"]},
    )
    figure = confusion(predictions, ["a", "b", "never"], title="turbo")
    (axes,) = figure.axes
    assert texts(axes) == ["1", "2", "0", "0", "1", "0", "0", "0", "0"]
    shades = axes.collections[0].get_array().reshape(3, 3)
    np.testing.assert_allclose(shades, [[1 / 3, 2 / 3, 0], [0, 1, 0], [0, 0, 0]])
    with pytest.raises(InputError, match="'b' is none of the classes"):
        confusion(predictions, ["a", "c"])


def test_more_than_six_objectives_get_a_panel_each_with_the_reference_in_grey(runs):
    names = ["ce-2pass", *(f"row {i}" for i in range(8))]
    figure = learning_curves({name: runs[:2] if name == "ce-2pass" else runs[2:] for name in names}, "ce-2pass")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == names
    grey, mean = (
        pd.concat([run.history for run in part]).groupby("epoch")["dev_UA"].mean() for part in (runs[:2], runs[2:])
    )
    for axes in panels[1:]:
        thick = [line for line in axes.lines if line.get_linewidth() > 2]
        np.testing.assert_allclose([line.get_ydata() for line in thick], [100 * grey, 100 * mean])
        assert to_hex(thick[0].get_color()) == MUTED != to_hex(thick[1].get_color())
        assert len(lines_with(axes, "o")) == 2


def test_a_class_looks_the_same_in_every_panel_of_the_maps(runs):
    classes = ("never", *reversed(CLASSES))
    figure = embedding_map({"one": runs[0], "two": runs[2]}, classes=classes)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["one", "two"]
    looks = {}
    for axes in figure.axes:
        assert sum(len(line.get_xdata()) for line in axes.lines) == 9
        for line in axes.lines:
            looks.setdefault(line.get_label(), set()).add((to_hex(line.get_color()), line.get_marker()))
    assert looks == {name: {tuple(mark)} for name, mark in marks(classes).items()}
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == list(classes)
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_a_map_takes_the_clips_of_all_runs_in_one_order(runs, tmp_path):
    other = write_run(tmp_path, objective="turbo", clips=9)
    table = pd.read_parquet(other.folder / "predictions.parquet")
    test = table["split"] == "test"
    table = pd.concat([table[~test], table[test][::-1]])
    table.to_parquet(other.folder / "predictions.parquet")
    arrays = {key: array[::-1].copy() for key, array in load_file(other.folder / "embeddings.safetensors").items()}
    save_file(arrays, other.folder / "embeddings.safetensors")
    one, two = embedding_map({"a": runs[2], "b": other}).axes
    for line, same in zip(one.lines, two.lines, strict=True):
        np.testing.assert_allclose(line.get_xydata(), same.get_xydata(), atol=1e-6)


def test_runs_of_other_clips_have_no_common_map(runs, tmp_path):
    with pytest.raises(InputError, match="hold other clips"):
        embedding_map([runs[0], write_run(tmp_path, fold=1, clips=9)])


@pytest.mark.parametrize("rows", [2, 12])
def test_geometry_stands_beside_accuracy_one_point_a_row(rows):
    table = pd.concat([TABLE] * (rows // 2), ignore_index=True)
    table["objective"] = [f"row {i}" for i in range(rows)]
    table["UA"] = np.linspace(0.4, 0.7, rows)
    table["audio_alignment"] = np.linspace(0.1, 0.3, rows)
    figure = geometry_scatter(table)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == list(GEOMETRY.values())
    points = np.concatenate([line.get_xydata() for line in panels["Alignment, audio"].lines])
    np.testing.assert_allclose(points, np.stack([table["audio_alignment"], 100 * table["UA"]], axis=1))
    assert len(panels["Uniformity, text"].lines) == rows // 2  # what is undefined has no point
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    if rows <= len(OKABE_ITO):
        assert key == table["objective"].tolist()
    else:
        assert key == [f"{i + 1}  row {i}" for i in range(rows)]
        numbers = panels["Alignment, audio"].texts
        assert [(note.get_text(), note.xy[0]) for note in numbers] == [
            (str(i + 1), pytest.approx(x)) for i, x in enumerate(table["audio_alignment"])
        ]


def test_geometry_leaves_out_what_was_not_measured():
    figure = geometry_scatter(TABLE.drop(columns=[name for name in TABLE if "text" in name]))
    assert len([axes for axes in figure.axes if axes.get_visible()]) == 3
    with pytest.raises(InputError, match="no column of the geometry"):
        geometry_scatter(TABLE[["objective", "UA"]])


def test_the_pair_matrix_has_pairs_alone_above_the_diagonal_and_left_out_below():
    (axes,) = pair_matrix({"a1-t2": 0.5, "a1-a2": 0.55}, {"a1-t2": 0.625, "t1-t2": 0.7}, 0.65).axes
    cells = {(text.get_position()[1] - 0.5, text.get_position()[0] - 0.5): text.get_text() for text in axes.texts}
    assert cells == {
        (0, 3): "50.0\n−15.0",
        (0, 1): "55.0\n−10.0",
        (3, 0): "62.5\n−2.5",
        (3, 2): "70.0\n+5.0",
    }
    shades = axes.collections[0].get_array().reshape(4, 4)
    assert shades[3, 0] == pytest.approx(62.5) and shades.mask.sum() == 12
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a1", "a2", "t1", "t2"]


def test_ratios_are_points_with_one_weight_and_a_heat_map_with_several():
    table = pd.DataFrame({"ratio": ["1 : 1", "0 : 1"], "in_modal": [0.5, 0.0], "contrastive_weight": [0.1, 0.1]})
    table = table.assign(UA=[0.6, 0.5], UA_low=[0.55, 0.4], UA_high=[0.65, 0.6])
    (axes,) = pair_ratios(table, baseline=0.58).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0 : 1", "1 : 1"]
    assert [line.get_ydata()[0] for line in lines_with(axes, "o")] == [50, 60]
    assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [pytest.approx(58)]
    both = pd.concat([table, table[:1].assign(contrastive_weight=1.0, UA=0.7)])
    (axes,) = pair_ratios(both).axes
    np.testing.assert_allclose(axes.collections[0].get_array().reshape(2, 2).filled(0), [[50, 60], [0, 70]])
    assert texts(axes) == ["50.0", "60.0", "70.0"]


def test_the_search_map_shows_means_over_folds_and_how_many_chose_a_value():
    rows = [("turbo", 0.1, 0.5), ("turbo", 0.1, 0.6), ("turbo", 0.01, 0.4), ("clip", 0.01, 0.7)]
    (axes,) = search_map(
        pd.DataFrame(rows, columns=["name", "value", "dev_UA"]), {("turbo", 0.1): 2}, "contrastive_weight"
    ).axes
    assert texts(axes) == ["40.0", "55.0\n2 folds", "70.0"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["turbo", "clip"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.01", "0.1"]


def test_score_intervals_show_score_interval_and_baseline():
    (axes,) = score_intervals(TABLE).axes
    assert texts(axes) == ["60.0  [55.0, 66.0]", "65.0"]
    assert [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "--"] == [[60.0, 60.0]]
    assert len([line for line in axes.lines if list(line.get_xdata()) == pytest.approx([55.0, 66.0])]) == 1
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ce-2pass", "turbo"]


def test_names_that_look_like_formulas_or_markup_are_shown_as_they_are():
    classes = ["$\\frac{$", "<b>"]
    predictions = pd.DataFrame({"label": classes, "predicted": classes})
    svg = inline_svg(confusion(predictions, classes), 'of "<b>"', "f1")
    assert "&lt;b&gt;" in svg and "<b>" not in svg and "$\\frac{$" in svg
    assert 'aria-label="of &quot;&lt;b&gt;&quot;"' in svg


def test_inline_svg_follows_the_theme_and_keeps_its_names_to_itself():
    svg = inline_svg(score_intervals(TABLE), "UA", "f1")
    assert svg.startswith("<svg ") and svg.rstrip().endswith("</svg>")
    assert "var(--ink, #1b1d21)" in svg and "var(--paper, #fefefe)" in svg
    names = set(re.findall(r'\bid="([^"]+)"', svg))
    assert names and all(name.startswith("f1-") for name in names)
    assert set(re.findall(r"(?:href=\"#|url\(#)([^)\"]+)", svg)) <= names
    assert "http" not in svg


def test_figures_leave_matplotlibs_settings_alone():
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        before = dict(mpl.rcParams)
        inline_svg(score_intervals(TABLE), "UA", "f1")
        assert dict(mpl.rcParams) == before


def test_a_notebook_shows_a_figure_by_itself():
    assert score_intervals(TABLE)._repr_png_().startswith(b"\x89PNG")


def test_text_is_9_points_or_more(runs):
    for figure in (learning_curves(runs), geometry_scatter(TABLE), score_intervals(TABLE), embedding_map(runs[:1])):
        sizes = [text.get_fontsize() for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))]
        assert sizes and min(sizes) >= 9
