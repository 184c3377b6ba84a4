"""Executes all notebooks, stores their outputs, and writes the pictures that the README shows.

    python tests/tools/refresh_notebooks.py            # all of them, in reading order, from an empty folder of runs
    python tests/tools/refresh_notebooks.py 00 05      # some of them

They run one after another in a temporary copy of their folder, so that they share runs and leave none behind. A code
cell tagged `picture=NAME` gives notebooks/pictures/NAME.png.
"""

import base64
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from kit_notebooks import FOLDER, NAMES, STRIPPED, code_cells, tags

PICTURES = FOLDER / "pictures"
TIMEOUT = 3600
"""Seconds that a cell may take."""


def main(chosen: list[str]) -> None:
    names = [name for name in NAMES if name not in STRIPPED and (not chosen or name.startswith(tuple(chosen)))]
    if not names:
        raise SystemExit(f"no notebook starts with {' or '.join(chosen)}: there are {', '.join(NAMES)}.")
    with TemporaryDirectory() as folder:
        copy = shutil.copytree(FOLDER, Path(folder) / "notebooks", ignore=shutil.ignore_patterns("*runs*"))
        for name in names:
            started = time.perf_counter()
            notebook = executed(copy / name)
            nbformat.write(notebook, FOLDER / name)
            written = [write_picture(cell) for cell in code_cells(notebook) if picture_name(cell)]
            size = (FOLDER / name).stat().st_size / 1000
            print(f"{name}: {time.perf_counter() - started:.0f} s, {size:.0f} kB", *written, flush=True)


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, and without times and whatever else the machine would leave in it."""
    notebook = nbformat.read(path, as_version=4)
    kept = notebook.metadata.copy()
    # A kernel of its own and not a forked one, in which pandas takes its output for a terminal's.
    options = {"kernel_name": "python3", "extra_arguments": ["--log-level=ERROR"]}
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=TIMEOUT, record_timing=False, resources=resources, **options).execute()
    notebook.metadata = kept
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if "metadata" in output:
                output.metadata = {}
    return notebook


def picture_name(cell: nbformat.NotebookNode) -> str | None:
    """The name in the tag `picture=NAME`, where the cell has one."""
    names = [tag.removeprefix("picture=") for tag in tags(cell) if tag.startswith("picture=")]
    return names[0] if names else None


def write_picture(cell: nbformat.NotebookNode) -> str:
    """Writes the first figure of a cell, and returns where."""
    found = [data["image/png"] for output in cell.outputs if "image/png" in (data := output.get("data", {}))]
    if not found:
        raise SystemExit(f"cell {cell.id} is tagged {tags(cell)} and shows no figure.")
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / f"{picture_name(cell)}.png"
    path.write_bytes(base64.b64decode(found[0]))
    return str(path.relative_to(FOLDER))


if __name__ == "__main__":
    main(sys.argv[1:])
