"""How long the pair board and the temperature explorer take to repaint, and a live training to its first point.

    python tests/peers/repaint_pairs.py [--moves 40] [--trainings 5] [--json FILE]

In-process time from setting a control's value to the HTML being set (the browser's own painting is not in it), and
from the click on `train` to the first drawn point: wall time, and this process's own time on the core beside it, which
other work on the machine hardly changes. Batch 64 of the demo corpus on cached features, one thread.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

import torch
from timing import arguments, keep, spread

from turbo_kit import RunConfig, load_corpus
from turbo_kit.explorer.board_editor import BOARDS, PAIRS, PairBoardExplorer
from turbo_kit.explorer.temperature import STOPS, temperature_explorer
from turbo_kit.inspection import draw_batch, dropout_views, prepare_live_training

BATCH = 64


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--moves", type=int, default=40, help="of each control")
    parser.add_argument("--trainings", type=int, default=5, help="first points to wait for")
    options = parser.parse_args()
    torch.set_num_threads(1)
    fold = load_corpus("demo-emotion").fold(0)
    live = prepare_live_training(RunConfig(batch_size=BATCH, epochs=6), fold.train, fold.dev)
    batch = draw_batch(live.setup.model, fold.train, BATCH)
    board = PairBoardExplorer(live, batch)
    with torch.no_grad():
        views = dropout_views(live.setup.model, batch).views
    slider, pair, place = temperature_explorer(board.objective, views).children

    def setting(control: Any, values: list[Any], shown: Any) -> list[tuple[float, float]]:
        return timed([lambda value=value: setattr(control, "value", value) for value in values], shown)

    moves = range(options.moves)
    controls = board.controls
    times = {
        "board, cell": timed([board.cells[PAIRS[i % 6]].click for i in moves], board.losses),
        "board, weight": setting(controls["weight"], [0.1 + i % 20 / 10 for i in moves], board.losses),
        "board, contrastive weight": setting(
            controls["contrastive_weight"], [0.1 + i / 40 for i in moves], board.losses
        ),
        "board, preset": setting(controls["board"], [list(BOARDS)[i % 5] for i in moves], board.losses),
        "temperature, slider": setting(slider, [STOPS[i % len(STOPS)] for i in moves], place),
        "temperature, pair": setting(pair, [pair.options[i % 6] for i in moves], place),
        "first point": [asyncio.run(first_point(board)) for _ in range(options.trainings)],
    }
    moved = [each for name, found in times.items() if name != "first point" for each in found]
    figures = {
        "batch": BATCH,
        "all moves": summary(moved),
        **{name: summary(found) for name, found in times.items()},
        "load_average": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures, indent=2))
    keep(figures, options.json)


class Stopwatch:
    """Milliseconds since it was made: on the clock, and of this process."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        wall, own = self._started
        return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - own)


def timed(moves: list[Callable[[], object]], shown: Any) -> list[tuple[float, float]]:
    """The times of each move that changed what is shown."""
    times = []
    for move in moves:
        before, watch = shown.value, Stopwatch()
        move()
        if shown.value != before:
            times.append(watch.read())
    return times


async def first_point(board: PairBoardExplorer) -> tuple[float, float]:
    """From the click on `train` until its first point is drawn; the training is then stopped."""
    board.curves.value, watch = "", Stopwatch()
    board.controls["train"].click()
    while not board.curves.value:
        await asyncio.sleep(0.001)
    taken = watch.read()
    board.controls["stop"].click()
    while not board.controls["stop"].disabled:
        await asyncio.sleep(0.001)
    return taken


def summary(times: list[tuple[float, float]]) -> dict[str, Any]:
    """Smallest, median and largest wall time and process time."""
    columns = dict(zip(("wall_ms", "process_ms"), zip(*times, strict=True), strict=True))
    return {"moves": len(times), **{name: spread(values) for name, values in columns.items()}}


if __name__ == "__main__":
    main()
