"""How long the dropout-view explorer takes from a moved control to the new figure, on one core.

    python tests/peers/repaint_dropout.py [--moves 60] [--json FILE]

In the kernel's process, from setting a control's value to the HTML widget having the new SVG, at batch 64 on cached
features: what the browser then takes to show it is not in it. Wall time, and this process's own time on the core beside
it, which other work on the machine hardly changes.
"""

import itertools
import json
import os
import re
import time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from timing import arguments, keep, spread

from turbo_kit import RunConfig, TurboModel, load_corpus
from turbo_kit.explorer.dropout_views import explore_views
from turbo_kit.inspection import draw_batch

BATCH = 64


def moves(controls: dict[str, Any], count: int) -> list[tuple[Any, Any]]:
    """Controls and values to set them to, in turn: rates, passes, masks, modality, model."""
    random = np.random.default_rng(0)
    rates, found = list(np.round(np.arange(0.05, 0.65, 0.05), 2)), []
    state = {name: control.value for name, control in controls.items()}
    options: dict[str, list[Any]] = {
        "audio dropout": rates,
        "text dropout": rates,
        "passes": [2, 3, 4, 5, 6],
        "masks, seed": list(range(20)),
        "modality": ["audio", "text"],
        "model": ["untrained", "other"],
    }
    for name in itertools.cycle(options):
        if len(found) == count:
            break
        if name.endswith(" dropout") and not name.startswith(state["modality"]):
            continue  # the other modality's slider is disabled
        value = random.choice([value for value in options[name] if value != state[name]])
        state[name] = value.item() if hasattr(value, "item") else value
        found.append((controls[name], state[name]))
    return found


def controls_of(panel: Any) -> dict[str, Any]:
    return {
        widget.description: widget for row in panel.children[:-1] for widget in row.children if hasattr(widget, "value")
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--moves", type=int, default=60, help="how many controls are moved, at least 30")
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = load_corpus("demo-emotion").fold(0).train
    models = {name: TurboModel.from_config(RunConfig(), corpus.classes) for name in ("untrained", "other")}
    panel = explore_views(models, draw_batch(models["other"], corpus, BATCH))
    place = panel.children[-1]
    wall, own, sizes = [], [], []
    for control, value in moves(controls_of(panel), max(30, options.moves)):
        before = plain(place.value)
        started, busy = time.perf_counter(), time.process_time()
        control.value = value
        own.append(1000 * (time.process_time() - busy))
        wall.append(1000 * (time.perf_counter() - started))
        assert plain(place.value) != before, f"{control.description} = {value} changed nothing"
        sizes.append(len(place.value) / 1000)
    figures: dict[str, Any] = {
        "moves": len(wall),
        "batch": BATCH,
        "wall_ms": spread(wall),
        "process_ms": spread(own),
        "svg_kB": spread(sizes),
        "load_average": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures, indent=2))
    keep(figures, options.json)


def plain(html: str) -> str:
    """The HTML without the number that keeps each figure's names apart."""
    return re.sub(r"explorer\d+-", "", html)


if __name__ == "__main__":
    main()
