import re
from pathlib import Path

import pandas as pd
import pytest

from turbo_kit.ablation import execute as execute_module
from turbo_kit.ablation.execute import AblationResult
from turbo_kit.ablation.grid import configs_of, load_grid, preset_names
from turbo_kit.cli import main
from turbo_kit.objectives import PRESETS
from turbo_kit.report import write as report_module
from turbo_kit.runs import finished_runs


def call(*arguments):
    """The exit code of a command."""
    try:
        main(list(arguments))
    except SystemExit as stop:
        return stop.code or 0
    return 0


SMALL = ["--epochs", "1", "--batch-size", "8", "--head-width", "32", "--device", "cpu"]


@pytest.mark.parametrize("command", ["demo", "train", "ablate", "report", "embed", "corpus"])
def test_every_command_explains_itself(command, capsys):
    assert call(command, "--help") == 0
    assert call("--help") == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "--objective", "trubo"], "did you mean 'turbo'"),
        (["train", "--objectve", "turbo"], "--objective"),
        (["train", "--epochs", "0"], "must be at least 1"),
        (["train", "--epochs", "many"], "--epochs"),
        (["train", "--corpus", "demo-emotoin"], "did you mean 'demo-emotion'"),
        (["ablate"], "which grid? One of demo, dropout"),
        (["ablate", "objectivs"], "did you mean 'objectives'"),
        (["ablate", "grid.toml"], "cannot be read"),
        (["ablate", "demo", "--folds", "0"], "the grid has no run"),
        (["ablate", "demo", "--engine", "dask"], "needs the address of a scheduler"),
        (["ablate", "demo", "--corpus", "demo-emotoin"], "did you mean 'demo-emotion'"),
        (["ablate", "objectiv=turbo"], "did you mean 'objective'"),
        (["report", "nowhere"], "no such folder"),
        (["embed", "nowhere"], "nowhere"),
        (["embed", ".", "--out", "table.pickle"], "parquet"),
        (["corpus", "check", "manifest:nowhere.jsonl"], "no such manifest"),
        (["corpus", "chekc"], "check"),
    ],
)
def test_bad_input_exits_with_2_says_why_and_leaves_nothing(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err + printed.out
    assert list(tmp_path.iterdir()) == []


def test_train_report_and_embed_follow_each_other(tones, tmp_path, capsys):
    corpus = f"manifest:{tones}"
    assert call("train", "--corpus", corpus, "--objective", "ce-2pass", "--out", str(tmp_path / "runs"), *SMALL) == 0
    (run,) = finished_runs(tmp_path / "runs")
    assert f"UA {run.result['metrics']['test']['UA']:.3f}" in capsys.readouterr().out

    assert call("report", str(tmp_path / "runs")) == 0
    printed = capsys.readouterr().out
    assert printed.split("\n-")[1].splitlines()[1].startswith("ce-2pass")
    assert (tmp_path / "runs" / "report.html").is_file()

    out = tmp_path / "clips.parquet"
    assert call("embed", str(run.folder), "--corpus", corpus, "--out", str(out)) == 0
    table = pd.read_parquet(out)
    assert list(table)[:4] == ["id", "speaker", "label", "predicted"]
    stored = run.predictions("test").set_index("id")
    assert (table.set_index("id").loc[stored.index, "predicted"] == stored["predicted"]).all()
    assert len(table["audio"][0]) == 32


def test_a_corpus_is_listed_and_checked(tones, capsys):
    assert call("corpus", "list") == 0
    assert "demo-emotion: 1440 clips, 4 folds" in capsys.readouterr().out
    assert call("corpus", "check", f"manifest:{tones}") == 0
    printed = capsys.readouterr().out
    assert re.search(r"^3 +24 +12 +12 ", printed, re.MULTILINE)
    assert "48 clips" in printed and "8 speakers: good" in printed


def test_a_plan_runs_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("ablate", "objective=ce,turbo", "seed=0,1", "--plan") == 0
    printed = capsys.readouterr().out
    assert "turbo: fold 0; seed 0, 1" in printed
    assert "4 runs: all to be tested; 0 complete already; about" in printed
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_grid_on_board_and_each_can_be_planned(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("ablate", "--help")
    told = capsys.readouterr().out
    for name in preset_names():
        assert name in told
        licensed = name == "iemocap"  # its clips are the user's: without them there is the list, and what is missing
        assert call("ablate", name, "--plan", "--folds", "2", "--seeds", "1") == (2 if licensed else 0)
        printed = capsys.readouterr()
        assert "fold 0, 1; seed 0\n" in printed.out
        assert ("write iemocap:PATH" in printed.err) == licensed
    assert list(tmp_path.iterdir()) == []


def test_the_objectives_are_compared_on_every_fold_with_every_seed():
    configs = configs_of(load_grid("objectives"))
    assert len(configs) == 12 * 19
    assert {config.objective for config in configs if config.normalize_pairs} == set(PRESETS)
    for config in configs:
        assert (config.searched == {}) == (config.objective in ("ce", "ce-2pass"))
        assert [v for name, v in config.searched.items() if name != "seed"] in ([], [[0.01, 0.05, 0.1, 0.5, 1.0]])


def test_the_demo_is_four_objectives_and_a_report(monkeypatch, tmp_path):
    given = {}

    def execute(configs, out, report):
        given.update(configs=configs, out=out)
        return AblationResult([None] * len(configs), {})

    def report(folder: Path, baseline: str):
        given["report"] = folder

    monkeypatch.setattr(execute_module, "execute", execute)
    monkeypatch.setattr("turbo_kit.cli.report", report)
    assert call("demo", "--out", str(tmp_path)) == 0
    assert given["report"] == given["out"] == tmp_path
    assert [c.objective for c in given["configs"]] == ["ce-2pass", "in-modal", "cross-modal", "turbo"]
    assert [c.contrastive_weight for c in given["configs"]] == [0.0, 0.1, 0.1, 1.0]


def test_failed_runs_are_listed_and_exit_with_1(monkeypatch, tmp_path, capsys):
    failed = AblationResult([], {"turbo-fold0-seed0-12": "ZeroDivisionError: division by zero"})
    monkeypatch.setattr(execute_module, "execute", lambda configs, out, report, **options: failed)
    assert call("ablate", "objective=turbo", "--out", str(tmp_path)) == 1
    printed = capsys.readouterr()
    assert "0 of 1 runs are complete" in printed.out
    assert "turbo-fold0-seed0-12: ZeroDivisionError: division by zero" in printed.err


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeError("it broke"), 1), (OSError(28, "No space left"), 1), (KeyboardInterrupt(), 130)]
)
def test_other_failures_have_their_own_codes(monkeypatch, tmp_path, error, code):
    def fail(folder, out=None, **options):
        raise error

    monkeypatch.setattr(report_module, "write_report", fail)
    assert call("report", str(tmp_path)) == code
