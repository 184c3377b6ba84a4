"""What the top level promises: one list of requirements, a wheel that holds all it needs, rooms that look downwards."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# A room imports only from rooms below it.
ROOMS = [
    ["cli", "notebook"],
    ["report"],
    ["ablation", "explorer"],
    ["figures"],
    ["inspection"],
    ["maps"],
    ["training"],
    ["steps"],
    ["evaluation", "gradient_cache", "optimisation", "resume"],
    ["runs"],
    ["model"],
    ["model_card", "fusion"],
    ["encoders", "objectives", "metrics"],
    ["corpus_check"],
    ["batches"],
    ["corpora"],
    ["config"],
]


def test_conda_and_pip_install_the_same():
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    listed = [line.removeprefix("- ") for line in lines[lines.index("- pip:") + 1 :]]
    assert listed == [*PROJECT["dependencies"], "--editable ."]
    assert f"- python{PROJECT['requires-python']}" in lines


def test_every_room_imports_from_rooms_below_it():
    level = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
    for file in (ROOT / "turbo_kit").rglob("*.py"):
        room = file.relative_to(ROOT / "turbo_kit").parts[0].removesuffix(".py")
        if room == "__init__" or {"demo", "weights"} & set(file.parts):
            continue
        tree = ast.parse(file.read_text())
        for_types = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
        skipped = {id(inner) for guard in for_types for inner in ast.walk(guard)}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ImportFrom)
                and id(node) not in skipped
                and (node.module or "").startswith("turbo_kit.")
            ):
                other = node.module.split(".")[1]
                assert other == room or level[other] > level[room], f"{file.name} imports {node.module}"


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
