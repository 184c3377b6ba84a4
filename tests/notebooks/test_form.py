"""Every notebook keeps to the template, and stores outputs that are small, whole and anybody's."""

import ast
import json
import re

import nbformat
import pytest
from kit_notebooks import FOLDER, NAMES, ROOT, STRIPPED, code_cells, every_notebook, read, tags

LARGEST = 300_000
"""Bytes of a notebook."""
FEWEST_CHECKED = 10
"""Of so many code cells one may leave its output unchecked."""
UNCHECKED = {"nbval-ignore-output", "nbval-skip"}


def test_notebooks_are_numbered_in_reading_order_and_found():
    numbers = [name[:2] for name in NAMES]
    assert numbers == sorted(set(numbers)) and {"00", "01", "04", "05", "09"} <= set(numbers)


@every_notebook()
def test_it_is_valid_tidy_and_small(name):
    notebook = read(name)
    nbformat.validate(notebook)
    ids = [cell["id"] for cell in json.loads((FOLDER / name).read_text(encoding="utf-8"))["cells"]]
    assert len(set(ids)) == len(ids)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert (FOLDER / name).stat().st_size <= LARGEST
    allowed = {"tags"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= allowed, f"{cell.id}: {dict(cell.metadata)}"
        assert cell.source.strip(), f"{cell.id} is empty"


@every_notebook()
def test_it_has_one_parameters_cell_of_literals_and_is_not_interactive_by_itself(name):
    (cell,) = [cell for cell in code_cells(read(name)) if "parameters" in tags(cell)]
    values = {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body}
    assert cell is not None and values
    if name not in STRIPPED:
        assert values["interactive"] is False


@every_notebook()
def test_it_opens_with_what_it_answers_how_long_it_takes_and_what_it_needs(name):
    opening = read(name).cells[0].source
    assert opening.startswith("# ")
    for words in ("After this notebook you can answer", "**Time:**", "**Needs:**"):
        assert words in opening


@every_notebook()
def test_it_asks_for_a_prediction_and_has_exercises_with_hidden_solutions(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    assert "**Predict first" in text
    assert "## Exercises" in text and "<details><summary>" in text and "</details>" in text
    assert re.search(r"break it", text, re.IGNORECASE)


@every_notebook()
def test_it_holds_no_path_of_a_machine(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    found = re.findall(r"(?:/(?:home|root|tmp|work|Users|private|mnt|opt|var)/|[A-Z]:\\\\)[\w./-]*", text)
    assert not found


@every_notebook(stripped=False)
def test_its_outputs_are_stored_in_order_without_errors_warnings_or_widgets(name):
    cells = code_cells(read(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", f"{cell.id} warns: {output.text}"
            assert not any("widget" in kind for kind in output.get("data", {})), f"{cell.id} shows a widget"


@pytest.mark.parametrize("name", sorted(STRIPPED))
def test_a_stripped_one_stores_no_output(name):
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(read(name)))


@every_notebook(stripped=False)
def test_a_line_of_alternative_text_follows_every_figure(name):
    cells = read(name).cells
    pictures = [
        place
        for place, cell in enumerate(cells)
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
    ]
    for place in pictures:
        after = cells[place + 1]
        assert after.cell_type == "markdown", f"{cells[place].id}: no text follows the figure"
        assert after.source.startswith("*Figure: "), f"{cells[place].id}: {after.source[:60]}"


@every_notebook()
def test_nearly_every_output_is_checked(name):
    cells = code_cells(read(name))
    unchecked = [cell.id for cell in cells if UNCHECKED & set(tags(cell))]
    assert len(unchecked) <= len(cells) // FEWEST_CHECKED, unchecked
    assert not any("NBVAL" in cell.source for cell in cells)


def test_the_pictures_of_the_readme_are_those_that_cells_are_tagged_for():
    tagged = [
        tag.removeprefix("picture=")
        for name in NAMES
        for cell in code_cells(read(name))
        for tag in tags(cell)
        if tag.startswith("picture=")
    ]
    shown = re.findall(r"\]\(notebooks/pictures/([\w-]+)\.png\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert tagged and sorted(shown) == sorted(tagged)
    assert {path.stem for path in (FOLDER / "pictures").glob("*.png")} == set(tagged)
