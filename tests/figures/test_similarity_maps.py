"""The figures of pairs draw the numbers that they are given."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex

from turbo_kit import Objective
from turbo_kit.figures import cosine_maps, live_curves, pair_maps, pair_tables, temperature_panels, term_bars
from turbo_kit.figures.style import MUTED, PAPER
from turbo_kit.inspection import LiveStep, look_at_pair, loss_table, temperature_table

PAIRS = ("a1-a2", "t1-t2", "a1-t1", "a1-t2", "a2-t1", "a2-t2")
LOSSES = {"cross_entropy": 1.4} | {name: 1.0 + place for place, name in enumerate(PAIRS)}


def random_views(size):
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(size, 5, generator=generator) for name in ("a1", "a2", "t1", "t2")}


@pytest.fixture(scope="module")
def look():
    return look_at_pair(Objective(), random_views(16), "a1-t1")


@pytest.fixture(scope="module")
def table():
    return loss_table(Objective.preset("in-modal", contrastive_weight=0.5), LOSSES)


def points(steps, pairs=PAIRS, every=4):
    losses = {"total": 2.0, "cross_entropy": 1.4, **dict.fromkeys(pairs, 3.0)}
    return [
        LiveStep(step, {name: loss / step for name, loss in losses.items()}, step / 20 if step % every == 0 else None)
        for step in range(1, steps + 1)
    ]


def titled(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def test_the_tables_of_a_few_clips_hold_logits_softmax_and_gradient():
    small = look_at_pair(Objective(), random_views(3), "a1-t1")
    panels = titled(pair_tables(small, ["x", "y", "z"], "a1-t1"))
    for (title, axes), values, digits in zip(
        panels.items(), (small.logits, small.softmax, small.gradient), (1, 3, 3), strict=True
    ):
        shown = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in axes.texts]
        assert shown == [f"{value:.{digits}f}" for value in values.flatten().tolist()], title
    first = next(iter(panels.values()))
    assert [label.get_text() for label in first.get_yticklabels()] == ["x", "y", "z"]
    assert first.get_ylabel() == "clip in a1" and {axes.get_xlabel() for axes in panels.values()} == {"clip in t1"}


def test_the_maps_of_a_batch_are_pictures_in_one_scale_for_all_pairs(look):
    other = look_at_pair(Objective(temperature=0.5), random_views(16), "t1-t2")
    figure = pair_maps({"a1-t1": look, "t1-t2": other})
    images = [axes.images[0] for axes in figure.axes if axes.images]
    for image, values in zip(images, (look.logits, other.logits, look.softmax, other.softmax), strict=True):
        np.testing.assert_allclose(image.get_array(), values, atol=1e-4)
    assert len({image.get_clim() for image in images[:2]}) == len({image.get_clim() for image in images[2:]}) == 1
    assert images[0].get_clim() == pytest.approx((float(look.logits.min()), float(look.logits.max())))
    assert f"loss {look.loss:.2f}" in figure.axes[0].get_title(loc="left")
    alone = [axes.images[0] for axes in pair_maps({"a1-t1": look}, with_logits=False).axes if axes.images]
    np.testing.assert_allclose(alone[0].get_array(), look.softmax, atol=1e-4)


def test_the_bars_are_each_loss_and_its_part_and_hollow_where_a_pair_is_left_out(table):
    own, added = term_bars(table, 64).axes
    assert [bar.get_width() for bar in own.patches] == pytest.approx(list(LOSSES.values()))
    assert [bar.get_width() for bar in added.patches] == pytest.approx([1.4, 0.5, 1.0, 0, 0, 0, 0])
    hollow = [to_hex(bar.get_facecolor()) == PAPER for bar in own.patches]
    assert hollow == [False, False, False, True, True, True, True]
    assert [tick.get_text() for tick in own.get_yticklabels()] == ["cross-entropy", *PAIRS]
    assert [line.get_xdata()[0] for line in own.lines] == [pytest.approx(math.log(64))]
    assert "2.900" in added.get_title(loc="left")
    assert "0.5 × 2.00 = 1.000" in [text.get_text() for text in added.texts]
    own.figure.canvas.draw()
    for axes in (own, added):
        right = axes.get_window_extent().x1 + 1
        assert all(text.get_window_extent().x1 <= right for text in axes.texts)


def test_one_training_is_in_colour_and_the_others_in_grey():
    runs = {"one": points(8, ()), "two": points(5, PAIRS[:2])}
    pairs, classified, scored = live_curves(runs, "two", 0.25, 64, steps=10).axes
    lines = [line for line in pairs.lines if len(line.get_xdata()) == 5]
    assert [text.get_text() for text in pairs.get_legend().get_texts()] == list(PAIRS[:2])
    np.testing.assert_allclose(lines[0].get_ydata(), [3 / step for step in range(1, 6)])
    assert len({line.get_marker() for line in lines}) == 2
    grey, own = classified.lines
    assert to_hex(grey.get_color()) == MUTED != to_hex(own.get_color())
    assert (len(grey.get_xdata()), len(own.get_xdata())) == (8, 5)
    assert [list(line.get_xdata()) for line in scored.lines] == [[0, 4, 8], [0, 4]]
    assert list(scored.lines[0].get_ydata()) == pytest.approx([25, 20, 40])
    assert scored.get_xlim()[1] >= 10


def test_curves_of_a_training_that_has_just_begun_can_be_drawn():
    live_curves({"one": points(1)}, "one", 0.25, 64).canvas.draw()


def test_the_marker_stands_on_the_curves_at_the_temperature(look):
    table = temperature_table(Objective(), random_views(16), "a1-t1", np.logspace(-2, 0, 9).tolist())
    panels = titled(temperature_panels(look, table, 0.1))
    for title, column, scale in (("Loss", "loss", 1), ("Effective negatives", "effective_negatives", 1)):
        curve, learned, marker = panels[title].lines
        np.testing.assert_allclose(curve.get_ydata(), scale * table[column])
        assert learned.get_xdata()[0] == 0.07
        assert (marker.get_xdata()[0], marker.get_ydata()[0]) == (0.1, pytest.approx(scale * table[column].iloc[4]))
    shares, equal = panels["Push by rank, %"].lines
    assert len(shares.get_xdata()) == 15 and shares.get_ydata().sum() == pytest.approx(100)
    assert equal.get_ydata()[0] == pytest.approx(100 / 15)


def test_cosines_are_cells_in_one_scale_and_blank_where_there_is_none():
    names = ["cross_entropy", "a1-a2"]
    one = pd.DataFrame([[1.0, -0.25], [-0.0004, 1.0]], names, names).assign(norm=[3.0, 4.0])
    two = pd.DataFrame([[1.0, np.nan], [np.nan, np.nan]], names, names)
    figure = cosine_maps({"before": one, "after": two})
    before, after = figure.axes
    assert [text.get_text() for text in before.texts] == ["1.00", "−0.25", "0.00", "1.00"]
    assert [text.get_text() for text in after.texts] == ["1.00"]
    assert before.collections[0].get_clim() == after.collections[0].get_clim() == (-1, 1)
    figure.canvas.draw()
    top = [label.get_text() for label in before.get_yticklabels()]
    assert top == ["CE", "a1-a2"] and before.get_ylim()[0] > before.get_ylim()[1]


def test_text_is_9_points_or_more(look, table):
    curve = temperature_table(Objective(), random_views(16), "a1-t1", [0.01, 0.1, 1.0])
    figures = (
        pair_maps({"a1-t1": look}),
        term_bars(table, 64),
        live_curves({"one": points(8)}, "one", 0.25, 64),
        temperature_panels(look, curve, 0.1),
    )
    for figure in figures:
        sizes = [text.get_fontsize() for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))]
        assert sizes and min(sizes) >= 9
