"""Refreshing stores what the cells give, and nothing of the machine; a tagged figure becomes a picture."""

import base64

import nbformat
import pytest
import refresh_notebooks as refresh
from nbformat.v4 import new_code_cell, new_notebook

FIGURE = "from matplotlib.figure import Figure\nfigure = Figure(figsize=(1, 1))\n"
SHOWN = "from IPython.display import Image\nimport io\nbuffer = io.BytesIO()\nfigure.savefig(buffer)\n"
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one notebook of two cells, and one that is kept stripped."""
    cells = [
        new_code_cell("print('said')"),
        new_code_cell(f"{FIGURE}{SHOWN}Image(buffer.getvalue())", metadata={"tags": ["picture=square"]}),
    ]
    nbformat.write(new_notebook(cells=cells, metadata=METADATA), tmp_path / "00_one.ipynb")
    nbformat.write(new_notebook(cells=cells, metadata=METADATA), tmp_path / "04_train.ipynb")
    monkeypatch.setattr(refresh, "FOLDER", tmp_path)
    monkeypatch.setattr(refresh, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(refresh, "NAMES", ["00_one.ipynb", "04_train.ipynb"])
    return tmp_path


def test_outputs_and_pictures_are_stored_and_a_stripped_notebook_is_left_alone(folder):
    stripped = (folder / "04_train.ipynb").read_bytes()
    refresh.main([])
    notebook = nbformat.read(folder / "00_one.ipynb", as_version=4)
    said, shown = notebook.cells
    assert said.outputs[0].text == "said\n" and [said.execution_count, shown.execution_count] == [1, 2]
    assert notebook.metadata == METADATA and not said.metadata and set(shown.metadata) == {"tags"}
    picture = (folder / "pictures" / "square.png").read_bytes()
    assert picture == base64.b64decode(shown.outputs[0].data["image/png"])
    assert (folder / "04_train.ipynb").read_bytes() == stripped


def test_a_tag_without_a_figure_and_a_name_without_a_notebook_are_said(folder):
    notebook = nbformat.read(folder / "00_one.ipynb", as_version=4)
    notebook.cells[0].metadata["tags"] = ["picture=nothing"]
    nbformat.write(notebook, folder / "00_one.ipynb")
    with pytest.raises(SystemExit, match="shows no figure"):
        refresh.main(["00"])
    with pytest.raises(SystemExit, match="no notebook starts with 12"):
        refresh.main(["12"])
