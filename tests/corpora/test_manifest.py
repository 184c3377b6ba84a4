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
        (lambda rows: rows.clear(), "has no utterance"),
        (lambda rows: [row.update(label="same") for row in rows], "needs at least two"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(manifest_of: Callable[..., Path], change: Change, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(manifest_of(change, "changed.jsonl"))


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
