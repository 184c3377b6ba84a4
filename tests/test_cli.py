import pandas as pd
import pytest

from turbo_kit.ablation import execute as execute_module
from turbo_kit.ablation import report as report_module
from turbo_kit.ablation.grid import configs_of
from turbo_kit.cli import DEMO_GRID, main
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
        (["ablate"], "give either settings"),
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
    assert "fold 3: train 24, dev 12, test 12 clips, no leak" in capsys.readouterr().out


def test_a_plan_runs_nothing(tones, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("ablate", "objective=ce,turbo", "seed=0,1", "--plan") == 0
    assert "[4/4] fold=0 seed=1 objective=turbo" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_demo_is_four_objectives_and_a_report(monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(execute_module, "execute", lambda configs, out, report: given.update(configs=configs, out=out))
    monkeypatch.setattr("turbo_kit.cli._report", lambda folder: given.update(report=folder))
    assert call("demo", "--out", str(tmp_path)) == 0
    assert given["report"] == given["out"] == tmp_path
    assert given["configs"] == configs_of(DEMO_GRID)
    assert [c.objective for c in given["configs"]] == ["ce-2pass", "in-modal", "cross-modal", "turbo"]


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("it broke"), 1), (KeyboardInterrupt(), 130)])
def test_other_failures_have_their_own_codes(monkeypatch, tmp_path, error, code):
    def fail(folder, out=None):
        raise error

    monkeypatch.setattr(report_module, "write_report", fail)
    assert call("report", str(tmp_path)) == code
