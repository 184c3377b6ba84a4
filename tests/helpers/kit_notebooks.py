"""The notebooks of the kit, found by their names, and what their tests share."""

import os
from pathlib import Path

import nbformat
import pytest

from turbo_kit.ablation.plan import available_cores

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
SANITISE = ROOT / "tests" / "notebooks" / "sanitise.cfg"
STRIPPED = {"04_train.ipynb"}
"""Kept without outputs: an ablation executes it, and its outputs belong to run folders."""

THREADS = int(os.environ.get("OMP_NUM_THREADS", available_cores()))
"""Of each kernel: on a machine that is busy with other things, one is quicker than two that wait for each other."""

NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def every_notebook(*, stripped: bool = True) -> pytest.MarkDecorator:
    """Runs a test once for each notebook; without those that are kept stripped where it looks at outputs."""
    return pytest.mark.parametrize("name", [name for name in NAMES if stripped or name not in STRIPPED])
