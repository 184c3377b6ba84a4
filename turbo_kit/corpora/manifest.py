"""A corpus from a manifest: one row a clip, as JSON lines or CSV, with an optional corpus.json beside it."""

import csv
import io
import json
import math
import reprlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from turbo_kit.config import InputError, unknown
from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.files import Report, is_file, json_value
from turbo_kit.corpora.protocols import SPLITS
from turbo_kit.corpora.utterance import Utterance

REQUIRED = ("id", "path", "text", "label", "speaker")
OPTIONAL = ("group", "template", "seconds", "split")

EXACT = 2**53  # a whole number beyond this is kept as text: there are floats that cannot hold it
NAMED = 20  # so many rows that cannot be used are named at once


def _fail(fault: str) -> None:
    raise InputError(fault)


def load_manifest(path: Path) -> Corpus:
    """Your own clips, from a manifest of JSON lines (.jsonl) or CSV (.csv, with a header).

    Columns: id, path (of the audio, absolute or from the manifest's folder), text, label (empty: unlabelled), speaker;
    and where the corpus has them group, template, seconds, split (train, dev or test). Any other column is kept in
    `extra`, such as a transcript made elsewhere; in CSV as numbers where all of its fields are numbers. A file
    `corpus.json` in the same folder may hold the name, the classes in order, and a text about the corpus; without it
    the classes are the labels that occur.

    Raises:
        InputError: a missing file or column, or rows that cannot be used; the message names file and rows.
    """
    utterances, places, columns = [], dict[str, int](), set[str]()
    faults: list[str] = []
    card = _card(path.parent / "corpus.json")
    named: list[str] = card.get("classes", [])
    for row, values in read_rows(path, faults.append):
        columns |= set(values)
        where = f"{path}, row {row}"
        try:
            utterance = _utterance(values, where, path.parent)
        except InputError as error:
            faults.append(str(error))
            continue
        if utterance.id in places:
            faults.append(f"{where}: id {utterance.id!r} occurs twice, first in row {places[utterance.id]}.")
        if named and utterance.label not in (None, *named):
            faults.append(
                f"{where}: {utterance.id!r} has label {utterance.label!r}, which is none of the classes "
                f"({', '.join(named)}) in corpus.json: correct the label, or name the class."
            )
        places[utterance.id] = row
        utterances.append(utterance)
    missing = [name for name in REQUIRED if columns and name not in columns]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; a manifest needs {', '.join(REQUIRED)}.")
    if faults:
        raise _faulty(path, faults)
    if path.suffix == ".csv":
        utterances = _with_numbers(utterances)
    classes = named or sorted({u.label for u in utterances if u.label is not None})
    try:
        return Corpus(card.get("name", path.stem), tuple(utterances), tuple(classes), card.get("about", ""))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _faulty(path: Path, faults: list[str]) -> InputError:
    if len(faults) == 1:
        return InputError(faults[0])
    more = f"\n... and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    return InputError(f"{path}: {len(faults)} rows cannot be used:\n" + "\n".join(faults[:NAMED]) + more)


def _with_numbers(utterances: list[Utterance]) -> list[Utterance]:
    """The utterances with numbers in the place of texts, in each further column that holds nothing else."""
    names = utterances[0].extra if utterances else {}
    numeric = {name for name in names if all(_is_number(u.extra[name]) for u in utterances)}
    if not numeric:
        return utterances
    return [
        replace(u, extra={name: float(value) if name in numeric else value for name, value in u.extra.items()})
        for u in utterances
    ]


