"""Notebook 02 in a real JupyterLab: it runs through, and its explorer follows mouse and keyboard."""

import pytest
from browser.conftest import eventually

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


def control(page, name):
    return page.locator(f"{PANEL} .widget-inline-hbox").filter(has=page.get_by_text(name, exact=True))


def button(page, name):
    return page.locator(PANEL).get_by_role("button", name=name, exact=True)


def test_each_control_moves_the_figure_by_mouse(page):
    assert said(page).startswith("Audio, trained, dropout rate 0.10, 2 passes of 32 clips")
    rail = control(page, "audio dropout").locator(".noUi-target").bounding_box()
    middle = (rail["x"] + rail["width"] / 2, rail["y"] + rail["height"] / 2)
    changes(page, lambda: page.mouse.click(*middle), "dropout rate 0.30")
    changes(page, lambda: button(page, "untrained").click(), "Audio, untrained")
    changes(page, lambda: button(page, "text").click(), "Text, untrained")
    changes(page, lambda: button(page, "new masks").click())
    assert control(page, "masks, seed").locator("input").input_value() == "1"


def test_each_control_moves_the_figure_by_keyboard(page):
    shown = said(page).split(",")[0].lower()
    control(page, f"{shown} dropout").locator(".noUi-handle").focus()
    changes(page, lambda: page.keyboard.press("ArrowRight"), f"{shown.capitalize()},")
    control(page, "passes").locator(".noUi-handle").focus()
    changes(page, lambda: page.keyboard.press("ArrowRight"), "3 passes")
    other = "audio" if shown == "text" else "text"
    button(page, other).focus()
    changes(page, lambda: page.keyboard.press("Space"), f"{other.capitalize()},")
    button(page, "new masks").focus()
    changes(page, lambda: page.keyboard.press("Space"))
    control(page, "masks, seed").locator("input").focus()
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
                    return focused.closest('button')?.innerText.trim()
                        || focused.closest('.widget-inline-hbox')?.innerText.split("\\n")[0].trim() || ''; }"""
            )
        )
    shown = said(page).split(",")[0].lower()
    wanted = ["untrained", "trained", "audio", "text", f"{shown} dropout", "passes", "masks, seed", "new masks"]
    assert [name for name in dict.fromkeys(reached) if name in wanted] == wanted


def test_the_figure_has_an_alternative_text_and_the_themes_ink(page, lab):
    figure = page.locator(f'{PANEL} svg[role="img"]')
    assert figure.get_attribute("aria-label") == said(page)
    light = page.locator(f"{PANEL} [role='status']").evaluate("(line) => getComputedStyle(line).color")
    dark = lab.open(NOTEBOOK, theme="JupyterLab Dark", interactive=True, epochs=2, rates=[0.0], batch=32)
    line = dark.locator(f"{PANEL} [role='status']")
    line.wait_for()
    assert line.evaluate("(line) => getComputedStyle(line).color") != light
    dark.close()
