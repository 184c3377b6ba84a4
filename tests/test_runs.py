import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

import turbo_kit.encoders.build
from turbo_kit import InputError, Run, TurboModel
from turbo_kit.identity import _trunk_fingerprint, _trunks, planned_run
from turbo_kit.runs import finished_runs, runs_in, write_atomically, write_json


def test_whatever_would_change_the_result_changes_the_folder(quick, tones_corpus, tmp_path):
    fold = tones_corpus.fold(0)
    base = planned_run(quick(), fold.train, fold.dev, tmp_path)
    assert base == planned_run(quick(), fold.train, fold.dev, tmp_path)
    assert base.folder.name.startswith("turbo-fold0-seed0-")
    clips = fold.train.utterances
    others = [
        planned_run(quick(learning_rate=0.01), fold.train, fold.dev, tmp_path),
        planned_run(quick(), fold.train.subset(clips[:-1]), fold.dev, tmp_path),
        planned_run(quick(), fold.train.subset([replace(clips[0], text="other"), *clips[1:]]), fold.dev, tmp_path),
        planned_run(quick(), fold.train, fold.test, tmp_path),
        planned_run(quick(trainable_layers=1), fold.train, fold.dev, tmp_path),
    ]
    assert len({run.folder for run in [base, *others]}) == 6


def test_other_weights_under_the_same_name_change_the_folder(quick, tones_corpus, tmp_path):
    demo = Path(turbo_kit.encoders.build.WEIGHTS) / "demo-audio"
    encoder = shutil.copytree(demo, tmp_path / "encoder")
    fold = tones_corpus.fold(0)
    config = quick(audio=str(encoder))
    before = planned_run(config, fold.train, fold.dev, tmp_path)
    weights = load_file(encoder / "model.safetensors")
    weights["conv1.bias"] += 0.5
    save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    _trunk_fingerprint.cache_clear()  # as another process would find it
    assert planned_run(config, fold.train, fold.dev, tmp_path) != before


@pytest.mark.parametrize("knobs", [{}, {"layer_mix": True}, {"trainable_layers": 2, "view_depth": 1}])
def test_a_run_is_named_by_the_trunks_that_it_reads(quick, knobs):
    config = quick(**knobs)
    assert _trunks(config) == TurboModel.from_config(config, ["one", "other"]).fingerprints


def test_a_change_of_the_source_changes_the_folder(quick, tones_corpus, tmp_path, monkeypatch):
    fold = tones_corpus.fold(0)
    before = planned_run(quick(), fold.train, fold.dev, tmp_path)
    monkeypatch.setattr("turbo_kit.identity.source_fingerprint", lambda: "changed")
    assert planned_run(quick(), fold.train, fold.dev, tmp_path) != before


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    write_json(tmp_path / "a.json", {"value": 1})

    def fail(partial):
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "a.json", fail)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == '{\n  "value": 1\n}'


def test_folders_that_are_no_runs_are_passed_over_and_missing_files_are_named(tmp_path):
    (tmp_path / "notes").mkdir()
    write_json(tmp_path / "begun" / "config.json", {})
    write_json(tmp_path / "a model that was saved here" / "config.json", {"classes": ["one", "other"]})
    (tmp_path / "a model that was saved here" / "model.safetensors").touch()
    assert [run.folder.name for run in runs_in(tmp_path)] == ["begun"]
    assert finished_runs(tmp_path) == []
    with pytest.raises(InputError, match=r"result.json does not exist: .* no finished run folder"):
        _ = Run(tmp_path / "begun").result
    (tmp_path / "begun" / "result.json").write_text("{")
    with pytest.raises(InputError, match="is broken"):
        _ = Run(tmp_path / "begun").result
    with pytest.raises(InputError, match="no such folder of runs"):
        list(runs_in(tmp_path / "nowhere"))
