"""The exported embedding explorer, opened from disk in a real browser with the network off: by mouse and keyboard."""

import numpy as np
import pytest
from playwright.sync_api import expect
from small_maps import CLIPS, HOSTILE, corpus_of, run_with_epochs, small_map

from turbo_kit.explorer.embedding_explorer import embedding_data, export_explorer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_map(tmp_path_factory.mktemp("map"))


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    return export_explorer(data, tmp_path_factory.mktemp("export") / "map.html")


@pytest.fixture
def page(browser, exported):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_offline(True)
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto(exported.as_uri())
    expect(page.locator(".status")).to_be_attached()
    yield page
    assert said == [] and not page.evaluate("() => window.broken")
    context.close()


def places(page, data, frame):
    """Where each clip of a frame stands on the screen, from what the page shows at first: all of the map."""
    box = page.locator(".map").bounding_box()
    inner = page.locator(".map").evaluate("(map) => [map.clientWidth, map.clientHeight, map.clientLeft]")
    low, high = data.positions.min(axis=(0, 1)), data.positions.max(axis=(0, 1))
    scale = min((inner[i] - 27) / (high[i] - low[i]) for i in (0, 1))
    middle = (low + high) / 2
    x = box["x"] + inner[2] + inner[0] / 2 + (data.positions[frame, :, 0] - middle[0]) * scale
    y = box["y"] + inner[2] + inner[1] / 2 - (data.positions[frame, :, 1] - middle[1]) * scale
    return list(zip(x.tolist(), y.tolist(), strict=True))


def apart(points, clip):
    """How far the nearest other point is."""
    return min((points[clip][0] - x) ** 2 + (points[clip][1] - y) ** 2 for i, (x, y) in enumerate(points) if i != clip)


@pytest.fixture
def clip(page, data):
    """A clip that no other hides, and where it is."""
    points = places(page, data, data.chosen_frame)
    best = max(range(1, CLIPS), key=lambda one: apart(points, one))
    return best, points[best]


