"""How many frames a second the exported embedding explorer draws while it is panned and hovered over, in software.

    python tests/peers/embedding_frames.py [--points 20000] [--browser /usr/bin/chromium] [--json FILE]

A headless Chromium without a GPU opens the export of made-up points from disk. Real mouse events, a hundred a second,
drag the map and then pass over it. A frame counts where the map was drawn anew in it, and its rate is one over the time
since the frame before.
"""

import asyncio
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from playwright.async_api import Page, async_playwright
from timing import arguments, keep

from turbo_kit.explorer.embedding_explorer import EmbeddingData, export_explorer

CLASSES = ("angry", "happy", "neutral", "sad")
SECONDS = 6
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

# The map was drawn where its upper canvas was wiped: points and what is above them are drawn in one go.
MEASURE = """() => {
  const seen = { all: [], drawn: [] };
  const wipe = CanvasRenderingContext2D.prototype.clearRect;
  let drawn = false, last = performance.now();
  CanvasRenderingContext2D.prototype.clearRect = function (...box) { drawn = true; return wipe.apply(this, box); };
  const next = (now) => {
    seen.all.push(now - last);
    if (drawn) seen.drawn.push(now - last);
    [drawn, last] = [false, now];
    seen.going = requestAnimationFrame(next);
  };
  seen.going = requestAnimationFrame(next);
  window.stopMeasuring = () => {
    cancelAnimationFrame(seen.going);
    CanvasRenderingContext2D.prototype.clearRect = wipe;
    return { all: seen.all.slice(1), drawn: seen.drawn.slice(1) };
  };
}"""
STOP = "() => window.stopMeasuring()"


def made_up(points: int, frames: int = 2) -> EmbeddingData:
    random = np.random.default_rng(0)
    labels = random.integers(len(CLASSES), size=points)
    centres = 4 * random.normal(size=(frames, len(CLASSES), 2))
    clips = pd.DataFrame(
        {
            "id": [f"clip-{i:05}" for i in range(points)],
            "split": "test",
            "speaker": [f"voice {i % 10}" for i in range(points)],
            "label": np.array(CLASSES)[labels],
            "transcript": [f"This is sentence number {i}, and nobody says it." for i in range(points)],
        }
    )
    return EmbeddingData(
        title=f"{points} made-up points",
        corpus="demo-emotion",
        clips=clips,
        classes=CLASSES,
        frames=tuple(f"epoch {i}" for i in range(frames)),
        positions=(centres[:, labels] + 1.5 * random.normal(size=(frames, points, 2))).astype(np.float32),
        predicted=random.integers(len(CLASSES), size=(frames, points)).astype(np.int16),
        neighbours=random.integers(points, size=(1, 2, points, 5)).astype(np.int32),
        similarities=random.random(size=(1, 2, points, 5)).astype(np.float32),
        about_neighbours="Made up.",
        audio=(),
    )


async def frames_while(page: Page, press: bool) -> dict[str, float]:
    """Frames a second while the mouse goes round over the map, with its button pressed (a pan) or not (hovering)."""
    box = await page.locator(".map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await page.mouse.move(x, y)
    if press:
        await page.mouse.down()
    await page.evaluate(MEASURE)
    moves, began = [], time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        angle = len(moves) / 16
        moves.append(asyncio.ensure_future(page.mouse.move(x + 150 * math.cos(angle), y + 150 * math.sin(angle))))
        await asyncio.sleep(0.01)
    deltas = await page.evaluate(STOP)
    await asyncio.gather(*moves)
    if press:
        await page.mouse.up()
    rates = 1000 / np.array(deltas["drawn"])
    return {
        "min": round(float(rates.min()), 1),
        "median": round(float(np.median(rates)), 1),
        "max": round(float(rates.max()), 1),
        "frames_drawn": len(rates),
        "frames_in_all": len(deltas["all"]),
        "mouse_moves": len(moves),
    }


async def measure(path: Path, browser_path: str) -> dict[str, Any]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.goto(path.as_uri())
        await page.wait_for_timeout(2000)
        figures = {
            "pan": await frames_while(page, press=True),
            "hover": await frames_while(page, press=False),
            "browser": browser.version,
        }
        await browser.close()
    return figures


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = export_explorer(made_up(options.points), Path(folder) / "map.html", include=("transcript",))
        figures = {"points": options.points, "megabytes": round(path.stat().st_size / 1e6, 2)}
        figures |= asyncio.run(measure(path, options.browser))
    figures |= {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(figures, indent=2))
    keep(figures, options.json)


if __name__ == "__main__":
    main()
