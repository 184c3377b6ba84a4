"""A training that is stopped and goes on is the training that was never stopped, to the last bit."""

import random
import shutil
from copy import deepcopy

import numpy as np
import pytest
import torch
from outcomes import Stopped, outcome, stopped_before
from slow_cases import slow

from turbo_kit import InputError, evaluate, train
from turbo_kit.training import loop, results
from turbo_kit.training.checkpoint import UNFINISHED, read_state, write_state
from turbo_kit.training.trainer import Trainer

WAYS = {
    "turbo": {},
    "learned temperature": {"temperature": "learned", "exclude": "transcript"},
    "siglip": {"objective": "siglip"},
    "supcon": {"objective": "supcon", "label_fraction": 0.5},
    "r-drop": {"objective": "r-drop"},
    "gram": {"objective": "gram"},
    "cyclip": {"objective": "cyclip"},
    "accumulated, in chunks": {"accumulate": 2, "chunk_size": 3, "negatives": "both"},
    "trainable layers": {"trainable_layers": 2, "view_depth": 1},
    "modality dropout": {"modality_dropout": 0.3, "fusion": "gated", "pooling": "attentive", "layer_mix": True},
    "early stopping": {"patience": 2, "epochs": 9, "epoch_embeddings": True},
}
QUICK_WAYS = ("turbo", "learned temperature", "accumulated, in chunks", "modality dropout", "early stopping")
"""Each saves another kind of state; the other ways are slow cases."""

DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


@pytest.fixture(scope="module")
def fold(tones_corpus):
    return tones_corpus.fold(0)


@pytest.fixture(scope="module")
def stopped(fold):
    """Trains until it is stopped before its step of a number, counted from where it starts, saved after each step."""

    def train_until(number, config, out):
        with stopped_before(number):
            train(config, fold.train, fold.dev, out, save_every=0)
        (folder,) = out.iterdir()
        assert [path.name for path in folder.iterdir()] == [UNFINISHED]
        return folder / UNFINISHED

    return train_until


@pytest.fixture(scope="module")
def whole(quick, fold, tmp_path_factory):
    """A training that was never stopped."""
    return train(quick(), fold.train, fold.dev, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def stopped_once(quick, stopped, tmp_path_factory):
    """The folder of the same training, stopped in its second epoch."""
    return stopped(4, quick(), tmp_path_factory.mktemp("stopped")).parents[1]


@pytest.fixture
def parts(stopped_once, tmp_path):
    """A copy of it, to go on with or to spoil."""
    copy = shutil.copytree(stopped_once, tmp_path / "parts")
    assert len(list(copy.glob(f"*/{UNFINISHED}"))) == 1
    return copy


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("way", [way if way in QUICK_WAYS else slow(way) for way in WAYS])
def test_stopped_twice_it_is_the_training_that_never_was(quick, fold, tmp_path, stopped, way, device):
    config = quick(**WAYS[way], device=device)
    whole = train(config, fold.train, fold.dev, tmp_path / "whole")
    for steps in (4, 3):  # within the second epoch, and within the third
        stopped(steps, config, tmp_path / "parts")
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002 (what happens meanwhile is of no matter)
    parts = train(config, fold.train, fold.dev, tmp_path / "parts", save_every=0)
    assert parts.result["timings"]["resumed"] == 2
    assert outcome(parts) == outcome(whole)
    assert not (parts.folder / UNFINISHED).exists()
    assert evaluate(parts, fold.test) == evaluate(whole, fold.test)


def test_random_numbers_of_any_kind_go_on(quick, tmp_path, stopped, fold, monkeypatch):
    drawn = []
    step = Trainer._step

    def drawing(self, batch):
        drawn.append((float(np.random.rand()), random.random()))  # noqa: NPY002
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", drawing)
    train(quick(), fold.train, fold.dev, tmp_path / "whole")
    whole, drawn[:] = drawn[:], []
    stopped(4, quick(), tmp_path / "parts")
    train(quick(), fold.train, fold.dev, tmp_path / "parts")
    assert drawn == whole


def test_asked_for_again_it_starts_from_its_beginning(quick, fold, parts):
    assert train(quick(), fold.train, fold.dev, parts, again=True).result["timings"]["resumed"] == 0


@pytest.mark.parametrize("spoil", [lambda data: data[:-10], lambda data: b"not a state", lambda data: b""])
def test_a_broken_state_is_told_and_the_training_starts_anew(quick, fold, whole, parts, caplog, spoil):
    (state,) = parts.glob(f"*/{UNFINISHED}")
    state.write_bytes(spoil(state.read_bytes()))
    with caplog.at_level("WARNING"):
        run = train(quick(), fold.train, fold.dev, parts)
    assert f"{state} is broken" in caplog.text
    assert run.result["timings"]["resumed"] == 0
    assert outcome(run) == outcome(whole)


def test_another_number_of_processes_cannot_go_on(quick, fold, parts):
    (path,) = parts.glob(f"*/{UNFINISHED}")
    state = read_state(path)
    state["training"]["random"] += deepcopy(state["training"]["random"])  # as two processes leave it
    write_state(path, state)
    with pytest.raises(InputError, match=r"stopped in 2 process\(es\) on cpu and cannot go on in 1 on cpu"):
        train(quick(), fold.train, fold.dev, parts)


def test_a_stop_while_the_run_folder_is_written_costs_no_more(quick, fold, tmp_path, stopped, monkeypatch):
    stopped(8, quick(), tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(results, "write_outputs", lambda *_: (_ for _ in ()).throw(Stopped))
        train(quick(), fold.train, fold.dev, tmp_path)
    run = train(quick(), fold.train, fold.dev, tmp_path)
    assert run.result["timings"]["resumed"] == 1
    assert run.trained


def test_a_short_training_saves_nothing(quick, fold, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "write_state", lambda *_: pytest.fail("saved before its time"))
    train(quick(), fold.train, fold.dev, tmp_path)


def test_a_state_keeps_every_bit(tmp_path):
    state = {"weights": {"a": torch.randn(3, 4), "b": torch.tensor(2)}, "rows": [{"loss": 0.1 + 0.2, "none": None}]}
    write_state(tmp_path / "state", state)
    found = read_state(tmp_path / "state")
    assert found["rows"] == state["rows"]
    assert all(torch.equal(found["weights"][name], value) for name, value in state["weights"].items())
