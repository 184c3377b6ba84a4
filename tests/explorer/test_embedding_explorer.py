"""The embedding explorer shows what the runs hold, keeps to its splits, and gives away no more than it may."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import CLASSES, write_run
from safetensors.numpy import load_file, save_file
from small_maps import CLIPS, HOSTILE, corpus_of, run_with_epochs, small_map

from turbo_kit.config import InputError
from turbo_kit.explorer.embedding_explorer import embedding_data, embedding_explorer, export_explorer
from turbo_kit.runs import Run


@pytest.fixture
def run(tmp_path):
    return run_with_epochs(tmp_path)


@pytest.fixture
def corpus(run, tmp_path):
    return corpus_of(run, tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_map(tmp_path_factory.mktemp("map"))


def page_of(path):
    """What an exported page holds, read back out of it."""
    text = path.read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def test_one_finished_run_is_a_map_of_its_test_clips(run, corpus):
    data = embedding_data(run, corpus=corpus)
    test = run.predictions("test")
    assert data.frames == ("turbo",) and data.positions.shape == (1, CLIPS, 2)
    assert data.clips["id"].tolist() == test["id"].tolist() and set(data.clips["split"]) == {"test"}
    assert data.table(range(CLIPS))["predicted"].tolist() == test["predicted"].tolist()
    assert [path.stem for path in data.audio] == test["id"].tolist()


def test_test_clips_of_an_unfinished_run_stay_unseen(tmp_path):
    run = write_run(tmp_path, clips=CLIPS, done=False)
    corpus = corpus_of(run, tmp_path)
    assert set(embedding_data(run, corpus=corpus).clips["split"]) == {"dev"}
    for split in ("test", "both"):
        with pytest.raises(InputError, match="was not evaluated"):
            embedding_data(run, split, corpus=corpus)


def test_both_splits_stand_in_one_map(run, corpus):
    data = embedding_data(run, "both", corpus=corpus)
    assert data.clips["split"].tolist() == ["dev"] * CLIPS + ["test"] * CLIPS
    assert data.table([0, CLIPS])["id"].tolist() == [run.predictions(s)["id"][0] for s in ("dev", "test")]


def test_several_runs_are_frames_of_the_same_clips_in_one_order(run, corpus, tmp_path):
    other = write_run(tmp_path, objective="ce", skill=2.0, clips=CLIPS)
    data = embedding_data([run, other], corpus=corpus)
    assert data.frames == ("turbo", "ce") and len(data.neighbours) == 2
    shuffle(other)
    again = embedding_data([run, other], corpus=corpus)
    for name in ("positions", "predicted", "neighbours", "similarities"):
        np.testing.assert_allclose(getattr(again, name), getattr(data, name), atol=1e-5)
    for frame, one in enumerate((run, other)):
        said = one.predictions("test").set_index("id")["predicted"]
        assert data.table(range(CLIPS), frame)["predicted"].tolist() == said[data.clips["id"]].tolist()
    with pytest.raises(InputError, match="hold other clips"):
        embedding_data([run, write_run(tmp_path, objective="clip", fold=1)], corpus=corpus)


def shuffle(run):
    """Rewrites a run as if its corpus had been listed in another order."""
    import pandas as pd

    table = pd.read_parquet(run.folder / "predictions.parquet")
    arrays = load_file(run.folder / "embeddings.safetensors")
    order = np.random.default_rng(0).permutation(CLIPS)
    parts = [rows.iloc[order] for _, rows in table.groupby("split")]
    pd.concat(parts, ignore_index=True).to_parquet(run.folder / "predictions.parquet")
    arrays = {name: np.ascontiguousarray(array[order]) for name, array in arrays.items()}
    save_file(arrays, run.folder / "embeddings.safetensors")


def test_epochs_are_frames_of_development_clips_from_before_training_to_the_last(run, corpus):
    data = embedding_data(run, epochs=3, corpus=corpus)
    best = run.result["best_epoch"]
    assert data.frames[0] == "before training" and data.frames[-1].startswith("epoch 4")
    assert data.frames[data.chosen_frame] == f"epoch {best} (chosen)"
    assert f"of epoch {best} (chosen), whichever epoch the map shows" in data.about_neighbours
    assert set(data.clips["split"]) == {"dev"}
    np.testing.assert_array_equal(data.predicted[-1], run.epochs()["predicted"][-1])
    with pytest.raises(InputError, match="development clips alone"):
        embedding_data(run, "test", epochs=3, corpus=corpus)
    with pytest.raises(InputError, match="one run"):
        embedding_data({"one": run, "two": run}, epochs=3, corpus=corpus)


def test_neighbours_are_the_nearest_in_the_other_modality(run, corpus):
    data = embedding_data(run, corpus=corpus)
    arrays = run.embeddings("test")
    views = [arrays[f"{m}_projected"].astype(float) for m in ("audio", "text")]
    unit = [view / np.linalg.norm(view, axis=1, keepdims=True) for view in views]
    cosines = unit[0] @ unit[1].T
    for way, table in enumerate((cosines, cosines.T)):
        best = np.argsort(-table, axis=1)[:, :5]
        np.testing.assert_allclose(np.take_along_axis(table, best, axis=1), data.similarities[0, way], atol=1e-5)
        rows = np.arange(CLIPS)[:, None]
        np.testing.assert_allclose(table[rows, data.neighbours[0, way]], data.similarities[0, way], atol=1e-5)


def test_a_run_of_one_modality_has_no_neighbours_and_says_so(tmp_path):
    run = write_run(tmp_path, objective="ce", text="none", clips=CLIPS)
    data = embedding_data(run, corpus=corpus_of(run, tmp_path))
    assert data.neighbours.shape == (1, 2, 0, 0) and "no space that both modalities share" in data.about_neighbours


def test_many_clips_are_cut_to_a_sample_with_all_that_belongs_to_it(run, corpus):
    few, all_of_them = (embedding_data(run, corpus=corpus, max_clips=most) for most in (6, 1000))
    rows = [all_of_them.clips["id"].tolist().index(clip) for clip in few.clips["id"]]
    assert len(rows) == 6 and rows == sorted(rows)
    np.testing.assert_array_equal(few.predicted, all_of_them.predicted[:, rows])
    assert few.audio == tuple(all_of_them.audio[row] for row in rows)
    assert few.neighbours.max() < 6


def test_what_is_missing_is_said_in_one_sentence(run, corpus, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.* is no finished run folder\. Train it first"):
        embedding_data(Run(tmp_path / "nowhere"))
    plain = write_run(tmp_path, objective="ce", clips=CLIPS)
    (plain.folder / "checkpoint").mkdir()  # that of a run that was trained to its end
    with pytest.raises(InputError, match="epoch_embeddings=True"):
        embedding_data(plain, epochs=3, corpus=corpus)
    (plain.folder / "embeddings.safetensors").unlink()
    with pytest.raises(InputError, match=r"embeddings\.safetensors does not exist"):
        embedding_data(plain, corpus=corpus)
    with pytest.raises(InputError, match="has no clip"):
        embedding_data(run, corpus=corpus.subset(corpus.utterances[:3]))
    with pytest.raises(InputError, match="did you mean 'test'"):
        embedding_data(run, "tets", corpus=corpus)
    with pytest.raises(InputError, match="2 epochs at least"):
        embedding_data(run, epochs=1, corpus=corpus)


def test_the_widget_gives_the_chosen_clips_as_a_table(data):
    explorer = embedding_explorer(data)
    explorer.chosen, explorer.frame = [3, 0], 1
    table = explorer.selected_clips()
    assert table.columns.tolist() == ["id", "split", "speaker", "label", "predicted", "right", "transcript"]
    assert table["predicted"].tolist() == [CLASSES[i] for i in data.predicted[1][[3, 0]]]
    assert table["right"].iloc[0] == (table["label"].iloc[0] == table["predicted"].iloc[0])
    assert table["right"].isna().tolist() == [False, True]
    explorer.chosen = []
    assert explorer.selected_clips().empty


def test_the_widget_sends_the_sound_that_is_asked_for(data, tmp_path, monkeypatch):
    explorer = embedding_explorer(data)
    sent = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers=None: sent.append((content, buffers)))
    explorer._handle_custom_msg({"kind": "sound", "clip": 2}, [])
    assert sent == [({"kind": "sound", "clip": 2, "type": "audio/wav"}, [data.audio[2].read_bytes()])]
    for wrong in (
        {"kind": "sound", "clip": CLIPS},
        {"kind": "sound", "clip": -1},
        {"kind": "sound", "clip": "../x"},
        {"kind": "other", "clip": 0},
    ):
        explorer._handle_custom_msg(wrong, [])
    assert len(sent) == 1
    gone = embedding_explorer(replace(data, audio=(tmp_path / "gone.wav",) * CLIPS))
    monkeypatch.setattr(gone, "send", lambda content, buffers=None: sent.append((content, buffers)))
    gone._handle_custom_msg({"kind": "sound", "clip": 0}, [])
    assert "gone.wav: the audio file cannot be read" in sent[1][0]["error"]


@pytest.mark.parametrize(
    ("corpus_name", "include", "held"),
    [
        ("demo-emotion", None, {"audio", "transcript"}),
        ("manifest:clips.jsonl", None, set()),
        ("iemocap:folder", None, set()),
        ("manifest:clips.jsonl", ("transcript",), {"transcript"}),
        ("manifest:clips.jsonl", ("audio",), {"audio"}),
        ("demo-emotion", (), set()),
    ],
)
def test_an_export_holds_sound_and_words_of_others_only_by_name(data, tmp_path, corpus_name, include, held):
    path = export_explorer(replace(data, corpus=corpus_name), tmp_path / "map.html", include=include)
    page, text = page_of(path), path.read_text(encoding="utf-8")
    assert len(page["sounds"]) == (CLIPS if "audio" in held else 0)
    assert ("transcript" in page["values"]["clips"]) == ("transcript" in held)
    assert ("sentence 3" in text) == ("transcript" in held)
    assert ("UklGR" in text) == ("audio" in held)  # RIFF, the start of every WAV file, in base64
    assert bool(page["values"]["about_sound"]) == ("audio" not in held)


def test_an_export_escapes_what_comes_from_a_corpus(data, tmp_path):
    path = export_explorer(replace(data, title=HOSTILE), tmp_path / "map.html")
    assert page_of(path)["values"]["clips"]["transcript"][0] == HOSTILE
    text = path.read_text(encoding="utf-8")
    assert text.count("<script") == 2 and "<img" not in text


def test_an_export_asks_for_nothing_from_elsewhere(data, tmp_path):
    text = export_explorer(data, tmp_path / "map.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|<link|\bimport\b|url\(", text)


def test_an_export_says_what_it_cannot_do(data, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.html"):
        export_explorer(data, tmp_path / "map.pdf")
    with pytest.raises(InputError, match="did you mean 'transcript'"):
        export_explorer(data, tmp_path / "map.html", include=("transcripts",))
    with pytest.raises(InputError, match="cannot be read"):
        export_explorer(replace(data, audio=(tmp_path / "gone.wav",) * CLIPS), tmp_path / "map.html")
    assert not (tmp_path / "map.html").exists()


def test_sound_that_browsers_cannot_play_becomes_wav(data, tmp_path):
    import soundfile

    samples, rate = soundfile.read(data.audio[0])
    soundfile.write(tmp_path / "clip.aiff", samples, rate)
    path = export_explorer(replace(data, audio=(tmp_path / "clip.aiff",) * CLIPS), tmp_path / "map.html")
    sound = page_of(path)["sounds"][0]
    assert sound["type"] == "audio/wav" and sound["bytes"].startswith("UklGR")
