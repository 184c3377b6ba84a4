"""Figures and the report take plain data: no module of theirs loads torch, whoever imports it first."""

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "turbo_kit"
PLAIN_ROOMS = ("board", "config", "corpora", "figures", "metrics", "report", "runs")
"""The two rooms, and those whose data they read."""


def modules_of(room: str) -> list[str]:
    files = sorted((PACKAGE / room).glob("*.py")) or [PACKAGE / f"{room}.py"]
    names = [".".join(("turbo_kit", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files]
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("room", PLAIN_ROOMS)
def test_no_module_of_a_plain_room_loads_torch(room):
    code = f"""
import sys
from importlib import import_module
for name in {modules_of(room)}:
    import_module(name)
    if heavy := {{"torch", "transformers"}} & set(sys.modules):
        sys.exit(f"{{name}} loads {{', '.join(sorted(heavy))}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
