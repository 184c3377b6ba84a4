import nbformat
import pytest

from turbo_kit import InputError
from turbo_kit.ablation.execute import execute
from turbo_kit.runs import finished_runs


def test_a_grid_is_run_once_through_the_notebook_and_goes_on_where_it_stopped(quick, tmp_path):
    lines = []
    configs = [quick(objective="ce", epochs=1), quick(objective="turbo", epochs=1)]
    runs = execute(configs[:1], tmp_path, lines.append)
    assert [run.config for run in runs] == configs[:1]
    notebook = nbformat.read(runs[0].folder / "notebook.ipynb", as_version=4)
    assert any("injected-parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
    images = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(images) == 2  # the learning curves and the confusion matrix

    runs = execute(configs, tmp_path, lines.append)
    assert [run.config for run in runs] == configs
    assert finished_runs(tmp_path) == sorted(runs, key=lambda run: run.folder)
    assert [line.partition(": ")[2].split(" ")[0] for line in lines] == ["", "test", "there", "", "test"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "trubo"}, "did you mean 'turbo'"),
        ({"fold": 7}, "fold 7 does not exist"),
        ({"corpus": "demo-emotoin"}, "did you mean 'demo-emotion'"),
        ({"audio": "/nowhere"}, "does not exist"),
    ],
)
def test_what_is_wrong_stops_the_grid_before_its_first_run(quick, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        execute([quick(), quick(**changes)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bad_input_that_a_run_comes_upon_is_told_and_leaves_no_folder(quick, manifest_of, tones, tmp_path):
    broken = tones.with_name("broken.wav")
    broken.write_bytes(b"no audio")
    path = manifest_of(lambda rows: rows[0].update(path="broken.wav"), "with_broken.jsonl")
    with pytest.raises(InputError, match=r"broken.wav \(utterance 'clip00'\): the audio cannot be decoded"):
        execute([quick(corpus=f"manifest:{path}", fold=2)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_failure_keeps_the_notebook_with_its_error(quick, tmp_path, monkeypatch):
    failing = tmp_path / "failing.ipynb"
    cell = nbformat.v4.new_code_cell("1 / 0")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), failing)
    monkeypatch.setattr("turbo_kit.ablation.execute.notebook_path", lambda name: failing)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        execute([quick()], tmp_path / "runs")
    (notebook,) = (tmp_path / "runs").glob("*/notebook.ipynb")
    assert "ZeroDivisionError" in notebook.read_text()
    assert finished_runs(tmp_path / "runs") == []
