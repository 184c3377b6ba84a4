"""Hugging Face datasets in their true layouts, small: real (tiny) sound inside and outside the tables, odd rows."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from turbo_kit import Corpus, InputError, load_corpus
from turbo_kit.corpora import read_corpus
from turbo_kit.corpora.decoding import decode

CLASSES = ["neutral", "angry"]
FEATURES = {
    "audio": {"_type": "Audio"},
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": CLASSES, "_type": "ClassLabel"},
    "speaker": {"dtype": "int64", "_type": "Value"},
    "rating": {"dtype": "float32", "_type": "Value"},
}
SCHEMA = pa.schema(
    [
        ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("text", pa.string()),
        ("label", pa.int64()),
        ("speaker", pa.int64()),
        ("rating", pa.float32()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)

Rows = list[dict[str, Any]]


def sound(number: int, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(1600) * (number + 1) / 20), 16000, format=kind)
    return file.getvalue()


@pytest.fixture
def rows() -> Rows:
    return [
        {
            "audio": {"bytes": sound(number), "path": f"{number}.wav"},
            "text": f"sentence {number}",
            "label": number % 2,
            "speaker": number // 2,
            "rating": number / 2,
        }
        for number in range(12)
    ]


def save_to_disk(folder: Path, rows: Rows, shards: int = 1) -> Path:
    """A folder as `Dataset.save_to_disk` of the library datasets 5.2 writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{shard:05d}-of-{shards:05d}.arrow" for shard in range(shards)]
    for shard, name in enumerate(names):
        table = pa.Table.from_pylist(rows[shard::shards], schema=SCHEMA)
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as stream:
            stream.write_table(table)
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES, "citation": "", "license": ""}))
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None})
    )
    return folder


def save_dict(folder: Path, rows: Rows) -> Path:
    """A folder as `DatasetDict.save_to_disk` writes it."""
    parts = {"train": rows[:6], "validation": rows[6:8], "test": rows[8:]}
    for name, part in parts.items():
        save_to_disk(folder / name, part)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    return folder


def save_hub(folder: Path, rows: Rows) -> Path:
    """A folder as the hub stores it: data/SPLIT-00000-of-00002.parquet."""
    parts = {"train-00000-of-00002": rows[:4], "train-00001-of-00002": rows[4:6]}
    parts |= {"validation-00000-of-00001": rows[6:8], "test-00000-of-00001": rows[8:]}
    (folder / "data").mkdir(parents=True)
    for name, part in parts.items():
        write(folder / "data" / f"{name}.parquet", part)
    return folder


def write(path: Path, rows: Rows, schema: pa.Schema | None = SCHEMA) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def read(path: Path, options: str = "") -> Corpus:
    return read_corpus(f"huggingface:{path}{options}")


def said(corpus: Corpus) -> list[tuple[str, str | None, str, Any]]:
    return [(u.text, u.label, u.speaker, u.extra["rating"]) for u in corpus.utterances]


