"""Notebook 00 in a real JupyterLab: it runs through, and its clip can be heard."""


def test_it_runs_through_and_plays_a_clip(lab):
    page = lab.open("00_start_here.ipynb", interactive=True, epochs=2)
    player = page.locator("audio").first
    player.scroll_into_view_if_needed()
    player.focus()
    page.keyboard.press("Space")  # as a user without a mouse starts it
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.05")
    pictures = page.locator(".jp-OutputArea-output img")
    assert pictures.count() >= 4
    page.close()
