"""A slider's value and its place on the page are one, whichever side moves it."""

import pytest

from turbo_kit.explorer.slider import new_slider


@pytest.fixture
def slider():
    return new_slider("rate", (0.0, 0.1, 0.3), 0.1, "{:.2f}".format)


def test_it_says_each_stop_and_stands_at_its_value(slider):
    assert (slider.description, slider.texts, slider.index) == ("rate", ["0.00", "0.10", "0.30"], 1)


def test_what_the_page_moves_is_observed_as_a_value(slider):
    seen = []
    slider.observe(lambda change: seen.append(change.new), names="value")
    slider.set_state({"index": 2})  # as the page sends it
    assert seen == [0.3] and slider.value == 0.3


def test_a_value_that_is_set_moves_the_page(slider):
    slider.value = 0.0
    assert slider.index == 0
    slider.value = 0.1 + 0.2  # not quite 0.3, and yet that stop
    assert (slider.value, slider.index, len(slider.texts)) == (0.3, 2, 3)


def test_a_value_between_two_stops_becomes_a_stop(slider):
    slider.value = 0.2
    assert (slider.value, slider.texts, slider.index) == (0.2, ["0.00", "0.10", "0.20", "0.30"], 2)
    slider.set_state({"index": 3})
    assert slider.value == 0.3
    assert new_slider("passes", range(2, 5), 7).texts == ["2", "3", "4", "7"]