@pytest.mark.parametrize("save", [save_dict, save_hub])
def test_splits_are_the_corpus_own_lists(tmp_path: Path, rows: Rows, save: Callable[[Path, Rows], Path]) -> None:
    corpus = read(save(tmp_path / "set", rows))
    lists = ["train"] * 6 + ["dev"] * 2 + ["test"] * 4
    expected = {f"sentence {n}": (CLASSES[n % 2], str(n // 2), {"rating": n / 2}, lists[n]) for n in range(12)}
    assert {u.text: (u.label, u.speaker, dict(u.extra), u.split) for u in corpus.utterances} == expected
    assert (corpus.classes, corpus.problems) == (("neutral", "angry"), ())
    for utterance in corpus.utterances:
        number = int(utterance.text.split()[1])
        assert np.allclose(decode(utterance), 0.1 * np.sin(np.arange(1600) * (number + 1) / 20), atol=1e-4)
    fold = corpus.fold(0)
    assert [len(part) for part in (fold.train, fold.dev, fold.test)] == [6, 2, 4]


def test_a_saved_dataset_in_shards_and_one_parquet_file_hold_the_same(tmp_path: Path, rows: Rows) -> None:
    saved, single = read(save_to_disk(tmp_path / "set", rows, 2)), read(write(tmp_path / "set.parquet", rows))
    assert sorted(said(saved)) == sorted(said(single))
    assert {u.path for u in saved.utterances} == {u.path for u in single.utterances}
    assert {u.split for u in (*saved.utterances, *single.utterances)} == {""}


@pytest.mark.parametrize(("kind", "suffix"), [("WAV", ".wav"), ("FLAC", ".flac"), ("OGG", ".ogg"), ("MP3", ".mp3")])
def test_sound_inside_a_table_is_kept_once_under_a_name_of_its_content(
    tmp_path: Path, rows: Rows, feature_cache: Path, kind: str, suffix: str
) -> None:
    for number, row in enumerate(rows):
        row["audio"] = {"bytes": sound(number, kind), "path": "../../../../escaped.exe"}
    rows[1]["audio"] = rows[0]["audio"]
    corpus = read(write(tmp_path / "set.parquet", rows))
    paths = [u.path for u in corpus.utterances]
    assert paths[0] == paths[1] and len(set(paths)) == 11
    assert {(path.parent, path.suffix) for path in paths} == {(feature_cache / "sounds", suffix)}
    assert paths[0].read_bytes() == rows[0]["audio"]["bytes"]
    paths[0].write_bytes(b"half of it")
    assert read(tmp_path / "set.parquet").utterances[0].path.read_bytes() == rows[0]["audio"]["bytes"]


def test_sound_beside_a_table_is_read_where_it_lies(tmp_path: Path, rows: Rows) -> None:
    folder = tmp_path / "set"
    (folder / "clips").mkdir(parents=True)
    for number, row in enumerate(rows):
        (folder / "clips" / f"{number}.wav").write_bytes(sound(number))
        row["audio"] = f"clips/{number}.wav"
    rows[3]["audio"] = str((folder / "clips" / "3.wav").absolute())
    (folder / "data").mkdir()
    write(folder / "data" / "train.parquet", rows, schema=None)
    corpus = read(folder)
    assert [u.path for u in corpus.utterances] == [folder / "clips" / f"{number}.wav" for number in range(12)]


def test_columns_are_named_behind_a_question_mark(tmp_path: Path, rows: Rows) -> None:
    names = {"audio": "sound", "text": "sentence", "label": "emotion", "speaker": "actor"}
    renamed = [{names.get(key, key): value for key, value in row.items()} for row in rows]
    for number, row in enumerate(renamed):
        row |= {"emotion": CLASSES[row["emotion"]], "film": f"f{number % 3}", "file": f"{number}.wav", "asr": ""}
    path = write(tmp_path / "set.parquet", renamed, schema=None)
    with pytest.raises(InputError, match=r"no column 'audio' \(audio\). Its columns are sound, sentence, emotion"):
        read(path)
    corpus = read(path, "?audio=sound&text=sentence&label=emotion&speaker=actor&group=film&id=file")
    first = corpus.utterances[0]
    assert (first.id, first.text, first.label, first.group) == ("0.wav", "sentence 0", "neutral", "f0")
    assert dict(first.extra) == {"rating": 0.0, "asr": ""}
    assert corpus.classes == ("angry", "neutral")
    with pytest.raises(InputError, match=r"no column 'session' \(group\)"):
        read(path, "?audio=sound&text=sentence&label=emotion&speaker=actor&group=session")
    with pytest.raises(InputError, match=r"column 'rating' \(audio\) is of type double; expected bytes or the path"):
        read(path, "?audio=rating&text=sentence&label=emotion&speaker=actor")


def test_rows_that_cannot_be_used_are_named(tmp_path: Path, rows: Rows) -> None:
    rows[0]["audio"] = {"bytes": None, "path": None}
    rows[1]["audio"] = {"bytes": b"RIFF", "path": "1.wav"}
    rows[2]["audio"] = {"bytes": None, "path": "../secret.wav"}
    rows[3]["audio"] = {"bytes": None, "path": "gone.wav"}
    rows[4]["speaker"] = None
    rows[5]["label"] = 7
    rows[6]["text"] = " "
    rows[7]["label"], rows[8]["label"] = -1, None
    path = write(tmp_path / "set.parquet", rows)
    corpus = read(path)
    expected = [
        "row 1: there is no audio",
        "row 2: the audio has 4 bytes",
        "row 3: path '../secret.wav' leaves the dataset's folder",
        f"row 4: there is no {tmp_path / 'gone.wav'}",
        "row 5: speaker is empty",
        "row 6: 7 is none of the 2 classes (neutral, angry)",
        "row 7: text is empty",
    ]
    assert len(corpus.problems) == len(expected)
    for problem, start in zip(corpus.problems, expected, strict=True):
        assert problem.startswith(f"{path}, {start}")
    assert [u.id for u in corpus.utterances] == [f"clip-{number:06d}" for number in range(8, 13)]
    assert [u.label for u in corpus.utterances] == [None, None, "angry", "neutral", "angry"]
    with pytest.raises(InputError, match="7 lines or files cannot be used"):
        load_corpus(f"huggingface:{path}", strict=True)


def test_an_id_that_occurs_twice_is_named(tmp_path: Path, rows: Rows) -> None:
    numbered = [{**row, "id": number % 11} for number, row in enumerate(rows)]
    corpus = read(write(tmp_path / "set.parquet", numbered, schema=None))
    assert len(corpus) == 11
    assert "row 12: id '0' stands in" in corpus.problems[0]
    assert len(read(tmp_path / "set.parquet", "?id=")) == 12


def test_missing_parts_are_named(tmp_path: Path, rows: Rows) -> None:
    hub = save_hub(tmp_path / "hub", rows)
    (hub / "data" / "train-00001-of-00002.parquet").unlink()
    assert read(hub).problems == (f"{hub / 'data' / 'train'}: 1 of its 2 parquet files are missing",)
    saved = save_dict(tmp_path / "saved", rows)
    (saved / "test" / "state.json").unlink()
    assert read(saved).problems == (f"{saved / 'test'}: the split is missing, and dataset_dict.json names it",)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"_data_files": [{"filename": "../other/data-00000-of-00001.arrow"}]}, "no file or folder in it"),
        ({"_data_files": [{"filename": "data-00009-of-00010.arrow"}]}, "cannot be read as a table"),
        ({"_data_files": None}, "no list '_data_files'"),
        ([], "cannot be read"),
    ],
)
def test_a_list_of_files_that_cannot_be_trusted_is_an_error(
    tmp_path: Path, rows: Rows, listed: object, message: str
) -> None:
    save_to_disk(tmp_path / "other", rows)
    folder = save_to_disk(tmp_path / "set", rows)
    (folder / "state.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match=message):
        read(folder)


def test_what_is_no_dataset_says_so(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "clips.csv").write_text("id\n")
    for path in (tmp_path / "empty", tmp_path / "clips.csv", tmp_path / "nowhere"):
        with pytest.raises(InputError, match="no Hugging Face dataset"):
            read(path)
    pointer = tmp_path / "set.parquet"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match="git lfs pull"):
        read(pointer)
    cut = save_to_disk(tmp_path / "cut", rows)
    file = cut / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(InputError, match="cannot be read as a table"):
        read(cut)
