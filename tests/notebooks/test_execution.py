"""Every notebook runs by nbval and by papermill, gives the text outputs that it stores, and stops at a wrong parameter.

The notebooks run in reading order in one copy of their folder, so that they share runs.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import papermill
import pytest
from kit_notebooks import FOLDER, SANITISE, STRIPPED, THREADS, code_cells, every_notebook, tags
from papermill.exceptions import PapermillExecutionError

from turbo_kit.ablation.kernels import kernel_manager

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the notebooks in which they run; what one trains, the next ones find there."""
    copy = tmp_path_factory.mktemp("copy") / "notebooks"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("*runs*", ".ipynb_checkpoints"))
    (copy / "executed").mkdir()
    return copy


def by_nbval(path: Path) -> "tuple[bool, str]":
    """Whether nbval finds every stored text output again, and what it said."""
    options = ["--nbval", "--nbval-current-env", f"--nbval-sanitize-with={SANITISE}", "--nbval-cell-timeout=600"]
    plain = ["--color=no", "-q", "-p", "no:cacheprovider", "-p", "no:timeout"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    command = [sys.executable, "-m", "pytest", *plain, *options, path.name]
    done = subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def by_papermill(path: Path, **parameters: object) -> nbformat.NotebookNode:
    """The executed notebook, run as an ablation runs its own: in a forked kernel, without a network port."""
    with TemporaryDirectory() as sockets:  # short enough a path for a socket
        return papermill.execute_notebook(
            path,
            path.parent / "executed" / path.name,
            parameters=parameters,
            kernel_name="python3",
            kernel_manager_class=kernel_manager(THREADS, sockets),
            cwd=str(path.parent),
            progress_bar=False,
        )


@pytest.mark.timeout(900)
@every_notebook()
def test_it_gives_the_text_outputs_that_it_stores(name, folder):
    passed, said = by_nbval(folder / name)
    assert passed, said
    counted = re.search(r"(\d+) passed", said)
    assert counted and int(counted[1]) == len(code_cells(nbformat.read(folder / name, as_version=4))), said


@pytest.mark.timeout(900)
@every_notebook()
def test_papermill_executes_it(name, folder):
    executed = by_papermill(folder / name)
    assert all(cell.execution_count is not None for cell in code_cells(executed))


@every_notebook()
def test_an_unknown_parameter_stops_it_in_one_sentence(name, folder):
    with pytest.raises(PapermillExecutionError) as raised:
        by_papermill(folder / name, intractive=True)
    assert raised.value.ename == "InputError"
    assert "unknown parameter 'intractive'" in raised.value.evalue and "\n" not in raised.value.evalue


MAY_DIFFER = [
    ("runs/turbo-fold0-seed0-0123456789 0.71", "runs/turbo-fold0-seed0-abcdef0123 0.70"),
    ("/tmp/one/notebooks/runs", "/home/somebody/notebooks/runs"),
    ("4 runs: 0 complete already; about 60 s left with 2", "4 runs: 4 complete already; about 0 s left with 8"),
    ("UA   9.5 -1.2e-05", "UA 10.25 3.0"),
    ("The highest UA is that of turbo.", "It has the highest UA of all rows."),
]
WRONG = [("four clips", "five clips"), ("12 clips", "13 clips"), ("0.25 0.50", "0.25"), ("cannot tell", "better")]


def test_what_differs_between_machines_is_left_out(tmp_path):
    passed, said = by_nbval(printing(MAY_DIFFER, tmp_path))
    assert passed and f"{len(MAY_DIFFER)} passed" in said, said


def test_a_wrong_stored_output_is_found(tmp_path):
    passed, said = by_nbval(printing(WRONG, tmp_path))
    assert not passed and f"{len(WRONG)} failed" in said, said
    for place in range(len(WRONG)):
        assert f"Cell {place}: Cell outputs differ" in said, said


def test_every_teaching_notebook_is_compared():
    """None but the stripped ones stores nothing, which nbval would take for nothing to compare."""
    for path in FOLDER.glob("*.ipynb"):
        cells = code_cells(nbformat.read(path, as_version=4))
        compared = [cell for cell in cells if cell.outputs and not any("nbval" in tag for tag in tags(cell))]
        assert compared or path.name in STRIPPED


def printing(outputs: list[tuple[str, str]], folder: Path) -> Path:
    """A notebook whose cells print the first text of each pair, and store the second."""
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    cells = [
        new_code_cell(
            f"print({now!r})", execution_count=1, outputs=[new_output("stream", name="stdout", text=f"{stored}\n")]
        )
        for now, stored in outputs
    ]
    nbformat.write(new_notebook(cells=cells), folder / "notebook.ipynb")
    return folder / "notebook.ipynb"
