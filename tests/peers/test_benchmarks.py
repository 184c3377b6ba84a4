"""Every benchmark of `make bench` runs, at sizes whose figures say nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SMALL = {
    "info_nce": "--sizes 64 --memory 300 --rounds 1",
    "two_passes": "--clips 1 --seconds 0.5 --rounds 1",
    "epoch": "--clips 40 --batch 2 --batches 1 --rounds 1",
    "gradient_cache": "--batch 8 --chunk 4 --rounds 1",
    "processes": "--batch 8 --layers 1 --steps 1 --rounds 1",
    "cost": "--sizes 500 600",
    "ablation": "--runs 1",
    "iemocap_loading": "",
    "repaint_pairs": "--moves 2 --trainings 1",
    "repaint_dropout": "--moves 30",
    "embedding_frames": "--points 500",
}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs(name, tmp_path):
    file = tmp_path / "figures.json"
    script = Path(__file__).with_name(f"{name}.py")
    done = subprocess.run(
        [sys.executable, script, "--json", file, *SMALL[name].split()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(file.read_text())


def test_all_of_make_bench_are_among_them():
    text = (Path(__file__).parents[2] / "Makefile").read_text().replace("\\\n", "")
    (line,) = (line for line in text.splitlines() if line.startswith("BENCHMARKS ="))
    assert set(line.split()[2:]) == set(SMALL)
