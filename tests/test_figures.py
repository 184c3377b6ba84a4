"""Every figure says what its data say, and one name looks the same wherever it stands."""

import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from ablation.fake_runs import CLASSES, write_run
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from turbo_kit.config import InputError
from turbo_kit.figures import (
    MARKERS,
    OKABE_ITO,
    confusion,
    embedding_map,
    geometry_bars,
    inline_svg,
    learning_curves,
    marks,
    score_intervals,
)
from turbo_kit.maps import MAP_POINTS, embedding_spaces, flat_map, sample, separation

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
    figure = learning_curves({f"turbo, contrastive_weight={i}": runs[:1] for i in range(7)})
    figure.canvas.draw()
    for axes in figure.axes:
        boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
        assert len(boxes) == 7
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


def test_a_class_looks_the_same_in_every_panel_of_the_maps(runs):
    classes = ("never", *reversed(CLASSES))
    figure = embedding_map({"one": runs[0], "two": runs[2]}, classes=classes)
    assert len(figure.axes) == 6
    looks = {}
    for axes in figure.axes:
        assert sum(len(line.get_xdata()) for line in axes.lines) == 9
        for line in axes.lines:
            looks.setdefault(line.get_label(), set()).add((to_hex(line.get_color()), line.get_marker()))
    assert looks == {name: {tuple(mark)} for name, mark in marks(classes).items()}
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == list(classes)


def test_maps_of_one_modality_have_one_row(tmp_path):
    run = write_run(tmp_path, objective="ce", text="none", clips=9)
    assert len(embedding_map([run]).axes) == 1
    assert list(embedding_spaces(run)) == ["audio"]


def test_flat_map_keeps_far_groups_apart_and_is_the_same_each_time():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 20)
    vectors = rng.normal(size=(40, 12)) + 30 * groups[:, None]
    flat = flat_map(vectors)
    assert flat.shape == (40, 2)
    centres = [flat[groups == g].mean(axis=0) for g in (0, 1)]
    spread = max(np.linalg.norm(flat[groups == g] - centres[g], axis=1).max() for g in (0, 1))
    assert np.linalg.norm(centres[0] - centres[1]) > spread
    np.testing.assert_array_equal(flat, flat_map(vectors))


@pytest.mark.parametrize("clips", [1, 2, 9])
def test_flat_map_of_few_points_keeps_their_distances(clips):
    plane = (
        np.random.default_rng(0).normal(size=(clips, 2))
        @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 2)))[0].T
    )
    flat = flat_map(plane)
    assert flat.shape == (clips, 2)
    np.testing.assert_allclose(
        np.linalg.norm(flat[:, None] - flat[None], axis=-1),
        np.linalg.norm(plane[:, None] - plane[None], axis=-1),
        atol=1e-9,
    )


def test_a_large_map_shows_a_fixed_sample():
    chosen = sample(MAP_POINTS + 500)
    assert len(np.unique(chosen)) == MAP_POINTS and chosen.max() < MAP_POINTS + 500
    np.testing.assert_array_equal(chosen, sample(MAP_POINTS + 500))
    np.testing.assert_array_equal(sample(5), np.arange(5))


def test_separation_rises_with_the_distance_of_the_classes(tmp_path):
    near, far = (write_run(tmp_path, centre=centre, width=64) for centre in (0.01, 2.0))
    assert separation(far, "audio + text") > 0.5 > separation(near, "audio + text")


def test_geometry_bars_are_as_long_as_the_numbers():
    figure = geometry_bars(TABLE)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}
    alignment, uniformity, gap, rank = panels.values()
    assert [bar.get_width() for bar in alignment.patches] == [0.2, 0.1, 0.3, 0.25, 1.4, 0.9]
    assert [bar.get_width() for bar in gap.patches] == [0.8, 0.4]
    assert [bar.get_width() for bar in rank.patches] == [20, 44, 11, 12]
    assert texts(uniformity) == ["−2.00 audio", "−3.10", "−1.00 text"]  # what is undefined gets no number
    assert len({to_hex(axes.patches[0].get_facecolor()) for axes in (alignment, uniformity, rank)}) == 1


def test_geometry_bars_leave_out_what_was_not_measured():
    figure = geometry_bars(TABLE.drop(columns=[name for name in TABLE if "text" in name]))
    assert len([axes for axes in figure.axes if axes.get_visible()]) == 3
    with pytest.raises(InputError, match="no column of the geometry"):
        geometry_bars(TABLE[["objective"]])


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
    for figure in (learning_curves(runs), geometry_bars(TABLE), score_intervals(TABLE), embedding_map(runs[:1])):
        sizes = [text.get_fontsize() for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))]
        assert sizes and min(sizes) >= 9
