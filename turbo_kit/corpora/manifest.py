"""A corpus from a manifest: one row a clip, as JSON lines or CSV, with an optional corpus.json beside it."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turbo_kit.config import InputError
from turbo_kit.corpora.utterance import Corpus, Utterance

REQUIRED = ("id", "path", "text", "label", "speaker")
OPTIONAL = ("group", "template", "seconds")


def load_manifest(path: Path) -> Corpus:
    """Your own clips, from a manifest of JSON lines (.jsonl) or CSV (.csv, with a header).

    Columns: id, path (of the audio, absolute or from the manifest's folder), text, label (empty: unlabelled), speaker;
    and where the corpus has them group, template, seconds. A file `corpus.json` in the same folder may hold the name,
    the classes in order, and a text about the corpus; without it the classes are the labels that occur.

    Raises:
        InputError: a missing file or column, or a row that cannot be used; the message names file and row.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such manifest. Give the path of a .jsonl or .csv file.")
    readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows}
    if path.suffix not in readers:
        raise InputError(f"{path}: a manifest ends in .jsonl or .csv, not {path.suffix!r}.")
    utterances = []
    for row, values in readers[path.suffix](path):
        utterances.append(_utterance(values, f"{path}, row {row}", path.parent))
    card = _card(path.parent / "corpus.json")
    classes = card.get("classes") or sorted({u.label for u in utterances if u.label is not None})
    return Corpus(card.get("name", path.stem), tuple(utterances), tuple(classes), card.get("about", ""))


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for row, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, row {row}: not valid JSON ({error.msg} at column {error.colno}).") from error
        if not isinstance(values, dict):
            raise InputError(f"{path}, row {row}: expected a JSON object with {', '.join(REQUIRED)}.")
        yield row, values


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    header = reader.fieldnames or []
    if len(set(header)) < len(header):
        raise InputError(f"{path}: a column name occurs twice in the header ({', '.join(header)}).")
    try:
        for values in reader:
            if None in values or None in values.values():
                raise InputError(f"{path}, row {reader.line_num}: expected {len(header)} fields, as the header has.")
            yield reader.line_num, values
    except csv.Error as error:
        raise InputError(f"{path}, row {reader.line_num}: not valid CSV ({error}).") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}: save the manifest as UTF-8.") from error


def _utterance(values: dict[str, Any], where: str, folder: Path) -> Utterance:
    missing = [name for name in REQUIRED if name not in values]
    if missing:
        raise InputError(f"{where}: column {missing[0]!r} is missing; a manifest needs {', '.join(REQUIRED)}.")
    for name in (*REQUIRED, "group", "template"):
        value = values.get(name)
        if not (isinstance(value, str) or (value is None and name in ("label", "group", "template"))):
            raise InputError(f"{where}: {name} = {value!r} is not a text.")
    for name in ("id", "path", "speaker"):
        if not values[name].strip():
            raise InputError(f"{where}: {name} is empty; every clip needs one.")
    if not values["text"].strip():
        raise InputError(
            f"{where}: the transcript of {values['id']!r} is empty: write what is said, leave the row out, "
            "or give every clip a placeholder and train with text='none'."
        )
    return Utterance(
        id=values["id"],
        path=_inside(folder, values["path"], where),
        text=values["text"],
        label=values["label"] or None,
        speaker=values["speaker"],
        group=values.get("group") or "",
        template=values.get("template") or "",
        seconds=_seconds(values.get("seconds"), where),
    )


def _inside(folder: Path, written: str, where: str) -> Path:
    """The audio file's path; a relative one may not climb out of the manifest's folder."""
    path = Path(written)
    if not path.is_absolute() and ".." in path.parts:
        raise InputError(f"{where}: path {written!r} leaves the manifest's folder; give a path inside it or in full.")
    return folder / path


def _seconds(value: Any, where: str) -> float:
    try:
        seconds = math.nan if value in (None, "") else float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if seconds < 0:
        raise InputError(f"{where}: seconds = {value!r} is not a duration.")
    return seconds


def _card(path: Path) -> dict[str, Any]:
    """The corpus card beside a manifest: name, classes, about."""
    if not path.is_file():
        return {}
    try:
        card = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON ({error.msg} at line {error.lineno}).") from error
    texts = isinstance(card, dict) and all(isinstance(card.get(name, ""), str) for name in ("name", "about"))
    classes = card.get("classes", []) if texts else None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise InputError(f'{path}: expected {{"name": text, "about": text, "classes": [texts]}}.')
    return dict(card)
