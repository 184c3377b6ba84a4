import ipywidgets
import pytest

from turbo_kit import InputError
from turbo_kit.explorer.figure_panel import figure_panel
from turbo_kit.figures.style import drawing


def draw(height, name):
    if height == 3:
        raise InputError(f"{name}: <3> is too high")
    with drawing(2, 1) as figure:
        figure.subplots().set_title(f"title of {height}")
    return figure, f'{name} "is" {height} & no <b>more</b>'


@pytest.fixture
def controls():
    return {"height": ipywidgets.IntSlider(1), "name": ipywidgets.Text("x")}


def test_the_figure_follows_every_control(controls):
    panel = figure_panel(draw, controls)
    *shown, place = panel.children
    assert shown == list(controls.values())
    assert "title of 1" in place.value
    controls["height"].value = 2
    assert "title of 2" in place.value and "title of 1" not in place.value
    controls["name"].value = "other"
    assert "other" in place.value


def test_what_is_said_is_text_and_the_figures_alternative(controls):
    place = figure_panel(draw, controls).children[-1]
    assert 'aria-label="x &quot;is&quot; 1 &amp; no &lt;b&gt;more&lt;/b&gt;"' in place.value
    assert "<b>more</b>" not in place.value


def test_an_error_stands_in_the_place_of_the_figure_until_it_is_mended(controls):
    place = figure_panel(draw, controls).children[-1]
    controls["height"].value = 3
    assert "svg" not in place.value and "x: &lt;3&gt; is too high" in place.value
    controls["height"].value = 2
    assert "title of 2" in place.value


def test_the_figure_takes_the_colours_of_the_theme(controls):
    value = figure_panel(draw, controls).children[-1].value
    for tone in ("--ink", "--muted", "--paper"):
        assert f"{tone}:var(--jp-" in value and f"var({tone}, #" in value
