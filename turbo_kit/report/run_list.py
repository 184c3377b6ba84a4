"""The runs of a folder by status, and a table of them with links to their files."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup

from turbo_kit.ablation.grid import search_configs
from turbo_kit.config import RunConfig
from turbo_kit.report.page import Table
from turbo_kit.report.rows import Row
from turbo_kit.report.sentences import percent
from turbo_kit.runs import NOTEBOOK, Run, runs_in

LINKED = (NOTEBOOK, "config.json", "result.json")
"""The files of a run folder that the list of runs links to."""


@dataclass(frozen=True)
class FolderRuns:
    """The runs of a folder by status."""

    finished: list[Run]
    """Trained and tested."""
    searched: list[Run]
    """Trained for a search, and not meant to be tested."""
    failed: list[Run]
    unfinished: list[Run]


def find_runs(folder: Path) -> FolderRuns:
    """Sorts the runs of a folder by status.

    Raises:
        InputError: no such folder.
    """
    runs = list(runs_in(folder))
    wanted = {_key(one) for run in runs for one in search_configs(run.config)}
    found = FolderRuns([], [], [], [])
    for run in runs:
        if run.done:
            found.finished.append(run)
        elif run.error:
            found.failed.append(run)
        elif (run.folder / "result.json").is_file() and _key(run.config) in wanted:
            found.searched.append(run)
        else:
            found.unfinished.append(run)
    return found


def run_table(rows: Sequence[Row], page: Path) -> Table:
    """A table of all tested runs: row, fold, seed, chosen values, score and files.

    Args:
        rows: of the test list itself.
        page: the report's HTML file; the links start from its folder.
    """
    knobs = list(dict.fromkeys(knob for row in rows for knob in row.chosen))
    cells, numbers = [], []
    for place, row in enumerate(rows, start=1):
        for run in row.runs:
            config, score = run.config, run.result["metrics"]["test"]["UA"]
            chosen = {knob: getattr(config, knob) for knob in row.chosen}
            first = run is row.runs[0]
            name = Markup('<span id="{}">{}</span>').format(row_anchor(place), row.name) if first else row.name
            known = [str(config.data.fold), str(config.training.seed), percent(np.nan if score is None else score)]
            picked = [f"{chosen[knob]:g}" if knob in chosen else "-" for knob in knobs]
            cells.append([name, *known, *picked, *(_link(run, file, page) for file in LINKED)])
            facts = {"objective": row.name, "fold": config.data.fold, "seed": config.training.seed, "UA": score}
            numbers.append({**facts, **chosen, "run": run.folder.name})
    head = ("row", "fold", "seed", "UA %", *(f"chosen {knob}" for knob in knobs), "notebook", "config", "result")
    caption = f"All {len(cells)} runs that were tested, with notebook, config and result"
    return Table("runs", caption, head, cells, pd.DataFrame(numbers))


def failed_table(runs: Sequence[Run], page: Path) -> Table:
    """A table of the failed runs with their errors."""
    cells, texts = [], []
    for run in runs:
        config, error = run.config, run.error or {}
        known = [run.folder.name, config.loss.objective, str(config.data.fold), str(config.training.seed)]
        said = [str(error.get(key, "-")) for key in ("error", "message", "when")]
        cells.append([*known, *said, _link(run, NOTEBOOK, page)])
        texts.append([*known, *said])
    head = ("run", "objective", "fold", "seed", "error", "message", "when")
    numbers = pd.DataFrame(texts, columns=list(head))
    return Table("failed", f"{len(runs)} run{'s' * (len(runs) > 1)} failed", (*head, "notebook"), cells, numbers)


def row_anchor(place: int) -> str:
    """The anchor of a row's first run in the list of runs; rows are counted from 1."""
    return f"runs-{place}"


def relative_link(path: Path, page: Path) -> str:
    """A path as a link from the page's folder."""
    return quote(Path(os.path.relpath(path.resolve(), page.resolve().parent)).as_posix())


def _link(run: Run, file: str, page: Path) -> str:
    path = run.folder / file
    return Markup('<a href="{}">{}</a>').format(relative_link(path, page), file) if path.is_file() else "-"


def _key(config: RunConfig) -> str:
    return json.dumps(config.to_dict(), sort_keys=True)
