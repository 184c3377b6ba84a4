"""05_ablation, executed on a small grid of its own."""

import json
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import nbformat
import papermill
import pytest
from fake_runs import write_run

from turbo_kit.ablation.execute import notebook_path
from turbo_kit.ablation.grid import configs_of, load_grid
from turbo_kit.ablation.kernels import kernel_manager
from turbo_kit.report.summary import summary_table
from turbo_kit.runs import finished_runs

NAME = "05_ablation.ipynb"


@pytest.mark.filterwarnings("ignore")
def test_it_plans_runs_and_reports_a_grid(quick, tmp_path):
    grid = {"objective": ["ce-2pass", "turbo"]}
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    defaults = quick().to_dict()
    overrides = {name: defaults[name] for name in ("corpus", "batch_size", "head_width", "projection", "device")}
    parameters = {
        "grid": str(tmp_path / "grid.json"),
        "overrides": {**overrides, "epochs": 2},
        "out": str(tmp_path / "runs"),
    }
    with TemporaryDirectory() as sockets:  # short enough a path for a socket
        executed = papermill.execute_notebook(
            notebook_path(NAME),
            tmp_path / "executed.ipynb",
            parameters=parameters,
            kernel_name="python3",
            kernel_manager_class=kernel_manager(1, sockets),
            progress_bar=False,
        )
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") + output.get("data", {}).get("text/markdown", "") for output in outputs)
    assert "2 runs: all to be tested; 0 complete already" in text
    assert "The UA of turbo cannot be told apart" in text or "turbo: UA is" in text
    pictures = [o for cell in executed.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 4
    assert {run.config.objective for run in finished_runs(tmp_path / "runs")} == {"ce-2pass", "turbo"}
    assert (tmp_path / "runs" / "report.html").is_file()


@pytest.mark.parametrize("grid", ["pairs", "modality"])
def test_it_compares_every_row_of_the_table_with_the_baseline_that_the_table_has(grid, tmp_path):
    """Rows that share an objective stay apart, and so do the baselines of several modalities."""
    configs = configs_of(load_grid(grid), {"fold": [0], "seed": [0]})
    runs = [write_run(tmp_path, skill=1 + i / 10, **config.to_dict()) for i, config in enumerate(configs)]
    table = summary_table(runs)
    variables = {"done": SimpleNamespace(runs=runs), "baseline": "ce-2pass", "table": table}
    (cell,) = [c for c in nbformat.read(notebook_path(NAME), as_version=4).cells if "matching_baselines" in c.source]
    exec(cell.source, variables)  # our own notebook
    expected = table[table["difference"].notna()].set_index("objective")["difference"]
    assert len(expected) == {"pairs": 28, "modality": 4}[grid]
    found = variables["differences"].mean()  # all speakers have as many clips, and all classes
    assert found.to_dict() == pytest.approx(expected.to_dict())