def picture(page):
    """The pixels of the map's points."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator(".map canvas").first.evaluate("(canvas) => canvas.toDataURL()")


def spectrogram(page):
    """The red of each of its pixels, (bands, times), the lowest band first."""
    rows = page.locator(".spectrogram").evaluate(
        """(canvas) => {
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
            copy.drawImage(canvas, 0, 0);
            const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
            return Array.from({ length: canvas.height }, (_, y) =>
                Array.from({ length: canvas.width }, (_, x) => data[4 * (y * canvas.width + x)]));
        }"""
    )
    return np.array(rows)[::-1]


def playing(page):
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.05")


def test_hovering_tells_of_a_clip(page, data, clip):
    number, (x, y) = clip
    page.mouse.move(x, y)
    tip, facts = page.locator(".tip"), data.table([number], data.chosen_frame).iloc[0]
    expect(tip).to_be_visible()
    for said in ("transcript", "speaker", "label", "predicted"):
        expect(tip).to_contain_text(facts[said])
    page.mouse.move(x, y - 400)
    expect(tip).to_be_hidden()


def test_clicking_plays_a_clip_and_shows_its_spectrogram_and_neighbours(page, data, clip):
    number, (x, y) = clip
    page.mouse.click(x, y)
    playing(page)
    expect(page.locator(".transcript")).to_have_text(data.clips["transcript"][number])
    expect(page.locator(".detail .note").first).to_contain_text("Log-mel spectrogram: 0.5 s")
    assert len(np.unique(spectrogram(page))) > 10
    lists = page.locator(".neighbours ol")
    expect(lists).to_have_count(2)
    nearest = int(data.neighbours[0, 0, number, 0])
    first = lists.first.locator("button").first
    expect(first).to_contain_text(f"{data.similarities[0, 0, number, 0]:.2f}")
    for place, near in enumerate(
        data.neighbours[0, 0, number]
    ):  # a title holds all words, though two lines may cut them
        title = f"{data.clips['transcript'][near]}\n{data.clips['id'][near]}, speaker {data.clips['speaker'][near]}"
        expect(lists.first.locator("button").nth(place)).to_have_attribute("title", title)
    first.click()
    expect(page.locator(".transcript")).to_have_text(data.clips["transcript"][nearest])
    playing(page)


def test_the_spectrogram_shows_the_pitch_of_a_tone(page, data):
    """The tone of each clip is higher than that of the one before; so is the brightest row of its picture."""
    rows = []  # the brightest of each, counted from below
    for number in (1, CLIPS - 1):
        x, y = places(page, data, data.chosen_frame)[number]
        page.mouse.click(x, y)
        expect(page.locator(".facts dd").first).to_have_text(data.clips["id"][number])
        expect(page.locator(".detail .note").first).to_contain_text("0.5 s")
        rows.append(int(spectrogram(page).mean(axis=1).argmax()))
    # 64 bands up to 8 kHz on the mel scale: 240 Hz lies in band 7, 520 Hz in band 14, counted from 0.
    assert abs(rows[0] - 7) <= 1 and abs(rows[1] - 14) <= 1


def test_colours_follow_what_is_chosen_and_classes_can_be_hidden(page):
    seen = {picture(page)}
    for name in ("speaker", "error", "label"):
        page.locator("select").select_option(name)
        seen.add(picture(page))
    assert len(seen) == 3
    expect(page.locator(".legend button")).to_have_count(5)  # four classes, and the clip without a label
    toggle = page.locator(".legend button").nth(1)
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "false")
    assert picture(page) not in seen


def test_splits_are_told_apart_where_there_are_two(page, browser, tmp_path):
    ways = ["label", "speaker", "right or wrong"]
    expect(page.locator("select option")).to_have_text(ways)
    run = run_with_epochs(tmp_path)
    both = embedding_data(run, "both", corpus=corpus_of(run, tmp_path))
    page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.goto(export_explorer(both, tmp_path / "map.html").as_uri())
    expect(page.locator("select option")).to_have_text([*ways, "split"])
    seen = {picture(page)}
    page.locator("select").select_option("split")
    seen.add(picture(page))
    expect(page.locator(".legend button")).to_have_text([f"dev{CLIPS}", f"test{CLIPS}"])
    page.locator(".legend button").first.click()
    seen.add(picture(page))
    assert len(seen) == 3
    choose_all(page)  # of those that are shown
    expect(page.locator(".chosen tbody td:first-child")).to_have_text(run.predictions("test")["id"].tolist())
    page.close()


def test_the_slider_moves_the_points_and_names_the_frame(page, data):
    before = picture(page)
    page.locator("input[type=range]").fill("0")
    expect(page.locator("output")).to_have_text("before training")
    assert picture(page) != before
    page.locator("input[type=range]").fill(str(data.chosen_frame))
    assert picture(page) == before
    x, y = places(page, data, data.chosen_frame)[1]
    page.mouse.click(x, y)
    for frame in (0, 2):
        page.locator("input[type=range]").fill(str(frame))
        expect(page.locator(".facts")).to_contain_text(f"{data.table([1], frame)['predicted'][0]} (")


def test_panel_status_and_tip_tell_the_same_of_each_frame(page, data, clip):
    number, (x, y) = clip
    page.mouse.click(x, y)  # and there the pointer stays
    assert len(set(data.predicted[:, number])) > 1
    for frame in (0, 2, 1):
        page.locator("input[type=range]").fill(str(frame))
        facts = data.table([number], frame).iloc[0]
        predicted, right = facts["predicted"], "right" if facts["right"] else "wrong"
        expect(page.locator(".facts")).to_contain_text(f"{predicted} ({right})")
        expect(page.locator(".status")).to_contain_text(f"predicted {predicted}, {right}.")
        expect(page.locator(".tip")).to_contain_text(f"predicted {predicted} ({right})")
        tip = page.locator(".tip").bounding_box()
        assert tip["x"] <= places(page, data, frame)[number][0] <= tip["x"] + tip["width"]


def test_frames_play_to_the_last_and_stop(page, data):
    page.locator("input[type=range]").fill("0")
    page.get_by_role("button", name="Play the frames").click()
    expect(page.get_by_role("button", name="Stop the frames")).to_be_visible()
    expect(page.locator("output")).to_have_text(data.frames[-1], timeout=10_000)
    expect(page.get_by_role("button", name="Play the frames")).to_be_visible()


def test_a_lasso_fills_the_table(page, data, clip):
    number, (x, y) = clip
    around = [(x - 14, y - 14), (x + 14, y - 14), (x + 14, y + 14), (x - 14, y + 14), (x - 14, y - 10)]
    page.keyboard.down("Shift")
    draw(page, around)
    page.keyboard.up("Shift")
    rows = page.locator(".chosen tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(data.clips["transcript"][number])
    page.get_by_role("button", name="Clear").click()
    expect(rows).to_have_count(0)
    choose_all(page)
    expect(rows).to_have_count(CLIPS)


@pytest.mark.parametrize("width", [1024, 1280])
def test_the_table_breaks_no_word_but_of_transcripts(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    choose_all(page)
    lines = page.locator(".chosen td:not(.of-transcript)").evaluate_all(
        """(cells) => cells.map((cell) => {
            const words = document.createRange();
            words.selectNodeContents(cell.querySelector("button") ?? cell);
            return new Set([...words.getClientRects()].map((line) => line.top)).size;
        })"""
    )
    assert len(lines) == 5 * CLIPS and set(lines) == {1}
    inside = "(table) => table.scrollWidth <= table.parentElement.clientWidth"
    page.locator(".chosen tbody tr").first.evaluate("(row) => row.remove()")  # its words mean harm, and are long
    assert page.locator(".chosen table").evaluate(inside)


def choose_all(page):
    """Draws a lasso around the whole map."""
    page.get_by_role("button", name="Lasso").click()
    box = page.locator(".map").bounding_box()
    left, top = box["x"] + 3, box["y"] + 3
    right, bottom = left + box["width"] - 6, top + box["height"] - 6
    draw(page, [(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 5)])


def draw(page, corners):
    page.mouse.move(*corners[0])
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_dragging_wheel_and_buttons_move_the_map_and_reset_brings_it_back(page, clip):
    _, (x, y) = clip
    box = page.locator(".map").bounding_box()
    empty = (box["x"] + 8, box["y"] + box["height"] - 8)
    before = picture(page)
    for move in (
        lambda: draw(page, [empty, (empty[0] + 60, empty[1] - 60)]),
        lambda: (page.locator(".map canvas").nth(1).focus(), page.mouse.move(x, y), page.mouse.wheel(0, -300)),
        lambda: page.get_by_role("button", name="Zoom out").click(),
    ):
        move()
        page.wait_for_timeout(100)
        assert picture(page) != before
        page.get_by_role("button", name="Reset the view").click()
        assert picture(page) == before


def test_the_keyboard_reaches_every_control(page, clip):
    _, (x, y) = clip
    page.mouse.click(x, y)
    playing(page)
    page.locator("select").focus()  # the tour begins here, and comes back
    count = page.evaluate(
        """() => {
            const all = document.querySelectorAll("button, select, input, audio, canvas[tabindex], [tabindex='0']");
            const seen = [...all].filter((one) => one.getClientRects().length);
            seen.forEach((one) => (one.onfocus = () => (one.dataset.reached = "true")));
            document.activeElement.blur();
            return seen.length;
        }"""
    )
    order = ["SELECT"]
    for _ in range(3 * count):  # a player has stops of its own inside
        page.keyboard.press("Tab")
        order.append(page.evaluate("() => document.activeElement.tagName"))
    assert page.locator("[data-reached]").count() == count > 20
    assert order.index("CANVAS") < order.index("INPUT") < order.index("AUDIO")


def test_the_keyboard_moves_plays_chooses_and_zooms(page, data):
    canvas = page.locator(".map canvas").nth(1)
    canvas.focus()
    assert canvas.evaluate("(canvas) => getComputedStyle(canvas).outlineStyle") == "solid"
    page.keyboard.press("ArrowUp")
    expect(page.locator(".status")).to_contain_text("Selected: ")
    points = places(page, data, data.chosen_frame)
    ids = data.clips["id"].tolist()
    first = ids.index(page.locator(".facts dd").first.text_content())
    step = "ArrowRight" if points[first][0] < max(x for x, _ in points) - 20 else "ArrowLeft"
    page.keyboard.press(step)
    second = ids.index(page.locator(".facts dd").first.text_content())
    assert (points[second][0] > points[first][0]) == (step == "ArrowRight") and second != first
    assert page.locator("audio").evaluate("(sound) => sound.paused")
    page.keyboard.press("Enter")
    playing(page)
    page.keyboard.press(" ")
    expect(page.locator(".chosen tbody tr")).to_have_count(1)
    page.keyboard.press(" ")
    expect(page.locator(".chosen tbody tr")).to_have_count(0)
    before = picture(page)
    page.keyboard.press("+")
    assert picture(page) != before


def test_hostile_texts_are_only_text(page, data):
    x, y = places(page, data, data.chosen_frame)[0]
    page.mouse.move(x, y)
    page.mouse.click(x, y)
    expect(page.locator(".transcript")).to_have_text(HOSTILE)
    assert page.locator("img").count() == 0
    page.locator("select").select_option("speaker")
    assert HOSTILE in page.locator(".legend button span").all_text_contents()


def test_an_export_without_sound_and_words_still_tells_of_a_clip(browser, data, tmp_path):
    path = export_explorer(data, tmp_path / "map.html", include=())
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(path.as_uri())
    x, y = places(page, data, data.chosen_frame)[1]
    page.mouse.click(x, y)
    expect(page.locator(".transcript")).to_have_text(data.clips["id"][1])
    expect(page.locator(".detail")).to_contain_text("This page holds no sound of its corpus.")
    expect(page.locator("audio")).to_be_hidden()
    page.close()


@pytest.mark.parametrize(("scheme", "ground"), [("light", 0xFEFEFE), ("dark", 0x211D1B)])
def test_a_map_that_is_put_on_the_page_later_has_its_theme(browser, exported, tmp_path, scheme, ground):
    """As in a notebook, which adds an output to the page when it has been made."""
    text, at_once = exported.read_text(encoding="utf-8"), 'el: document.getElementById("explorer") });'
    assert at_once in text
    later = "el: window.made = document.createElement('div') }); document.body.append(window.made);"
    (tmp_path / "map.html").write_text(text.replace(at_once, later), encoding="utf-8")
    page = browser.new_page(color_scheme=scheme)
    page.goto((tmp_path / "map.html").as_uri())
    picture(page)
    corner = "(canvas) => new Uint32Array(canvas.getContext('2d').getImageData(0, 0, 1, 1).data.buffer)[0] & 0xffffff"
    assert page.locator(".map canvas").first.evaluate(corner) == ground  # blue, green, red
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_both_themes(browser, exported, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(exported.as_uri())
    ratios = page.evaluate(
        """() => {
            const light = (colour) => {
                const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((level) => {
                    const share = level / 255;
                    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const ground = light(getComputedStyle(document.querySelector(".turbo-embedding")).backgroundColor);
            return ["h1", ".tools label", ".note", "output", ".legend .count"].map((place) => {
                const ink = light(getComputedStyle(document.querySelector(place)).color);
                return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
            });
        }"""
    )
    assert min(ratios) >= 4.5
    page.close()
