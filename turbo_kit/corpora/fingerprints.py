"""Fingerprints of audio files, remembered from run to run so that a large corpus is read through once."""

import hashlib
import logging
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from turbo_kit.config import InputError

log = logging.getLogger(__name__)

Known = dict[str, tuple[int, int, str]]
"""Size in bytes, time of the last change in ns, and SHA-256, by the path of a file."""

_known: Known = {}


def cache_folder() -> Path:
    """Where the kit keeps what it can compute again: $TURBO_KIT_CACHE, or the user's cache folder; may be deleted."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("TURBO_KIT_CACHE") or user_cache_path("turbo-kit"))


def audio_fingerprint(path: Path) -> str:
    """SHA-256 of an audio file's bytes.

    Raises:
        InputError: the file cannot be read.
    """
    return audio_fingerprints([path])[0]


def audio_fingerprints(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of the bytes of each file; one that has the size and time of change of an earlier look is not read again.

    Raises:
        InputError: a file that cannot be read.
    """
    facts = {path: _facts(path) for path in dict.fromkeys(paths)}
    names = {path: str(path.absolute()) for path in facts}
    if any(names[path] not in _known for path in facts):
        _known.update(_remembered())
    changed = [path for path in facts if _known.get(names[path], ())[:2] != facts[path]]
    with ThreadPoolExecutor() as pool:
        found = dict(zip(changed, pool.map(_sha256, changed), strict=True))
    if found:
        new = {names[path]: (*facts[path], digest) for path, digest in found.items()}
        _known.update(new)
        _remember(new)
    return [_known[names[path]][2] for path in paths]


def _facts(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # a name that the system refuses is a ValueError
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):  # a device or a pipe may never end
        raise InputError(f"{path}: this is no file: correct the path of the audio.")
    return found.st_size, found.st_mtime_ns


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: the audio file cannot be read ({getattr(error, 'strerror', error)}): correct its path.")


@contextmanager
def _database() -> Iterator[sqlite3.Connection]:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "fingerprints.sqlite", timeout=30)) as connection, connection:
        columns = "path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, sha256 TEXT"
        connection.execute(f"CREATE TABLE IF NOT EXISTS audio ({columns})")
        yield connection


def _remembered() -> Known:
    """What was found before; without it, as on a disk that cannot be written, every file is read."""
    try:
        with _database() as connection:
            rows: Iterable[tuple[str, int, int, str]] = connection.execute("SELECT * FROM audio").fetchall()
    except (sqlite3.Error, OSError) as error:
        log.info("fingerprints of earlier runs cannot be read (%s); every audio file is.", error)
        return {}
    return {path: (size, changed, digest) for path, size, changed, digest in rows}


def _remember(new: Known) -> None:
    try:
        with _database() as connection:
            rows = [(path, *facts) for path, facts in new.items()]
            connection.executemany("INSERT OR REPLACE INTO audio VALUES (?, ?, ?, ?)", rows)
    except (sqlite3.Error, OSError, UnicodeError) as error:  # SQLite knows no file names that are not UTF-8
        log.info("fingerprints cannot be kept (%s); the next run reads the audio files again.", error)
