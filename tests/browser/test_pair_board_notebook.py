"""Notebook 03 in a real JupyterLab: explorers follow mouse and keyboard, and a training can be watched and stopped."""

import re

import pytest
from browser.conftest import eventually, fits, heard_sliders, press_tab_through
from playwright.sync_api import expect

NOTEBOOK = "03_pair_board.ipynb"
MINUTE = 60_000


@pytest.fixture(scope="module")
def page(lab):
    page = lab.open(NOTEBOOK, interactive=True, epochs=1, batch=32)
    board(page).locator('svg[role="img"]').first.wait_for()
    yield page
    page.close()


def panels(page):
    """The explorers, in their order on the page: temperature, then the board."""
    return page.locator(".jp-OutputArea-output").filter(has=page.locator(".jupyter-widgets [role='status']"))


def temperature(page):
    return (
        panels(page)
        .filter(has=page.get_by_text("a learned one starts here").or_(page.locator("text=temperature")))
        .first
    )


def board(page):
    return panels(page).filter(has=page.get_by_role("button", name="train"))


def said(panel, place=0):
    return panel.locator("[role='status']").nth(place).inner_text()


def drawn(panel, place=0):
    """What the lines, bars and pictures of a figure are, without the number in their names."""
    return (
        panel.locator('svg[role="img"]')
        .nth(place)
        .evaluate(
            """(svg) => [...svg.querySelectorAll('path, image')]
            .map((part) => part.getAttribute('d') || part.getAttribute('xlink:href')).join()"""
        )
    )


def changes(panel, act, sentence):
    """Acts, and waits until the first figure is another one and the sentence says what is expected."""
    before = drawn(panel)
    act()
    eventually(lambda: drawn(panel) != before and re.search(sentence, said(panel)), f"the figure of {sentence!r}", 60)


def slider(panel, name):
    return panel.get_by_role("slider", name=name, exact=True)


def cell(page, pair, weight, place=0):
    """A cell of the board by its text: the first is above the diagonal, the second below."""
    return board(page).get_by_role("button", name=f"{pair}: {weight}", exact=True).nth(place)


def click_the_rail(slider, share):
    """Clicks a slider at a share of its length."""
    box = slider.bounding_box()
    slider.click(position={"x": share * box["width"], "y": box["height"] / 2})


def test_temperature_moves_by_mouse_and_by_keyboard(page):
    panel = temperature(page)
    panel.scroll_into_view_if_needed()
    assert said(panel).startswith("a1-t1 at temperature 0.05:")
    stops = slider(panel, "temperature")
    changes(panel, lambda: click_the_rail(stops, 0.98), "temperature 1:")
    stops.focus()
    changes(panel, lambda: page.keyboard.press("ArrowLeft"), "temperature 0.7:")
    changes(panel, lambda: panel.get_by_role("button", name="t1-t2").click(), "t1-t2 at")
    panel.get_by_role("button", name="a1-a2").focus()
    changes(panel, lambda: page.keyboard.press("Space"), "a1-a2 at")


def test_cells_are_switched_by_mouse_and_by_keyboard(page):
    panel = board(page)
    panel.scroll_into_view_if_needed()
    changes(panel, lambda: cell(page, "a1-t2", 1).click(), "Left out: a1-t2 ")
    changes(panel, lambda: cell(page, "t1-t2", 1, place=1).click(), "Left out: t1-t2 .*, a1-t2 ")
    cell(page, "a1-t2", 0).focus()
    changes(panel, lambda: page.keyboard.press("Space"), "Left out: t1-t2 [^,]*$")
    changes(panel, lambda: page.keyboard.press("Enter"), "Left out: t1-t2 .*, a1-t2 ")


