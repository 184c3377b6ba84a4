"""Notebook 01 in a real JupyterLab: its game is played by ear and by eye, with the mouse and from the keyboard."""

import re

import pytest
from browser.conftest import eventually, press_tab_through
from playwright.sync_api import expect

NOTEBOOK = "01_listen.ipynb"
QUICK = {"interactive": True, "epochs": 1, "game_clips": 3}
CLASSES = ("angry", "happy", "neutral", "sad")


@pytest.fixture(scope="module")
def page(lab):
    page = lab.open(NOTEBOOK, **QUICK)
    game(page).scroll_into_view_if_needed()
    yield page
    page.close()


def game(page):
    return page.locator(".jp-OutputArea-output").filter(has=page.get_by_role("button", name="next clip"))


def button(page, name):
    return game(page).get_by_role("button", name=name, exact=True)


def status(page):
    return game(page).get_by_role("status")


def score(page):
    """The table of right answers: for each way of being given a clip, how many clips and how many of them right."""
    rows = game(page).locator("tbody tr").all()
    return {
        given: (int(clips), int(you)) for given, clips, you, *_ in (row.locator("td").all_inner_texts() for row in rows)
    }


def right_so_far(page, given):
    return score(page).get(given, (0, 0))


def counts_the_answer(page, given, before):
    """Waits for the verdict, and sees one clip more in the score, and one right answer more where it was right."""
    expect(status(page)).to_have_text(re.compile(r"right|it is"))
    clips, right = before
    won = ": right." in status(page).inner_text()
    eventually(lambda: right_so_far(page, given) == (clips + 1, right + won), f"a score of {clips + 1}")
    for model in ("audio alone", "text alone", "both"):
        assert f"{model} said " in status(page).inner_text()


def test_a_clip_is_heard(page):
    player = game(page).locator("audio")
    player.scroll_into_view_if_needed()
    player.focus()
    page.keyboard.press("Space")  # as a user without a mouse starts it
    eventually(lambda: player.evaluate("(audio) => audio.currentTime") > 0.05, "the clip to play")
    expect(game(page).locator("blockquote")).to_have_count(0)


def test_answers_by_mouse_count_once(page):
    expect(status(page)).to_have_text("Which class is it?")
    before = right_so_far(page, "audio")
    button(page, "angry").click()
    counts_the_answer(page, "audio", before)
    after = score(page)
    button(page, "sad").click()
    expect(status(page)).to_contain_text("Your first answer, angry, counts.")
    assert score(page) == after


def test_answers_by_keyboard_count_and_the_next_clip_is_another(page):
    was = game(page).locator("audio").get_attribute("src")
    game(page).get_by_role("button", name="next clip").focus()  # an icon stands in its name
    page.keyboard.press("Enter")
    expect(game(page)).to_contain_text("Clip 2 of 3")
    assert game(page).locator("audio").get_attribute("src") != was
    before, cells = right_so_far(page, "audio"), page.locator(".jp-Cell").count()
    button(page, "happy").focus()
    page.keyboard.press("Space")
    counts_the_answer(page, "audio", before)
    assert page.locator(".jp-Cell").count() == cells


def test_what_is_read_is_counted_apart_from_what_is_heard(page):
    heard = right_so_far(page, "audio")
    button(page, "read it").click()
    expect(game(page).locator("audio")).to_have_count(0)
    expect(game(page).locator("blockquote")).to_have_text(re.compile(r"\w+"))
    button(page, "neutral").click()
    counts_the_answer(page, "text", (0, 0))
    assert right_so_far(page, "audio") == heard
    button(page, "hear and read it").focus()
    page.keyboard.press("Space")
    expect(game(page).locator("audio")).to_have_count(1)
    expect(game(page).locator("blockquote")).to_have_count(1)


def test_tab_goes_from_what_is_given_to_the_player_the_classes_and_on(page):
    button(page, "hear it").focus()
    reached = ["hear it", *press_tab_through(page, 16)]
    wanted = ["hear it", "read it", "hear and read it", "The clip", *CLASSES, "next clip"]
    assert [name for name in dict.fromkeys(reached) if name in wanted] == wanted


def test_it_is_readable_where_jupyterlab_is_dark(page, lab):
    def tones(shown):
        return status(shown).evaluate(
            "(line) => [getComputedStyle(line).color, getComputedStyle(line.closest('.jp-Notebook')).backgroundColor]"
        )

    dark = lab.open(NOTEBOOK, theme="JupyterLab Dark", **QUICK)
    status(dark).wait_for()
    ink, paper = (brightness(tone) for tone in tones(dark))
    assert ink - paper > 120
    ink, paper = (brightness(tone) for tone in tones(page))
    assert paper - ink > 120
    dark.close()


def brightness(colour):
    """The mean of red, green and blue of a computed colour, from 0 to 255."""
    red, green, blue = map(float, re.findall(r"[\d.]+", colour)[:3])
    return (red + green + blue) / 3
