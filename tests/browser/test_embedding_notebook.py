"""Notebook 06 in a real JupyterLab: it runs through, and its map is seen, heard and moved there."""

import re

import pytest
from browser.conftest import eventually, press_tab_through
from playwright.sync_api import expect

NOTEBOOK = "06_embedding_space.ipynb"
QUICK = {"objectives": ["turbo"], "epochs": 2, "frames": 2}


@pytest.fixture(scope="module")
def page(lab):
    page = lab.open(NOTEBOOK, interactive=True, **QUICK)
    explorer = page.locator(".turbo-embedding")
    expect(explorer).to_have_count(1)
    explorer.scroll_into_view_if_needed()
    yield page
    page.close()


def map_of(page):
    return page.locator(".turbo-embedding .map canvas").last


def picture(page):
    page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 900))")  # a glide's end
    return page.locator(".turbo-embedding .map canvas").first.evaluate("(canvas) => canvas.toDataURL()")


def a_clip(page):
    """Where the pointer finds a clip: the map is searched in steps until the tip is there."""
    page.locator(".turbo-embedding .map").scroll_into_view_if_needed()
    box = map_of(page).bounding_box()
    for step in range(400):
        x = box["x"] + 40 + (step * 37) % (box["width"] - 80)
        y = box["y"] + 40 + (step * 23) % (box["height"] - 80)
        page.mouse.move(x, y)
        page.wait_for_timeout(20)
        if page.locator(".turbo-embedding .tip").is_visible():
            return x, y
    raise AssertionError("the pointer finds no clip anywhere on the map")


def playing(page):
    page.wait_for_function("() => document.querySelector('.turbo-embedding audio').currentTime > 0.05")


def test_a_click_on_a_clip_plays_it_and_shows_what_lies_near(page):
    x, y = a_clip(page)
    said = page.locator(".turbo-embedding .tip strong").inner_text()
    page.mouse.click(x, y)
    playing(page)
    expect(page.locator(".turbo-embedding .transcript")).to_have_text(said)
    expect(page.locator(".turbo-embedding .neighbours ol")).to_have_count(2)
    expect(page.locator(".turbo-embedding .detail")).to_contain_text("Log-mel spectrogram")


def test_colours_and_frames_change_the_map(page):
    seen = {picture(page)}
    page.locator(".turbo-embedding select").select_option("speaker")
    seen.add(picture(page))
    frames = page.locator(".turbo-embedding input[type=range]")
    frames.fill("0" if frames.input_value() != "0" else "1")
    seen.add(picture(page))
    assert len(seen) == 3
    expect(page.locator(".turbo-embedding output")).to_have_text("before training")


def test_clips_in_a_lasso_are_a_table_in_the_kernel(page):
    explorer = page.locator(".turbo-embedding")
    explorer.locator(".map").scroll_into_view_if_needed()
    lasso, chosen = explorer.get_by_role("button", name="Lasso"), explorer.locator(".chosen p")
    lasso.click()
    box = map_of(page).bounding_box()
    left, top = box["x"] + 3, box["y"] + 3
    right, bottom = left + box["width"] / 2, top + box["height"] - 6
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 5)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    lasso.click()
    expect(chosen).to_contain_text("clips chosen")
    count, wrong = re.match(r"(\d+) clips chosen, (\d+) of them wrong", chosen.inner_text()).groups()
    assert 0 < int(count) < 360  # all clips of the map
    first = explorer.locator(".chosen tbody td").first.inner_text()
    said = run_at_the_end(page, "t = explorer.selected_clips(); print(len(t), (~t['right']).sum(), t['id'][0])")
    assert said.split() == [count, wrong, first]


def run_at_the_end(page, code):
    """Runs code in a new cell below all others, and gives what it prints."""
    cells = page.locator(".jp-CodeCell")
    count = cells.count()
    page.locator(".jp-Notebook-footer").click()
    cells.nth(count).locator(".cm-content").fill(code)
    page.keyboard.press("Control+Enter")
    said = cells.nth(count).locator(".jp-OutputArea-output pre")
    said.wait_for()
    page.keyboard.press("Escape")
    return said.inner_text()


def test_the_keyboard_selects_plays_and_chooses_although_jupyterlab_has_keys_of_its_own(page):
    map_of(page).focus()
    cells = page.locator(".jp-Cell").count()
    status, chosen = page.locator(".turbo-embedding .status"), page.locator(".turbo-embedding .chosen")
    before = status.inner_text()
    for key in ("ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    eventually(lambda: status.inner_text().startswith("Selected: "), before)
    said = chosen.inner_text()  # how many are chosen, and the first 200 of them
    page.keyboard.press("Space")
    eventually(lambda: chosen.inner_text() != said, "the clip was neither chosen nor let go")
    page.locator(".turbo-embedding audio").evaluate("(audio) => { audio.pause(); audio.currentTime = 0; }")
    page.keyboard.press("Enter")
    playing(page)
    assert page.locator(".jp-Cell").count() == cells and page.locator(".jp-mod-editMode").count() == 0


def test_tab_reaches_every_control(page):
    page.locator(".turbo-embedding select").focus()
    reached = press_tab_through(page, 30)
    for name in ("Lasso", "Zoom in", "Reset the view", "Map: ", "Play the frames", "Frame"):
        assert any(one.startswith(name) for one in reached), (name, reached)


def test_it_is_dark_where_jupyterlab_is(page, lab):
    def paper(shown):
        return shown.locator(".turbo-embedding").evaluate("(explorer) => getComputedStyle(explorer).backgroundColor")

    dark = lab.open(NOTEBOOK, theme="JupyterLab Dark", interactive=True, **QUICK)
    dark.locator(".turbo-embedding").scroll_into_view_if_needed()
    assert paper(dark) != paper(page)
    dark.close()
