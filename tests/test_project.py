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
    ["cli"],
    ["ablation"],
    ["figures", "maps"],
    ["training"],
    ["evaluation"],
    ["runs"],
    ["model"],
    ["model_card"],
    ["encoders", "objectives", "metrics"],
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
    package = ROOT / "turbo_kit"
    for file in package.rglob("*.py"):
        room = file.relative_to(package).parts[0].removesuffix(".py")
        if room in ("__init__", "notebooks") or "demo" in file.parts or "weights" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                other = (module or "").split(".")[1:2]
                if (module or "").startswith("turbo_kit.") and other[0] != room:
                    where = f"{file.relative_to(ROOT)} imports {module}"
                    if _only_for_types(file, node):
                        continue
                    assert level[other[0]] > level[room], where


def _only_for_types(file, node):
    guarded = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.If)]
    return any(
        isinstance(n.test, ast.Name) and n.test.id == "TYPE_CHECKING" and n.lineno < node.lineno <= (n.end_lineno or 0)
        for n in guarded
    )


def test_importing_the_kit_is_quick():
    code = "import sys, turbo_kit; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'pandas')))"
    subprocess.run([sys.executable, "-c", code], check=True)


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
    assert len(list((package / "corpora/demo/emotion/clips").glob("*.ogg"))) == 1440
    for name in ("notebooks/04_train.ipynb", "ablation/report.html.j2", "py.typed"):
        assert (package / name).is_file()
    for name in ("demo-audio", "demo-text"):
        assert (package / "encoders/weights" / name / "model.safetensors").is_file()
    (licences,) = installed.glob("*.dist-info/licenses")
    assert {path.name for path in licences.iterdir()} == {"LICENSE", "NOTICE"}


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
