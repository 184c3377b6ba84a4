"""Killed with -9 at any moment, while it saves too, a training goes on to the numbers of one that never was."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from outcomes import outcome
from test_processes import SMALL, WORKER

from turbo_kit import RunConfig
from turbo_kit.runs import Run
from turbo_kit.training.checkpoint import UNFINISHED

KILLS = int(os.environ.get("TURBO_KIT_KILLS", "5"))
"""Of one process; more by hand."""


def started(processes: int, configs: Path, folder: Path) -> "subprocess.Popen[bytes]":
    """A training of the configs' one config that is saved after each step."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), str(WORKER), "saving", str(configs), str(folder)]
    log = (folder / "log").open("ab")
    return subprocess.Popen(command, stderr=log, stdout=log)


def finished(processes: int, configs: Path, folder: Path) -> Run:
    done = started(processes, configs, folder)
    assert done.wait(300) == 0, (folder / "log").read_text()
    (run,) = (folder / "one").iterdir()
    return Run(run)


def last_saved(folder: Path) -> int:
    """When, in nanoseconds; 0 for never."""
    return max((state.stat().st_mtime_ns for state in folder.glob(f"one/*/{UNFINISHED}")), default=0)


@pytest.mark.parametrize(("processes", "kills"), [(1, KILLS), (2, 1)])
def test_killed_at_random_moments_it_ends_as_if_nothing_had_been(tones, tmp_path, processes, kills):
    config = RunConfig(corpus=f"manifest:{tones}", **SMALL | {"epochs": 40, "patience": 0, "accumulate": 2})
    configs = tmp_path / "configs.json"
    configs.write_text(json.dumps({"one": config.to_dict()}))
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = finished(processes, configs, tmp_path / "whole")
    seconds = whole.result["timings"]["training_seconds"] / (kills + 1)  # never so long that it would end

    moments = random.Random()
    for _ in range(kills):
        begun = time.time_ns()
        process = started(processes, configs, tmp_path / "killed")
        while process.poll() is None and last_saved(tmp_path / "killed") < begun:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, seconds))
        assert process.poll() is None, (tmp_path / "killed" / "log").read_text()  # it was not at its end
        launcher = psutil.Process(process.pid)
        for each in (*launcher.children(recursive=True), launcher):
            each.kill()
        process.wait()
    killed = finished(processes, configs, tmp_path / "killed")
    assert killed.result["timings"]["resumed"] == kills
    assert outcome(killed) == outcome(whole)
    assert sorted(path.name for path in killed.folder.iterdir()) == sorted(path.name for path in whole.folder.iterdir())
