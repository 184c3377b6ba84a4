"""Notebook 02 in a real JupyterLab: it runs through, and its explorer follows mouse and keyboard."""

import re

import pytest
from browser.conftest import eventually, fits, heard_sliders

NOTEBOOK = "02_dropout_views.ipynb"
PANEL = ".jupyter-widgets"


@pytest.fixture(scope="module")
def page(lab):
    page = lab.open(NOTEBOOK, interactive=True, epochs=2, rates=[0.0, 0.3], batch=32)
    page.locator(f'{PANEL} svg[role="img"]').wait_for()
    page.locator(f'{PANEL} svg[role="img"]').scroll_into_view_if_needed()
    yield page
    page.close()


def said(page):
    return page.locator(f'{PANEL} [role="status"]').inner_text()


def drawn(page):
    """What the figure's lines and marks are, without the number in their names."""
    return page.locator(f'{PANEL} svg[role="img"]').evaluate(
        "(svg) => [...svg.querySelectorAll('path')].map((path) => path.getAttribute('d')).join()"
    )


def changes(page, act, sentence=""):
    """Acts, and waits until the figure is another one and the sentence says what is expected."""
    before = drawn(page)
    act()
    eventually(lambda: drawn(page) != before and sentence in said(page), f"the figure of {sentence!r}", 60)


def slider(page, name):
    return page.locator(PANEL).get_by_role("slider", name=name, exact=True)


def button(page, name):
    return page.locator(PANEL).get_by_role("button", name=name, exact=True)


def test_each_control_moves_the_figure_by_mouse(page):
    assert said(page).startswith("Audio, trained, dropout rate 0.10, 2 passes of 32 clips")
    changes(page, lambda: slider(page, "audio dropout").click(), "dropout rate 0.30")  # in its middle
    changes(page, lambda: button(page, "untrained").click(), "Audio, untrained")
    changes(page, lambda: button(page, "text").click(), "Text, untrained")
    changes(page, lambda: button(page, "new masks").click())
    assert page.get_by_label("masks, seed").input_value() == "1"


def test_each_control_moves_the_figure_by_keyboard(page):
    shown = said(page).split(",")[0].lower()
    slider(page, f"{shown} dropout").focus()
    changes(page, lambda: page.keyboard.press("ArrowRight"), f"{shown.capitalize()},")
    slider(page, "passes").focus()
    changes(page, lambda: page.keyboard.press("ArrowRight"), "3 passes")
    other = "audio" if shown == "text" else "text"
    button(page, other).focus()
    changes(page, lambda: page.keyboard.press("Space"), f"{other.capitalize()},")
    button(page, "new masks").focus()
    changes(page, lambda: page.keyboard.press("Space"))
    page.get_by_label("masks, seed").focus()
    changes(page, lambda: page.keyboard.press("ArrowUp"))
    model = "trained" if "untrained" in said(page) else "untrained"
    button(page, model).focus()
    changes(page, lambda: page.keyboard.press("Space"), f", {model},")


def test_tab_reaches_every_control(page):
    button(page, "untrained").focus()
    reached = ["untrained"]
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => { const focused = document.activeElement;
                    return (focused.closest('button') ?? focused.labels?.[0])?.innerText.trim() ?? ''; }"""
            )
        )
    shown = said(page).split(",")[0].lower()
    wanted = ["untrained", "trained", "audio", "text", f"{shown} dropout", "passes", "masks, seed", "new masks"]
    assert [name for name in dict.fromkeys(reached) if name in wanted] == wanted


def test_a_screen_reader_hears_the_name_and_the_value_of_each_slider(page):
    shown, rates = said(page), page.locator(PANEL).get_by_role("slider")
    rate = re.search(r"dropout rate ([\d.]+), (\d) passes", shown)
    modality = shown.split(",")[0].lower()
    heard = heard_sliders(page)
    assert rates.count() == 3 and set(heard) >= {"audio dropout", "text dropout", "passes"}
    assert (heard[f"{modality} dropout"], heard["passes"]) == rate.groups()


def test_the_figure_is_no_wider_than_its_place(page):
    for width, height in ((1024, 768), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        eventually(lambda: fits(page.locator(f'{PANEL} svg[role="img"]')), f"the figure to fit at {width} pixels")


def test_the_figure_has_an_alternative_text_and_the_themes_ink(page, lab):
    figure = page.locator(f'{PANEL} svg[role="img"]')
    assert figure.get_attribute("aria-label") == said(page)
    light = page.locator(f"{PANEL} [role='status']").evaluate("(line) => getComputedStyle(line).color")
    dark = lab.open(NOTEBOOK, theme="JupyterLab Dark", interactive=True, epochs=2, rates=[0.0], batch=32)
    line = dark.locator(f"{PANEL} [role='status']")
    line.wait_for()
    assert line.evaluate("(line) => getComputedStyle(line).color") != light
    dark.close()
