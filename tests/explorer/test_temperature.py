"""The temperature explorer follows its slider and its pair, and says the numbers that it draws."""

import re

import numpy as np
import pytest
import torch

from turbo_kit import InputError, Objective
from turbo_kit.explorer.figure_panel import figure_html
from turbo_kit.explorer.temperature import temperature_explorer, temperature_view
from turbo_kit.inspection import look_at_pair, temperature_table


@pytest.fixture(scope="module")
def views():
    generator = torch.Generator().manual_seed(2)
    return {name: torch.randn(16, 4, generator=generator) for name in ("a1", "a2", "t1", "t2")}


def test_it_says_the_numbers_of_the_place_of_its_controls(views):
    panel = temperature_explorer(Objective(), views)
    slider, pair, place = panel.children
    for temperature, name in ((0.5, "a1-t1"), (0.02, "a1-t1"), (0.02, "t1-t2")):
        slider.value, pair.value = temperature, name
        (row,) = temperature_table(Objective(), views, name, [temperature]).itertuples()
        assert f"{name} at temperature {temperature:g}: loss {row.loss:.2f}." in place.value
        assert f"feels {row.effective_negatives:.1f} " in place.value
        assert f"get {100 * row.hardest_share:.1f} %" in place.value
    assert list(pair.options) == ["a1-a2", "t1-t2", "a1-t1", "a1-t2", "a2-t1", "a2-t2"]


def plain(html):
    """The HTML without the number that keeps the names of each figure apart."""
    return re.sub(r"explorer\d+-", "", html)


def test_the_static_twin_shows_the_same(views):
    panel = temperature_explorer(Objective(), views)
    slider, pair, place = panel.children
    for slider.value, pair.value in ((0.3, "a2-t1"), (0.02, "t1-t2")):
        figure, said = temperature_view(Objective(), views, pair.value, slider.value)
        assert plain(place.value) == plain(figure_html(figure, said))
        look = look_at_pair(Objective(), views, pair.value, temperature=slider.value)
        matrix = next(axes.images[0] for axes in figure.axes if axes.images)
        np.testing.assert_allclose(matrix.get_array(), np.clip(look.softmax, 1e-4, 1), rtol=1e-5)
    between = temperature_explorer(Objective(), views, temperature=0.123)  # two stops of the slider
    assert "temperature 0.123:" in between.children[-1].value


def test_it_follows_the_slider_and_draws_its_matrix_as_one_picture(views):
    slider, _, place = temperature_explorer(Objective(), views).children
    seen = {plain(place.value)}
    for temperature in (0.01, 0.07, 1.0):
        slider.value = temperature
        seen.add(plain(place.value))
    assert len(seen) == 4 and "0.07 (a learned one starts here)" in slider.texts
    assert place.value.count("<image ") == 2 and place.value.count("<path ") < 200  # the matrix and its colour bar


@pytest.mark.parametrize("temperature", [0.0005, 0.001, 2.0])
def test_the_curves_reach_the_temperature_where_it_is_beyond_their_ends(views, temperature):
    figure, _ = temperature_view(Objective(), views, "a1-t1", temperature)
    (loss,) = [axes for axes in figure.axes if axes.get_title(loc="left") == "Loss"]
    curve, _, marker = loss.lines
    ends = sorted([temperature, 1.0 if temperature < 1 else 0.01])
    np.testing.assert_allclose([curve.get_xdata()[0], curve.get_xdata()[-1]], ends)
    expected = temperature_table(Objective(), views, "a1-t1", [temperature])["loss"].iloc[0]
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == (temperature, pytest.approx(expected))
    low, high = loss.get_xlim()
    assert low <= temperature * 1.001 and high >= temperature * 0.999
    slider = temperature_explorer(Objective(), views, temperature=temperature).children[0]
    assert slider.value == temperature and min(slider.stops) <= 0.001


def test_what_cannot_be_shown(views):
    with pytest.raises(InputError, match="unknown pair 'a1-x1'"):
        temperature_explorer(Objective(), views, pair="a1-x1")
    with pytest.raises(InputError, match="temperature is 0"):
        temperature_explorer(Objective(), views, temperature=0)
    with pytest.raises(InputError, match="'siglip'"):
        temperature_explorer(Objective.preset("siglip"), views)
