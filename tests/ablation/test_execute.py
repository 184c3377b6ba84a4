"""A grid of runs: executed once each, side by side, through real kernels, and gone on with where it stopped.

Most tests that start kernels are slow; three stay for `make test`: a grid, a run that fails, and a search.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from turbo_kit import InputError, TurboModel, load_fold
from turbo_kit.ablation import execute as execute_module
from turbo_kit.ablation.execute import execute
from turbo_kit.ablation.grid import search_configs
from turbo_kit.ablation.plan import PARTIAL_NOTEBOOK, estimate, plan, settings_of
from turbo_kit.corpora.conditions import conditions_of
from turbo_kit.encoders import Encoder
from turbo_kit.model.inference import clip_features
from turbo_kit.runs import finished_runs, runs_in


@pytest.fixture
def notebook_of(tmp_path, monkeypatch):
    """Puts a notebook of one cell in the place of 04_train."""

    def put(source):
        import nbformat  # takes seconds to load, and nothing else of `make test` needs it

        path = tmp_path / "other.ipynb"
        cells = [nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(source)]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
        monkeypatch.setattr(execute_module, "notebook_path", lambda name: path)

    return put


def results(folder):
    """What each finished run predicts, by the name of its folder."""
    return {run.folder.name: pd.read_parquet(run.folder / "predictions.parquet") for run in finished_runs(folder)}


NOISE = {"tested_word_errors": [0.5], "tested_snr": [10.0]}


@pytest.mark.parametrize("knobs", [{}, {"layer_mix": True}, {"trainable_layers": 1}, NOISE])
def test_a_run_finds_its_features_computed(quick, tmp_path, monkeypatch, knobs):
    monkeypatch.setenv("TURBO_KIT_CACHE", str(tmp_path))
    config = quick(**knobs)
    execute_module._compute_features([config])
    monkeypatch.setattr(Encoder, "trunk", None)
    fold = load_fold(config)
    for clips in (*vars(fold).values(), *(condition.of(fold.test) for condition in conditions_of(config))):
        clip_features(TurboModel.from_config(config, clips.classes), clips)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, other[name], check_exact=True)


def descendants(pid):
    """The process ids of all processes below one, as Linux tells them."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    ]
    return children + [below for child in children for below in descendants(child)]


