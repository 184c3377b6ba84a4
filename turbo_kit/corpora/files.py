"""What readers of distributed corpora share: old text files, tables with line numbers, sound files and their faults."""

import csv
import json
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from turbo_kit.config import InputError
from turbo_kit.corpora.utterance import Utterance

Report = Callable[[str], object]
"""Takes what is wrong with a line or a file that is left out, such as the `append` of a list of problems."""

LONGEST = 10  # lines that a row of a table may run over; a quotation mark that is never closed then costs one row
EMPTY = 44  # bytes of a WAV file without samples: its header alone
POINTER = b"version https://git-lfs"  # how the stub of a file begins that Git LFS has not fetched

# Windows-1252 read as Latin-1, or kept as such in UTF-8, leaves control characters in the place of its punctuation.
_PUNCTUATION = {code: bytes([code]).decode("cp1252", errors="ignore") or chr(code) for code in range(0x80, 0xA0)}


def is_file(path: Path) -> bool:
    """Whether a path leads to a file; one that the system refuses, such as too long a name, leads to none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def user_path(written: str) -> Path:
    """A path as somebody wrote it, where ~ is the home of a user; one of no such user stays as it is."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        return Path(written)


def json_value(text: str) -> Any:
    """A value from JSON, of which nothing is lost and which can be written again as UTF-8.

    Raises:
        ValueError: no JSON, a name that occurs twice in one object, half of a surrogate pair, or a number or a depth
            beyond what Python reads.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        raise ValueError(f"{error.msg} at {line}column {error.colno}") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[error.start]!r} is half of a surrogate pair, which is no character") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"the name {name!r} occurs twice")
        values[name] = value
    return values


def read_lines(path: Path, report: Report) -> list[str]:
    """The lines of a text file in UTF-8, Windows-1252 or Latin-1, without their ends; the first one is line 1.

    Args:
        report: told where the file cannot be read; it then has no lines.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        report(f"{path}: cannot be read ({error.strerror})")
        return []
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = text if text.isascii() else text.translate(_PUNCTUATION)
    return [line.removesuffix("\r") for line in text.split("\n")]


def read_rows(path: Path, columns: Sequence[str], report: Report) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file with a header, each with its place (`FILE, line N`).

    Args:
        columns: names that the header must have.
        report: told of a file or a row that cannot be read; the rows after it are.
    """
    lines = read_lines(path, report)
    header = _fields(lines[:1]) or []
    wrong = [name for name in columns if header.count(name) != 1]
    if wrong and lines:
        found = "two columns" if wrong[0] in header else "no column"
        report(f"{path}, line 1: {found} {wrong[0]!r} in the header ({', '.join(header) or 'empty'})")
    start = len(lines) if wrong else 1
    while start < len(lines):
        fields, taken = _row(lines, start, len(header))
        where = f"{path}, line {start + 1}"
        if len(fields) == len(header):
            yield where, dict(zip(header, fields, strict=True))
        elif fields:
            report(f"{where}: {len(fields)} fields, and the header has {len(header)}")
        elif lines[start].strip():
            report(f"{where}: not a row of CSV (a quotation mark too many or too few)")
        start += taken


def _row(lines: Sequence[str], start: int, length: int) -> tuple[list[str], int]:
    """The fields of the row that starts at a line, and how many lines it takes; no fields where there is no row."""
    for taken in range(1, LONGEST + 1):
        fields = _fields(lines[start : start + taken])
        if fields is not None:
            return fields, taken if len(fields) == length else 1
    return [], 1


def _fields(lines: Sequence[str]) -> list[str] | None:
    """The fields of one row that may run over several lines; none where these are no whole row."""
    try:
        rows = list(csv.reader([f"{line}\n" for line in lines], strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def sound_fault(path: Path) -> str:
    """What makes a sound file useless, as far as its size and first bytes tell; empty: nothing."""
    try:
        facts = path.stat()
        size = facts.st_size
        if not stat.S_ISREG(facts.st_mode):
            return f"{path} is no file"
        if size <= EMPTY:
            return f"{path} holds no sound"
        if size < 1024:
            with path.open("rb") as file:
                if file.read(len(POINTER)) == POINTER:
                    return f"{path} is a pointer of Git LFS and not the sound: fetch it with git lfs pull"
    except FileNotFoundError:
        return f"there is no {path}"
    except (OSError, ValueError) as error:  # a name that the system refuses is a ValueError
        return f"{path} cannot be read ({error})"
    return ""


def visible(folder: Path, pattern: str) -> list[Path]:
    """What matches in a folder, sorted, without hidden files: macOS leaves one beside each file in an archive."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def require_utterances(
    found: Iterable[tuple[str, Utterance]], folder: Path, problems: list[str]
) -> tuple[Utterance, ...]:
    """The utterances that are found with their places, without those whose id has occurred, which become problems.

    Raises:
        InputError: there is none; the message names the first problems.
    """
    places: dict[str, str] = {}
    utterances = []
    for where, utterance in found:
        if utterance.id in places:
            problems.append(f"{where}: id {utterance.id!r} stands in {places[utterance.id]} already")
        else:
            places[utterance.id] = where
            utterances.append(utterance)
    if not utterances:
        shown = "".join(f"\n{problem}" for problem in problems[:3]) or "\nno clip in it."
        raise InputError(f"{folder}: none of its clips can be used. Restore the folder as distributed.{shown}")
    return tuple(utterances)


def compare_with_published(found: Mapping[str, int], published: Mapping[str, int]) -> str:
    """Counts beside the published ones, in words: `neutral 96 of 96, calm 191 of 192`."""
    return ", ".join(f"{name} {found.get(name, 0):,} of {count:,}" for name, count in published.items())
