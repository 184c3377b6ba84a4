"""A JupyterLab of the tests' own and a real Chromium that looks at it; skipped without one, but for `--no-skips`."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHROMIUM = os.environ.get("TURBO_KIT_CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is on the page, in sight or not
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/themes": {"theme": "JupyterLab Light"},
    "docmanager-extension/plugin": {"autosave": False},
}
MINUTE = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window: one for each file, as Playwright holds an event loop while it is open."""
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"no browser at {CHROMIUM}: install chromium, or name one in TURBO_KIT_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--disable-sync"])
        yield browser
        browser.close()


@dataclass
class Lab:
    """A JupyterLab that listens on this machine alone, over a folder with copies of the notebooks."""

    url: str
    token: str
    folder: Path
    browser: Browser

    def open(self, notebook: str, theme: str = "JupyterLab Light", **parameters: object) -> Page:
        """Opens a notebook, some of its parameters changed, and runs all of its cells.

        Fails where a cell ends with an error, or the page logs one.
        """
        path = self.folder / notebook
        content = nbformat.read(NOTEBOOKS / notebook, as_version=4)
        (cell,) = [cell for cell in content.cells if "parameters" in cell.metadata.get("tags", [])]
        for name, value in parameters.items():
            lines = cell.source.split("\n")
            (place,) = [i for i, line in enumerate(lines) if line.startswith(f"{name} = ")]
            lines[place] = f"{name} = {value!r}"
            cell.source = "\n".join(lines)
        for code in content.cells:
            if code.cell_type == "code":
                code.outputs, code.execution_count = [], None
        nbformat.write(content, path)
        settings = self.folder.parent / "settings" / "@jupyterlab"
        write_setting(settings, "apputils-extension/themes", {"theme": theme})
        page = self.browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{self.url}/lab/tree/{notebook}?token={self.token}&reset")
        run_all(page)
        return page


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, one for each file of tests: with it end the kernels that it started."""
    base = tmp_path_factory.mktemp("lab")
    folder = base / "notebooks"
    folder.mkdir()
    for name, values in SETTINGS.items():
        write_setting(base / "settings" / "@jupyterlab", name, values)
    port, token = free_port(), secrets.token_hex(16)
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": folder,
        "ServerApp.allow_root": True,
        "IdentityProvider.token": token,
        "LabApp.user_settings_dir": base / "settings",
        "LabApp.workspaces_dir": base / "workspaces",
    }
    command = [sys.executable, "-m", "jupyter", "lab", *(f"--{name}={value}" for name, value in options.items())]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(base / "config"), "IPYTHONDIR": str(base / "ipython")}
    with (base / "lab.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server, base / "lab.log")
        yield Lab(f"http://127.0.0.1:{port}", token, folder, browser)
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(base, ignore_errors=True)


def run_all(page: Page) -> None:
    """Runs every cell, from the menu as a user does, and waits for the last one."""
    page.locator(".jp-Notebook").wait_for(timeout=2 * MINUTE)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("Python 3 (ipykernel) | Idle", timeout=2 * MINUTE)
    page.get_by_role("menubar").get_by_text("Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(
        """() => {
            const cells = [...document.querySelectorAll('.jp-CodeCell')];
            const filled = cells.filter(cell => cell.querySelector('.cm-line')?.textContent);
            const failed = document.querySelector('.jp-CodeCell .jp-OutputArea-output[data-mime-type*="error"]');
            const done = filled.every(cell => /\\[\\d+\\]/.test(cell.querySelector('.jp-InputPrompt').textContent));
            return failed || (filled.length && done);
        }""",
        timeout=10 * MINUTE,
    )
    errors = page.locator('.jp-OutputArea-output[data-mime-type*="error"]').all_inner_texts()
    assert not errors, errors


def write_setting(folder: Path, name: str, values: dict[str, object]) -> None:
    path = folder / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


def eventually(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def press_tab_through(page: Page, limit: int = 80) -> list[str]:
    """Names of what Tab reaches from where the focus is: the accessible name, or the text, of each element."""
    names = []
    for _ in range(limit):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                """() => { const e = document.activeElement;
                    return (e.getAttribute('aria-label') || e.innerText || e.title || e.tagName).trim(); }"""
            )
        )
    return names


def heard_sliders(page: Page) -> dict[str, str | None]:
    """By its name in Chromium's accessibility tree, the value of each slider as a screen reader reads it out."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    names = [node["name"]["value"] for node in tree if node.get("role", {}).get("value") == "slider"]
    found = {name: page.get_by_role("slider", name=name, exact=True) for name in names}
    return {name: slider.get_attribute("aria-valuetext") for name, slider in found.items()}


def fits(figure: Locator) -> bool:
    """Whether a figure is within the output of its cell, and keeps its proportions."""
    return figure.evaluate(
        """(svg) => {
            const own = svg.getBoundingClientRect();
            const place = svg.closest('.jp-OutputArea-output').getBoundingClientRect();
            const { width, height } = svg.viewBox.baseVal;
            return own.right <= place.right + 1 && Math.abs(own.width / own.height - width / height) < 0.02;
        }"""
    )
