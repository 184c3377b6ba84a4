"""`make gpu-check` on a machine without a GPU: it compares the CPU with itself, which has to pass, or says why not."""

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch

CPU = torch.device("cpu")


@pytest.fixture
def parity(monkeypatch):
    """The checks, of smaller batches."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import gpu_parity

    monkeypatch.setattr(gpu_parity, "SIZES", (300,))
    return gpu_parity


@pytest.fixture
def run(parity, monkeypatch):
    """Calls the script with options and returns its exit code."""
    import gpu_check

    def call(*options):
        monkeypatch.setattr(sys, "argv", ["gpu_check.py", *map(str, options)])
        return gpu_check.main()

    return call


@pytest.mark.slow
def test_a_cpu_computes_what_a_cpu_computes(parity, monkeypatch):
    for name, check in parity.CHECKS.items():
        with monkeypatch.context() as patch:
            if name != "one training step":  # the others take a CPU long with all layers
                patch.setattr(parity, "TRAINED", {"light heads": 0})
            found = check(CPU)
        assert found and all(one.good for one in found), "\n".join(map(str, (name, *found)))


def test_a_device_that_computes_otherwise_is_found(parity, monkeypatch):
    real = parity.gradient_step
    steps = []

    def off(*arguments, **options):
        """The first step as it is, the second with one gradient changed by a thousandth."""
        losses, gradients, drawn = real(*arguments, **options)
        steps.append(arguments)
        share = 1.001 if len(steps) == 2 else 1.0
        return losses, gradients | {"classifier.weight": share * gradients["classifier.weight"]}, drawn

    monkeypatch.setattr(parity, "TRAINED", {"light heads": 0})
    monkeypatch.setattr(parity, "gradient_step", off)
    assert [one.good for one in parity.training_step(CPU)] == [True, False]

    masks = parity.dropout
    monkeypatch.setattr(parity, "dropout", lambda x, rate: masks(x, rate + 0.01))
    assert not parity.dropout_statistics(CPU)[0].good
    assert not parity.Finding("a NaN", float("nan"), 1.0).good


def test_its_exit_code_tells_a_failed_check(parity, run, monkeypatch, capsys):
    checks = {"good": lambda device: [parity.Finding("figure", 0.5, 1.0)]}
    monkeypatch.setattr(parity, "CHECKS", checks)
    assert run("--device", "cpu", "--parts", "parity") == 0
    checks["too far"] = lambda device: [parity.Finding("figure", 2.0, 1.0)]
    checks["broken"] = lambda device: 1 / 0
    assert run("--device", "cpu", "--parts", "parity") == 1
    told = capsys.readouterr().out
    assert "1 of 3 figures are within their limits" in told
    assert "FAILED too far: figure" in told
    assert "FAILED broken: stopped: ZeroDivisionError" in told


def test_without_a_gpu_it_says_so_and_fails_only_where_one_was_asked_for(run, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run() == 0
    assert capsys.readouterr().out.startswith("gpu-check: PyTorch finds no CUDA device here")
    assert run("--device", "cuda") == 1


@pytest.mark.slow
def test_the_table_has_a_row_for_each_model_and_arithmetic(run, tmp_path, capsys):
    file = tmp_path / "figures.json"
    options = ("--batches", 3, "--chunk", 2, "--seconds", 0.3, "--rounds", 1, "--json", file)
    assert run("--device", "cpu", "--parts", "syncs", "table", *options) == 0
    rows = json.loads(file.read_text())["clips a second"]
    models, ways = ("demo", "wav2vec2-base", "its top 3 twice", "once"), ("fp32", "bf16-mixed")
    assert list(rows) == [f"{model}, 3, {way}" for model in models for way in ways]
    assert all(row["min"] > 0 for row in rows.values())
    assert "cannot run" not in capsys.readouterr().out


def test_what_waits_for_the_gpu_is_told_by_its_place(run):
    import gpu_check

    def step():
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    ((place, count),) = gpu_check.synchronisations(step).items()
    assert place.startswith("test_gpu_check.py:")
    assert count == 2