def test_weights_and_presets_move_by_mouse_and_by_keyboard(page):
    panel = board(page)
    changes(panel, lambda: panel.get_by_role("button", name="in-modal").click(), "a1-a2 0.05 ×")
    panel.get_by_role("button", name="clip").focus()
    changes(panel, lambda: page.keyboard.press("Space"), "a1-t1 0.1 ×")
    changes(panel, lambda: cell(page, "a1-a2", 0).click(), "a1-a2 0.05 ×")
    weight = slider(panel, "weight of a1-a2")
    changes(panel, lambda: click_the_rail(weight, 0.98), "a1-a2 0.0667 ×")
    changes(panel, lambda: click_the_rail(weight, 0.5), "a1-a2 0.05 ×")
    weight.focus()
    changes(panel, lambda: page.keyboard.press("ArrowRight"), "a1-a2 0.0524 ×")
    assert cell(page, "a1-a2", 1.1).is_visible()
    changes(panel, lambda: page.get_by_label("scale the pairs to sum 1").click(), "a1-a2 0.11 ×")
    slider(panel, "contrastive weight").focus()
    changes(panel, lambda: page.keyboard.press("ArrowRight"), "a1-a2 0.165 ×")


def test_a_screen_reader_hears_the_name_and_the_value_of_each_slider(page):
    temperature_now = re.search(r"at temperature ([\d.]+):", said(temperature(page)))[1]
    heard = heard_sliders(page)
    assert heard.pop("temperature") == temperature_now
    weighed = re.search("weight of (.*)", " ".join(name for name in heard if name.startswith("weight of")))[1]
    assert cell(page, weighed, heard.pop(f"weight of {weighed}")).is_visible()
    assert heard.keys() == {"contrastive weight"}


def test_the_figures_are_no_wider_than_their_place(page):
    for width, height in ((1024, 768), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        for panel in (temperature(page), board(page)):
            figure = panel.locator('svg[role="img"]').first
            eventually(lambda figure=figure: fits(figure), f"the figure to fit at {width} pixels")


def test_a_training_is_drawn_while_it_runs_and_stops_at_once(page):
    panel = board(page)
    train, stop = (panel.get_by_role("button", name=name) for name in ("train", "stop"))
    train.click()
    eventually(lambda: panel.locator('svg[role="img"]').count() == 2, "the first point", 20)
    first = drawn(panel, 1)
    eventually(lambda: drawn(panel, 1) != first, "the curve to go on", 20)
    expect(stop).to_be_enabled()
    stop.focus()
    page.keyboard.press("Enter")
    expect(train).to_be_enabled(timeout=MINUTE)
    step, steps = map(int, re.search(r"training 1 .*: step (\d+) of (\d+)", said(panel, 1)).groups())
    assert 2 <= step < steps
    train.click()
    eventually(
        lambda: "training 2" in said(panel, 1) and "training 1" in said(panel, 1), "the earlier curve beside it", 20
    )
    stop.click()
    expect(train).to_be_enabled(timeout=MINUTE)


def test_tab_reaches_every_pair_once_and_every_control(page):
    panel = board(page)
    panel.get_by_role("button", name=re.compile("^a1-a2: ")).first.focus()
    page.keyboard.press("Shift+Tab")
    reached = press_tab_through(page, 14)
    for pair in ("a1-a2", "t1-t2", "a1-t1", "a1-t2", "a2-t1", "a2-t2"):
        assert sum(name.startswith(pair) for name in reached) == 1, reached
    assert any("train" in name for name in reached), reached


def test_the_figures_have_alternative_texts_and_the_themes_ink(page, lab):
    for place in (0, 1):
        figure = board(page).locator('svg[role="img"]').nth(place)
        assert figure.get_attribute("aria-label") == said(board(page), place)
    light = board(page).locator("[role='status']").first.evaluate("(line) => getComputedStyle(line).color")
    dark = lab.open(NOTEBOOK, theme="JupyterLab Dark", interactive=True, epochs=1, batch=16)
    line = board(dark).locator("[role='status']").first
    line.wait_for()
    assert line.evaluate("(line) => getComputedStyle(line).color") != light
    dark.close()
