"""What the top level promises: one list of requirements, a wheel that holds all it needs, rooms that look downwards."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from turbo_kit import Corpus, Utterance
from turbo_kit.corpora.files import read_rows, require_utterances, sound_fault

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

PACKAGE = ROOT / "turbo_kit"

# A room imports only from rooms below it.
ROOMS = [
    ["cli"],
    ["report"],
    ["ablation", "explorer"],
    ["figures"],
    ["inspection"],
    ["training"],
    ["identity"],
    ["runs"],
    ["model"],
    ["encoders", "objectives", "metrics"],
    ["corpora"],
    ["board"],
    ["config"],
]


def imports() -> dict[str, set[str]]:
    """The modules of the package that each module imports, also inside functions and for types alone."""
    found: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if "corpora.demo." in module or "encoders.weights." in module:  # tools that made the data, no part of the kit
            continue
        found[module] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "turbo_kit":
                found[module] |= {module_of(node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                found[module] |= {alias.name for alias in node.names if alias.name.startswith("turbo_kit")}
    return found


def module_of(package: str, name: str) -> str:
    """Where `from package import name` leads: to a file of that name, or to the package itself."""
    folder = ROOT / package.replace(".", "/")
    if (folder / f"{name}.py").is_file():
        return f"{package}.{name}"
    return f"{package}.__init__" if folder.is_dir() else package


def test_conda_and_pip_install_the_same():
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    listed = [line.removeprefix("- ") for line in lines[lines.index("- pip:") + 1 :]]
    assert listed == [*PROJECT["dependencies"], "--editable ."]
    assert f"- python{PROJECT['requires-python']}" in lines


def test_every_room_imports_from_rooms_below_it():
    level = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
    for module, imported in imports().items():
        room = module.split(".")[1]
        if room == "__init__":
            continue
        for other in {name.split(".")[1] for name in imported} - {room}:
            assert level.get(other, -1) > level[room], f"{module} imports from {other}"


def test_no_module_leads_back_to_itself_by_imports():
    lazy = {"turbo_kit.__init__": set()}  # the front door loads a name when it is first used
    list(TopologicalSorter(imports() | lazy).static_order())


def test_the_top_level_of_the_package_is_small():
    assert len(list(PACKAGE.glob("*.py"))) <= 6
    assert {path.name for path in PACKAGE.iterdir() if path.suffix != ".pyc"} - {"__pycache__", "py.typed"} == {
        "__init__.py",
        *(f"{room}.py" if (PACKAGE / f"{room}.py").is_file() else room for rooms in ROOMS for room in rooms),
    }


def test_importing_the_kit_and_asking_for_help_load_nothing_heavy():
    heavy = {
        "torch",
        "transformers",
        "pandas",
        "umap",
        "matplotlib",
        "IPython",
        "ipywidgets",
        "jupyterlab",
        "papermill",
    }
    code = f"""
import sys, turbo_kit, turbo_kit.cli
try:
    turbo_kit.cli.main(["--help"])
except SystemExit:
    sys.exit(", ".join({heavy} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "corpus" in done.stdout
    assert done.stderr.strip() == ""


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A folder with the package as its wheel holds it, outside the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_what_a_run_needs_and_its_notices(installed):
    package = installed / "turbo_kit"
    for corpus, clips in (("emotion", 1440), ("directed", 768)):
        assert len(list((package / "corpora/demo" / corpus / "clips").glob("*.ogg"))) == clips
    for name in ("notebooks/04_train.ipynb", "report/report.html.j2", "py.typed"):
        assert (package / name).is_file()
    for name in ("demo-audio", "demo-text"):
        assert (package / "encoders/weights" / name / "model.safetensors").is_file()
    (licences,) = installed.glob("*.dist-info/licenses")
    assert {path.name for path in licences.iterdir()} == {"LICENSE", "NOTICE"}


@pytest.mark.slow
def test_the_wheel_trains_by_notebook_outside_the_checkout(installed, tones, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(installed))
    code = "import turbo_kit, sys; from turbo_kit.cli import main; print(turbo_kit.__file__); main(sys.argv[1:])"
    settings = [f"corpus=manifest:{tones}", "objective=ce", "epochs=1", "batch_size=8", "head_width=32", "device=cpu"]
    done = subprocess.run(
        [sys.executable, "-c", code, "ablate", *settings], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    assert (tmp_path / "runs" / "report.html").is_file()


def test_the_reader_that_contributing_shows_reads_a_corpus(tmp_path):
    (code,) = re.findall(r"```python\n(def load_mine.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    names = {"Path": Path, "Corpus": Corpus, "Utterance": Utterance}
    names |= {"read_rows": read_rows, "sound_fault": sound_fault, "require_utterances": require_utterances}
    exec(code, names)
    rows = ["file,words,emotion,actor", "1.wav,good,happy,ann", "2.wav,bad,sad,bob", "3.wav,gone,sad,bob"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    for name in ("1.wav", "2.wav"):
        (tmp_path / name).write_bytes(b"x" * 2000)
    corpus = names["load_mine"](tmp_path)
    assert [u.label for u in corpus.utterances] == ["happy", "sad"]
    assert len(corpus.problems) == 1 and "3.wav" in corpus.problems[0]
