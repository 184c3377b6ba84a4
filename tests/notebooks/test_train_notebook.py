"""04_train: kept stripped, its parameters those of RunConfig, and executed as an ablation executes it."""

import ast

import nbformat
import pytest

from turbo_kit import RunConfig
from turbo_kit.ablation.execute import notebook_path


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(notebook_path("04_train.ipynb"), as_version=4)


def test_it_is_valid_and_stripped(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_its_parameters_are_the_knobs_of_a_run_at_their_defaults_as_literals(notebook):
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    found = {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body}
    assert (found.pop("out"), found.pop("test")) == ("runs", True)
    assert found == RunConfig().to_dict()


def test_run_twice_in_one_kernel_it_does_not_take_its_own_results_for_parameters(
    quick, tmp_path, monkeypatch, notebook
):
    monkeypatch.chdir(tmp_path)
    values = {**quick(epochs=1).to_dict(), "out": str(tmp_path)}
    variables = {}
    for _ in range(2):
        for cell in notebook.cells:
            if cell.cell_type == "code":
                exec(cell.source, variables)  # our own notebook
                if "parameters" in cell.metadata.get("tags", []):
                    variables.update(values)
    assert variables["run"].done