def _is_number(value: str | float) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def read_rows(path: Path, report: Report = _fail) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table in JSON lines or CSV, each with its number and its values by column.

    Args:
        path: a .jsonl or .csv file.
        report: told of each row that cannot be read; by default that is an error.

    Raises:
        InputError: no such file, or one of another kind.
    """
    if not is_file(path):
        raise InputError(f"{path}: no such manifest. Give the path of a .jsonl or .csv file.")
    readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows}
    if path.suffix not in readers:
        raise InputError(f"{path}: a manifest ends in .jsonl or .csv, not {path.suffix!r}.")
    return readers[path.suffix](path, report)


def _jsonl_rows(path: Path, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    for row, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json_value(line)
        except ValueError as error:
            report(f"{path}, row {row}: not valid JSON ({error}).")
            continue
        if isinstance(values, dict):
            yield row, values
        else:
            report(f"{path}, row {row}: expected a JSON object with {', '.join(REQUIRED)}.")


def _csv_rows(path: Path, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = reader.fieldnames or []
        if len(set(header)) < len(header):
            raise InputError(f"{path}: a column name occurs twice in the header ({', '.join(header)}).")
        for values in reader:
            if None in values or None in values.values():
                report(f"{path}, row {reader.line_num}: expected {len(header)} fields, as the header has.")
            else:
                yield reader.line_num, values
    except csv.Error as error:
        report(f"{path}, row {reader.line_num}: not valid CSV ({error}); the rows after it are not read.")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}: save the file as UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def _utterance(values: dict[str, Any], where: str, folder: Path) -> Utterance:
    missing = [name for name in REQUIRED if name not in values]
    if missing:
        raise InputError(f"{where}: column {missing[0]!r} is missing; a manifest needs {', '.join(REQUIRED)}.")
    for name in (*REQUIRED, "group", "template", "split"):
        value = values.get(name)
        if not (isinstance(value, str) or (value is None and name in ("label", "group", "template", "split"))):
            raise InputError(f"{where}: {name} = {reprlib.repr(value)} is not a text.")
    for name in ("id", "path", "speaker"):
        if not values[name].strip():
            raise InputError(f"{where}: {name} is empty; every clip needs one.")
    if not values["text"].strip():
        raise InputError(
            f"{where}: the transcript of {values['id']!r} is empty: write what is said, leave the row out, "
            "or give every clip a placeholder and train with text='none'."
        )
    split = values.get("split") or ""
    if split and split not in SPLITS:
        raise InputError(f"{where}: {unknown('split', split, SPLITS)}")
    return Utterance(
        id=values["id"],
        path=_inside(folder, values["path"], where),
        text=values["text"],
        label=values["label"] or None,
        speaker=values["speaker"],
        group=values.get("group") or "",
        template=values.get("template") or "",
        seconds=_seconds(values.get("seconds"), where),
        split=split,
        extra={name: _further(value) for name, value in values.items() if name not in (*REQUIRED, *OPTIONAL)},
    )


def _further(value: Any) -> str | float:
    """A value of a column that the kit has no use for: a text or a number as it is, anything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, int) and abs(value) > EXACT:
        return str(value)
    return value if isinstance(value, str | int | float) else json.dumps(value)


def _inside(folder: Path, written: str, where: str) -> Path:
    """The audio file's path; a relative one may not climb out of the manifest's folder."""
    path = Path(written)
    if "\0" in written:
        raise InputError(f"{where}: path {written!r} holds a NUL character, which no file name has.")
    if not path.is_absolute() and ".." in path.parts:
        raise InputError(f"{where}: path {written!r} leaves the manifest's folder; give a path inside it or in full.")
    return folder / path


def _seconds(value: Any, where: str) -> float:
    try:
        seconds = math.nan if value in (None, "") else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if isinstance(value, bool) or seconds < 0 or math.isinf(seconds):
        raise InputError(f"{where}: seconds = {reprlib.repr(value)} is not a duration.")
    return seconds


def _card(path: Path) -> dict[str, Any]:
    """The corpus card beside a manifest: name, classes, about."""
    if not path.exists():
        return {}
    try:
        card = json_value(_text(path))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}).") from error
    texts = isinstance(card, dict) and all(isinstance(card.get(name, ""), str) for name in ("name", "about"))
    classes = card.get("classes", []) if texts else None
    if not isinstance(classes, list) or not all(isinstance(name, str) and name.strip() for name in classes):
        raise InputError(f'{path}: expected {{"name": text, "about": text, "classes": [texts]}}.')
    return dict(card)