def test_a_grid_is_run_once_through_the_notebook_and_goes_on_where_it_stopped(quick, tmp_path):
    import nbformat

    lines = []
    configs = [quick(objective="ce", epochs=1), quick(objective="turbo", epochs=1)]
    (run,) = execute(configs[:1], tmp_path, lines.append).runs
    assert run.config == configs[0]
    notebook = nbformat.read(run.folder / "notebook.ipynb", as_version=4)
    assert any("injected-parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
    images = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(images) == 2  # the learning curves and the confusion matrix

    before = (run.folder / "DONE").stat().st_mtime_ns
    done = execute(configs, tmp_path, lines.append)
    assert [run.config for run in done.runs] == configs
    assert done.failed == {}
    assert (run.folder / "DONE").stat().st_mtime_ns == before
    assert [line.partition(":")[0] for line in lines] == [
        "[1/1] ce, head_width=32, projection=16, epochs=1, batch_size=8, device=cpu, fold 0, seed 0",
        "[2/2] turbo, head_width=32, projection=16, epochs=1, batch_size=8, device=cpu, fold 0, seed 0",
    ]
    assert "0 running, 0 failed" in lines[1]


@pytest.mark.slow
def test_each_feature_is_computed_once_for_all_runs_side_by_side(quick, tones_corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("TURBO_KIT_CACHE", str(tmp_path / "cache"))
    configs = [quick(objective="ce", epochs=1, seed=seed, fold=fold) for seed in (0, 1) for fold in (0, 1)]
    assert len(execute(configs, tmp_path / "runs", workers=2).runs) == 4
    shards = (tmp_path / "cache").glob("features/*/*.json")
    keys = [(index.parent, key) for index in shards for key in json.loads(index.read_text())]
    texts = {utterance.text for utterance in tones_corpus.utterances}
    assert len(keys) == len(set(keys)) == len(tones_corpus) + len(texts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "trubo"}, "did you mean 'turbo'"),
        ({"fold": 7}, "fold 7 does not exist"),
        ({"corpus": "demo-emotoin"}, "did you mean 'demo-emotion'"),
        ({"audio": "/nowhere"}, "does not exist"),
    ],
)
def test_what_is_wrong_stops_the_grid_before_its_first_run(quick, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        execute([quick(), quick(**changes)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_cannot_be_decoded_stops_the_grid_before_its_first_run(quick, manifest_of, tones, tmp_path):
    tones.with_name("broken.wav").write_bytes(b"no audio")
    path = manifest_of(lambda rows: rows[0].update(path="broken.wav"), "with_broken.jsonl")
    with pytest.raises(InputError, match=r"broken.wav \(utterance 'clip00'\): the audio cannot be decoded"):
        execute([quick(corpus=f"manifest:{path}", fold=2)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_keeps_its_notebook_lets_the_others_go_on_and_is_retried_on_request(
    quick, tmp_path, notebook_of, monkeypatch
):
    out = tmp_path / "runs"
    with monkeypatch.context() as patch:
        notebook_of("1 / 0 if seed == 1 else __import__('pathlib').Path(out, 'met').touch()")
        lines = []
        done = execute([quick(seed=1), quick(seed=2)], out, lines.append, workers=1)
        patch.undo()
    assert (out / "met").exists()  # seed 2 was executed, after seed 1 had failed
    assert done.runs == []
    assert sorted(error.partition(":")[0] for error in done.failed.values()) == ["RuntimeError", "ZeroDivisionError"]
    (failed,) = [folder for folder in out.glob("*seed1*") if (folder / "error.json").exists()]
    assert json.loads((failed / "error.json").read_text())["error"] == "ZeroDivisionError"
    assert "ZeroDivisionError" in (failed / "notebook.ipynb").read_text()
    assert not (failed / PARTIAL_NOTEBOOK).exists()
    assert "seed 1: FAILED, ZeroDivisionError: division by zero" in lines[0]

    monkeypatch.undo()
    again = execute([quick(seed=1)], out)
    assert again.runs == []
    assert "ZeroDivisionError" in again.failed[failed.name]
    retried = execute([quick(seed=1)], out, retry=True)
    assert [run.folder.resolve() for run in retried.runs] == [failed.resolve()]
    assert retried.failed == {}
    assert not (failed / "error.json").exists()
    assert "ZeroDivisionError" not in (failed / "notebook.ipynb").read_text()


@pytest.mark.slow
def test_a_kernel_that_dies_is_a_failed_run(quick, tmp_path, notebook_of):
    notebook_of("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    done = execute([quick()], tmp_path / "runs")
    assert done.runs == []
    assert "DeadKernelError" in next(iter(done.failed.values()))


@pytest.mark.slow
def test_a_cell_that_takes_too_long_is_a_failed_run(quick, tmp_path, notebook_of):
    notebook_of("import time; time.sleep(60)")
    done = execute([quick()], tmp_path / "runs", hours=1 / 3600)
    assert "CellTimeoutError" in next(iter(done.failed.values()))


@pytest.mark.slow
def test_a_full_disk_is_a_failed_run_and_nothing_worse(quick, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(execute_module, "_execute", full)
        patch.setattr(execute_module, "write_json", full)
        done = execute([quick(epochs=1)], tmp_path)
    assert "No space left on device" in next(iter(done.failed.values()))
    assert len(execute([quick(epochs=1)], tmp_path).runs) == 1  # nothing was recorded, so it is simply done next time


@pytest.mark.slow
def test_a_notebook_that_was_cut_off_after_its_run_is_executed_again(quick, tmp_path):
    (run,) = execute([quick(epochs=1)], tmp_path).runs
    trained = (run.folder / "history.parquet").stat().st_mtime_ns
    (run.folder / "notebook.ipynb").replace(run.folder / PARTIAL_NOTEBOOK)
    assert len(execute([quick(epochs=1)], tmp_path).runs) == 1
    assert (run.folder / "notebook.ipynb").exists()
    assert (run.folder / "history.parquet").stat().st_mtime_ns == trained


def test_a_search_settles_a_knob_on_development_data_and_never_reads_the_test_list(quick, tmp_path):
    searched = {"learning_rate": [1e-6, 1e-2], "seed": [100]}
    lines = []
    config = quick(objective="ce", epochs=4, patience=0, searched=searched)
    (run,) = execute([config], tmp_path, lines.append).runs
    tried = [one for one in runs_in(tmp_path) if one.folder != run.folder]
    assert [one.config.seed for one in tried] == [100, 100]
    assert not any(one.done for one in tried)
    assert all("test" not in one.fold and list(one.result["metrics"]) == ["dev"] for one in tried)
    scores = {one.config.learning_rate: one.result["metrics"]["dev"]["UA"] for one in tried}
    assert scores[1e-2] > scores[1e-6]
    assert (run.config.learning_rate, run.config.searched, run.config.seed) == (1e-2, searched, 0)
    assert sum("(search): dev UA" in line for line in lines) == 2
    tasks = plan([config], tmp_path)
    assert [len(part) for part in tasks] == [2, 1]
    assert all(task.complete for part in tasks for task in part)


@pytest.mark.slow
def test_runs_whose_search_failed_wait_for_it(quick, tmp_path, notebook_of):
    notebook_of("1 / 0")
    config = quick(searched={"contrastive_weight": [0.1, 1.0], "seed": [100]})
    done = execute([config], tmp_path / "runs")
    assert done.runs == []
    assert len(done.failed) == 2
    assert {task.run.folder.name for task in plan([config], tmp_path / "runs")[0]} == set(done.failed)


@pytest.mark.slow
def test_two_grids_on_one_folder_share_their_runs(quick, tmp_path, monkeypatch):
    executed, original = [], execute_module._execute

    def counted(task, threads, hours):
        executed.append(task.run.folder.name)
        original(task, threads, hours)

    monkeypatch.setattr(execute_module, "_execute", counted)
    first = [quick(seed=0, epochs=1), quick(seed=1, epochs=1)]
    second = [quick(seed=1, epochs=1), quick(seed=0, epochs=1), quick(seed=2, epochs=1)]
    found = {}
    threads = [
        threading.Thread(target=lambda grid=grid: found.update({len(grid): execute(grid, tmp_path)}))
        for grid in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(executed) == len(set(executed)) == 3
    assert [run.config.seed for run in found[2].runs] == [0, 1]
    assert [run.config.seed for run in found[3].runs] == [1, 0, 2]


@pytest.mark.slow
def test_each_kernel_computes_with_its_share_of_the_cores(quick, tmp_path):
    one = execute([quick(epochs=1)], tmp_path, threads=1).runs[0]
    two = execute([quick(epochs=1, seed=1)], tmp_path, threads=2).runs[0]
    assert (one.result["threads"], two.result["threads"]) == (1, 2)


@pytest.mark.slow
def test_a_forked_kernel_gives_what_one_that_starts_from_scratch_gives(quick, tmp_path, monkeypatch):
    forked = execute([quick()], tmp_path / "forked", threads=1)
    monkeypatch.setattr("turbo_kit.ablation.kernels.CAN_FORK", False)
    scratch = execute([quick()], tmp_path / "scratch", threads=1)
    assert (forked.failed, scratch.failed) == ({}, {})
    assert_same(results(tmp_path / "forked"), results(tmp_path / "scratch"))


@pytest.mark.slow
def test_a_forked_kernel_shows_wide_tables_as_a_notebook_does(quick, tmp_path, notebook_of):
    notebook_of("import pandas as pd\nraise ValueError(f\"{pd.get_option('display.max_columns')} columns\")")
    (error,) = execute([quick()], tmp_path / "runs").failed.values()
    assert "20 columns" in error


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killed_and_started_again_it_repeats_and_loses_nothing(quick, tones, tmp_path):
    command = [sys.executable, "-c", "from turbo_kit.cli import main; main()", "ablate", "--workers", "2"]
    command += ["objective=ce,turbo", "seed=0,1"]
    command += [f"corpus=manifest:{tones}", "epochs=3", "batch_size=8", "head_width=32", "projection=16", "device=cpu"]
    killed = subprocess.Popen([*command, "--out", str(tmp_path / "killed")], start_new_session=True)
    deadline = time.monotonic() + 120
    while not (early := set(results(tmp_path / "killed")) if (tmp_path / "killed").is_dir() else set()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kernels = descendants(killed.pid)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(early) < 4
    assert len(kernels) >= 2  # the fork server and what it has forked: none of them may live on
    deadline = time.monotonic() + 10
    while alive := [pid for pid in kernels if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)
    done = {name: (tmp_path / "killed" / name / "DONE").stat().st_mtime_ns for name in early}

    subprocess.run([*command, "--out", str(tmp_path / "killed")], check=True)
    subprocess.run([*command, "--out", str(tmp_path / "undisturbed")], check=True)
    assert len(results(tmp_path / "killed")) == 4
    assert_same(results(tmp_path / "killed"), results(tmp_path / "undisturbed"))
    for name, moment in done.items():
        assert (tmp_path / "killed" / name / "DONE").stat().st_mtime_ns == moment
    assert not list((tmp_path / "killed").glob(f"*/{PARTIAL_NOTEBOOK}"))


@pytest.mark.slow
def test_the_plan_says_what_is_to_be_run_what_is_done_and_how_long_it_may_take(quick, tmp_path):
    searched = {"contrastive_weight": [0.1, 1.0], "seed": [100]}
    configs = [quick(objective="ce", epochs=1, seed=seed) for seed in (0, 1)] + [quick(epochs=1, searched=searched)]
    said = estimate(configs, tmp_path, workers=2)
    assert said.startswith("5 runs: 2 on development data, to choose knobs, and 3 to be tested; 0 complete already")
    assert "a guess" in said
    execute(configs[:1], tmp_path)
    said = estimate(configs, tmp_path, workers=2)
    assert "1 complete already" in said
    assert "by the 1 that are finished here" in said
    knobs = "head_width=32, projection=16, epochs=1, batch_size=8, device=cpu"
    assert settings_of(configs) == [
        f"ce, {knobs}: fold 0; seed 0, 1",
        f"turbo, {knobs}, contrastive_weight searched: fold 0; seed 0",
    ]
    assert len(search_configs(configs[2])) == 2


@pytest.mark.slow
def test_a_broken_result_file_of_a_search_is_named(quick, tmp_path):
    config = quick(epochs=1, searched={"contrastive_weight": [0.1, 1.0], "seed": [100]})
    execute([config], tmp_path)
    search = plan([config], tmp_path)[0][0].run
    (search.folder / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"result.json is broken .* delete the run folder"):
        execute([config], tmp_path)


@pytest.mark.slow
def test_a_dask_scheduler_gives_what_this_machine_gives(quick, tmp_path):
    distributed = pytest.importorskip("distributed")
    configs = [quick(objective=objective, epochs=2, seed=seed) for objective in ("ce", "turbo") for seed in (0, 1)]
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**options, local_directory=tmp_path / "dask") as cluster:
        far = execute(configs, tmp_path / "far", engine="dask", scheduler=cluster.scheduler_address)
    near = execute(configs, tmp_path / "near", threads=1)
    assert (far.failed, near.failed) == ({}, {})
    assert len(far.runs) == 4
    assert_same(results(tmp_path / "far"), results(tmp_path / "near"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "dask"}, "needs the address of a scheduler"),
        ({"engine": "dask", "scheduler": "tcp://127.0.0.1:9"}, "no dask scheduler answers at tcp://127.0.0.1:9"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "used with engine 'dask' alone"),
    ],
)
def test_a_scheduler_that_cannot_be_used_stops_the_grid(quick, tmp_path, monkeypatch, options, message):
    distributed = pytest.importorskip("distributed")
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda *given, **more: client(*given, **{**more, "timeout": 1}))
    with pytest.raises(InputError, match=message):
        execute([quick()], Path(tmp_path / "runs"), **options)
    assert list(runs_in(tmp_path / "runs")) == [] if (tmp_path / "runs").exists() else True
