import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turbo_kit import InputError, load_corpus

Change = Callable[[list[dict[str, Any]]], object]
ROW = {"id": "a", "path": "a.wav", "text": "hello", "label": "x", "speaker": "s"}


def load(path: Path) -> Any:
    return load_corpus(f"manifest:{path}")


def test_a_csv_manifest_gives_the_same_corpus_as_json_lines(tones: Path) -> None:
    rows = [json.loads(line) for line in tones.read_text().splitlines()]
    table = tones.with_name("same.csv")
    lines = [",".join(rows[0])] + [",".join(str(value) for value in row.values()) for row in rows]
    table.write_text("\n".join(lines) + "\n")
    assert load(table).utterances == load(tones).utterances


def test_a_card_names_the_corpus_and_orders_its_classes(tmp_path: Path) -> None:
    rows = [{**ROW, "id": str(i), "label": label} for i, label in enumerate("xyz")]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(tmp_path / "m.jsonl").classes == ("x", "y", "z")
    (tmp_path / "corpus.json").write_text(json.dumps({"name": "mine", "classes": ["z", "y", "x"], "about": "Mine."}))
    corpus = load(tmp_path / "m.jsonl")
    assert (corpus.name, corpus.classes, corpus.about, corpus.labels) == ("mine", ("z", "y", "x"), "Mine.", [2, 1, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[4].pop("text"), r"row 5: column 'text' is missing"),
        (lambda rows: rows[4].update(text="  "), "row 5: the transcript of 'clip04' is empty"),
        (lambda rows: rows[4].update(speaker=""), "row 5: speaker is empty"),
        (lambda rows: rows[4].update(id="clip03"), "id 'clip03' occurs twice"),
        (lambda rows: rows[4].update(label=3), "row 5: label = 3 is not a text"),
        (lambda rows: rows[4].update(seconds="long"), "row 5: seconds = 'long' is not a duration"),
        (lambda rows: rows[4].update(path="../secret.wav"), "leaves the manifest's folder"),
        (lambda rows: rows[4].update(split="tests"), "row 5: unknown split 'tests': did you mean 'test'"),
        (lambda rows: [row.pop("speaker") for row in rows], "changed.jsonl: column 'speaker' is missing"),
        (lambda rows: rows.clear(), "has no utterance"),
        (lambda rows: [row.update(label="same") for row in rows], "needs at least two"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(manifest_of: Callable[..., Path], change: Change, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(manifest_of(change, "changed.jsonl"))


def test_all_rows_that_cannot_be_used_are_named_at_once(manifest_of: Callable[..., Path]) -> None:
    def spoil(rows: list[dict[str, Any]]) -> None:
        rows[1].update(text="")
        rows[9].update(id="clip03")
        rows[30].pop("speaker")

    path = manifest_of(spoil, "spoilt.jsonl")
    lines = path.read_text().splitlines()
    lines[20] = "{not json}"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as raised:
        load(path)
    head, *named = str(raised.value).splitlines()
    assert head == f"{path}: 4 rows cannot be used:"
    assert [line.split(": ")[0] for line in named] == [f"{path}, row {row}" for row in (2, 10, 21, 31)]


def test_of_many_bad_rows_twenty_are_named_and_the_others_counted(manifest_of: Callable[..., Path]) -> None:
    path = manifest_of(lambda rows: [row.update(text="") for row in rows[:30]], "many.jsonl")
    with pytest.raises(InputError) as raised:
        load(path)
    lines = str(raised.value).splitlines()
    assert "30 rows cannot be used" in lines[0]
    assert [line.split(": ")[0] for line in lines[1:-1]] == [f"{path}, row {row}" for row in range(1, 21)]
    assert lines[-1] == "... and 10 more"


def test_a_row_of_csv_that_cannot_be_read_is_named_with_those_after_it(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("id,path,text,label,speaker\na,a.wav,hi,x\nb,b.wav,,y,s\nc,c.wav,yes,x,s\n")
    with pytest.raises(InputError, match=r"(?s)2 rows cannot.*row 2: expected 5 fields.*row 3: the transcript"):
        load(tmp_path / "m.csv")


def test_further_columns_are_kept_as_numbers_where_all_are(tmp_path: Path) -> None:
    rows = [{**ROW, "asr": "7"}, {**ROW, "id": "b", "label": "y", "asr": None}]
    for number, row in enumerate(rows):
        row |= {"valence": number + 0.5, "tags": ["a"], "seconds": 1.5}
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [dict(u.extra) for u in load(tmp_path / "m.jsonl").utterances]
    assert found == [{"asr": asr, "valence": v, "tags": '["a"]'} for asr, v in (("7", 0.5), ("", 1.5))]
    (tmp_path / "m.csv").write_text(
        "id,path,text,label,speaker,seconds,asr,valence\na,a.wav,hi,x,s,1.5,7,0.5\nb,b.wav,ho,y,s,2,,1\n"
    )
    assert [dict(u.extra) for u in load(tmp_path / "m.csv").utterances] == [
        {"asr": "7", "valence": 0.5},
        {"asr": "", "valence": 1.0},
    ]


def test_a_split_column_makes_official_lists(manifest_of: Callable[..., Path]) -> None:
    names = ["train", "train", "dev", "test"]
    path = manifest_of(lambda rows: [row.update(split=names[int(row["group"][-1])]) for row in rows], "lists.jsonl")
    corpus = load(path)
    assert corpus.folds == 1
    fold = corpus.fold(0)
    assert [{u.group for u in part.utterances} for part in (fold.train, fold.dev, fold.test)] == [
        {"group0", "group1"},
        {"group2"},
        {"group3"},
    ]


def test_a_label_outside_the_named_classes_is_an_error(tmp_path: Path) -> None:
    rows = [{**ROW, "id": str(i), "label": label} for i, label in enumerate("xyq")]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "corpus.json").write_text(json.dumps({"classes": ["x", "y"]}))
    with pytest.raises(InputError, match=r"'2' has label 'q', which is none of the classes \(x, y\)"):
        load(tmp_path / "m.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.jsonl", b"{not json}\n", "row 1: not valid JSON"),
        ("m.jsonl", b"[1, 2]\n", "row 1: expected a JSON object"),
        ("m.jsonl", b'{"id": "\xff"}\n', "not UTF-8 at byte 8"),
        ("m.csv", b"id,path,text,label,speaker\na,a.wav,hi,x\n", "row 2: expected 5 fields"),
        ("m.csv", b"id,id,text,label,speaker\n", "occurs twice in the header"),
        ("m.txt", b"", "ends in .jsonl or .csv"),
    ],
)
def test_a_broken_manifest_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demo-emotoin", "did you mean 'demo-emotion'"),
        ("manifest:", "lacks its path"),
        ("manifest:/nowhere/m.jsonl", "no such manifest"),
        ("manifst:clips.jsonl", "unknown corpus"),
    ],
)
def test_a_wrong_corpus_name_is_an_error(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_corpus(name)
