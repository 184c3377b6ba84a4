"""Several processes compute what one computes on all of the clips."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from process_worker import gradients

from turbo_kit import RunConfig, train
from turbo_kit.runs import Run

WORKER = Path(__file__).parents[1] / "helpers" / "process_worker.py"
SMALL = {"epochs": 3, "batch_size": 7, "head_width": 32, "projection": 16, "device": "cpu"}
WITHOUT_DROPOUT = {"audio_dropout": 0.0, "text_dropout": 0.0}
WAYS = {
    "turbo": {"temperature": "learned", "exclude": "transcript", "fusion": "gated"},
    "in chunks": {"chunk_size": 2, "temperature": "learned", "pooling": "attentive"},
    "supcon": {"objective": "supcon", "label_fraction": 0.5, "class_weighting": "balanced"},
    "r-drop": {"objective": "r-drop"},
    "siglip": {"objective": "siglip"},
    "ce": {"objective": "ce"},
    "accumulated": {"accumulate": 2, "chunk_size": 3, "negatives": "both"},
}


def start(what: str, processes: int, configs: dict[str, RunConfig], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Runs the worker on all configs, in so many processes; each config writes to the folder of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "configs.json").write_text(json.dumps({name: config.to_dict() for name, config in configs.items()}))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launcher, str(WORKER), what, str(folder / "configs.json"), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300
    )  # should they wait for ever


@pytest.fixture(scope="module")
def configs(tones):
    small = {"corpus": f"manifest:{tones}", **SMALL, **WITHOUT_DROPOUT}
    return {way: RunConfig(**small | knobs) for way, knobs in WAYS.items()}


@pytest.fixture(scope="module", params=[2, 3, 4])
def processes(request, configs, tmp_path_factory):
    """Their number, and what each of them computed, by config."""
    folder = tmp_path_factory.mktemp(f"processes{request.param}")
    done = start("gradients", request.param, configs, folder)
    assert done.returncode == 0, done.stderr
    ranks = range(request.param)
    return request.param, {
        way: [torch.load(folder / way / f"{rank}.pt", weights_only=True) for rank in ranks] for way in configs
    }


@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_several_processes_are_those_of_one(processes, configs, way):
    number, found = processes
    alone = gradients(configs[way])
    floor = 1e-3 * torch.cat([value.flatten() for value in alone["gradients"].values()]).norm()
    for process in found[way]:
        assert process["shares"] == {2: [4, 3], 3: [3, 2, 2], 4: [2, 2, 2, 1]}[number]  # uneven
        torch.testing.assert_close(process["losses"], alone["losses"], rtol=1e-9, atol=1e-15)
        assert process["gradients"].keys() == alone["gradients"].keys()
        for name, value in alone["gradients"].items():
            assert (process["gradients"][name] - value).norm() <= 1e-9 * torch.maximum(value.norm(), floor), name


def test_each_process_draws_masks_of_its_own(processes):
    number, found = processes
    assert len({tuple(process["random"].tolist()) for process in found["turbo"]}) == number


@pytest.fixture(scope="module")
def trainings(configs, tmp_path_factory):
    """Histories and results of two processes: with dropout, twice, and without."""
    folder = tmp_path_factory.mktemp("trainings")
    dropout = RunConfig(**configs["turbo"].to_dict() | {"audio_dropout": 0.1, "text_dropout": 0.1})
    done = start("training", 2, {"one": dropout, "two": dropout, "without": configs["turbo"]}, folder)
    assert done.returncode == 0, done.stderr
    return {name: Run(next((folder / name).iterdir())) for name in ("one", "two", "without")}


def test_a_training_of_two_processes_is_that_of_one(trainings, configs, tones_corpus, tmp_path):
    fold, config = tones_corpus.fold(0), configs["turbo"]
    runs = [train(config, fold.train, fold.dev, tmp_path), trainings["without"]]
    one, other = (run.history.drop(columns="seconds") for run in runs)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert [run.result["processes"] for run in runs] == [1, 2]
    assert runs[0].folder.name == runs[1].folder.name
    assert runs[0].predictions("dev")["predicted"].tolist() == runs[1].predictions("dev")["predicted"].tolist()


def test_a_training_of_two_processes_is_reproduced_by_its_seed(trainings):
    one, two, without = (trainings[name].history.drop(columns="seconds") for name in ("one", "two", "without"))
    assert one.equals(two)
    assert not one.equals(without)


def test_fewer_clips_than_processes_is_an_error(configs, tmp_path):
    config = RunConfig(**configs["turbo"].to_dict() | {"batch_size": 2})
    done = start("training", 3, {"small": config}, tmp_path)
    assert done.returncode != 0
    assert "a batch of 2 clips for 3 processes" in done.stderr


def test_a_process_that_dies_ends_the_others_and_leaves_nothing_that_passes_for_a_run(configs, tmp_path):
    done = start("killed", 2, {"one": configs["turbo"]}, tmp_path)
    assert done.returncode != 0
    assert "Signal 9 (SIGKILL)" in done.stderr
    assert not list((tmp_path / "one").glob("*/result.json"))
