"""A corpus from a Hugging Face dataset on disk: a folder of `save_to_disk`, a folder of parquet files, or one of them.

The layouts are those of https://huggingface.co/docs/datasets/process#save and
https://huggingface.co/docs/hub/datasets-file-names-and-splits. They are read with pyarrow, which the kit needs anyway:
the library `datasets` would bring further dependencies and copy every parquet file into a cache of its own first.
"""

import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbo_kit.config import InputError
from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.files import EMPTY, Report, is_file, require_utterances, sound_fault, visible
from turbo_kit.corpora.fingerprints import cache_folder
from turbo_kit.corpora.utterance import Utterance

if TYPE_CHECKING:
    import pyarrow as pa

REQUIRED = ("audio", "text", "label", "speaker")

# Words in the name of a file or a folder that say which list it holds.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
SUFFIXES = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3"}  # by a sound's first bytes
ROWS = 64  # rows in memory at once, with their sound

Row = dict[str, Any]


def load_huggingface(
    path: Path,
    audio: str = "audio",
    text: str = "text",
    label: str = "label",
    speaker: str = "speaker",
    group: str = "group",
    template: str = "template",
    id: str = "id",
) -> Corpus:
    """A dataset of Hugging Face's library, or parquet files; behind ? stand column names: speaker=actor&text=sentence.

    Splits named train, validation (dev, valid) and test are the corpus' own lists. Sound inside the tables is written
    once into the kit's cache, each under the hash of its content. Columns of numbers or text that have no role are kept
    in `extra`.

    Args:
        path: what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, a folder of parquet files, or one file.
        audio: column of the sound: its bytes, or the path of a file.
        text: column of the transcript.
        label: column of the class; a `ClassLabel` or text; empty or -1: unlabelled.
        speaker: column of the speaker.
        group: column of the session or whatever a fold holds out, where there is one.
        template: column of what a sentence is an instance of, where there is one.
        id: column of the clip's name, where there is one; otherwise clips are numbered within their split.

    Raises:
        InputError: no such dataset or column, a file that cannot be read, or no row that can be used.
    """
    roles = {"audio": audio, "text": text, "label": label, "speaker": speaker}
    roles |= {"group": group, "template": template, "id": id}
    problems: list[str] = []
    classes: dict[str, None] = {}  # in the order of the first dataset that names them
    utterances = require_utterances(_utterances(path, roles, classes, problems.append), path, problems)
    used = {u.label for u in utterances if u.label is not None}
    named = [name for name in classes if name in used]
    ordered = (*named, *sorted(used - set(named)))
    return Corpus(path.stem, utterances, ordered, problems=tuple(problems))


def _utterances(
    root: Path, roles: Mapping[str, str], classes: dict[str, None], report: Report
) -> Iterator[tuple[str, Utterance]]:
    """Each row that can be used, with its place; the class names of the tables are put into `classes`."""
    numbers: Counter[str] = Counter()
    folder = root if root.is_dir() else root.parent
    for file, split in _files(root, report):
        schema, batches = _open(file)
        columns, names = _columns(file, schema, roles), _class_names(schema)
        classes.update(dict.fromkeys(names.get(columns["label"], ())))
        kept = [field.name for field in schema if _is_plain(field.type) or field.name == columns["audio"]]
        for number, row in enumerate(_rows(file, batches, kept), start=1):
            numbers[split] += 1
            where = f"{file}, row {number}"
            try:
                sound = _sound(row.pop(columns["audio"]), (folder, file.parent))
                values = {name: _value(value, names.get(name)) for name, value in row.items()}
                given = {role: values.pop(name) for role, name in columns.items() if role != "audio"}
                given.setdefault("id", f"{split or 'clip'}-{numbers[split]:06d}")
                yield where, _utterance(given, sound, split, values)
            except InputError as error:
                report(f"{where}: {error}")


def _utterance(given: Mapping[str, str | float], sound: Path, split: str, extra: dict[str, str | float]) -> Utterance:
    words: dict[str, Any] = {role: str(value).strip() for role, value in given.items()}
    for role in ("text", "speaker", "id"):
        if not words[role]:
            raise InputError(f"{role} is empty")
    words["label"] = words["label"] or None
    return Utterance(path=sound, split=split, extra=extra, **words)


def _files(root: Path, report: Report) -> list[tuple[Path, str]]:
    """The tables of a dataset, each with its split."""
    if (root / "dataset_dict.json").is_file():
        names = [_plain(name, root) for name in _listed(root / "dataset_dict.json", "splits", str)]
        gone = [name for name in names if not (root / name / "state.json").is_file()]
        for name in gone:
            report(f"{root / name}: the split is missing, and dataset_dict.json names it")
        return [file for name in names if name not in gone for file in _shards(root / name, _split(name))]
    if (root / "state.json").is_file():
        return _shards(root, "")
    files = visible(root, "**/*.parquet") if root.is_dir() else [root]
    if not files or files[0].suffix != ".parquet" or not files[0].is_file():
        raise InputError(
            f"{root}: no Hugging Face dataset. Give a folder written by save_to_disk (with state.json or "
            "dataset_dict.json in it), a folder of parquet files, or one parquet file."
        )
    _report_gaps(files, report)
    return [(file, _split(str(file.relative_to(root if root.is_dir() else root.parent)))) for file in files]


def _shards(folder: Path, split: str) -> list[tuple[Path, str]]:
    shards = [entry.get("filename") for entry in _listed(folder / "state.json", "_data_files", dict)]
    return [(folder / _plain(name, folder), split) for name in shards]


def _plain(name: Any, folder: Path) -> str:
    """A name that stays in its folder."""
    if not isinstance(name, str) or name in ("", ".", "..") or re.search(r"[/\\\0]", name):
        raise InputError(f"{folder}: its list names {name!r}, which is no file or folder in it.")
    return name


def _listed(path: Path, key: str, kind: type) -> list[Any]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8")).get(key)
    except (ValueError, AttributeError, OSError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Write the dataset again with save_to_disk.") from error
    if not isinstance(listed, list) or not all(isinstance(entry, kind) for entry in listed):
        raise InputError(f"{path}: no list {key!r} in it. Write the dataset again with save_to_disk.")
    return listed


def _split(name: str) -> str:
    """The list that a name stands for; the last of its words that says so counts."""
    words = re.findall(r"[a-z]+", name.lower())
    return next((SPLITS[word] for word in reversed(words) if word in SPLITS), "")


def _report_gaps(files: list[Path], report: Report) -> None:
    """Reports splits of which parts (train-00001-of-00003) are missing."""
    parts: Counter[tuple[Path, str, int]] = Counter()
    for file in files:
        if part := re.match(r"(.+)-\d+-of-(\d+)", file.stem):
            parts[file.parent, part[1], int(part[2])] += 1
    for (folder, name, count), found in parts.items():
        if found < count:
            report(f"{folder / name}: {count - found} of its {count} parquet files are missing")


def _open(file: Path) -> "tuple[pa.Schema, Iterator[pa.RecordBatch]]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            table = pq.ParquetFile(file)
            return table.schema_arrow, table.iter_batches(batch_size=ROWS)
        stream = pa.ipc.open_stream(pa.memory_map(str(file)))
        return stream.schema, iter(stream)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _rows(file: Path, batches: "Iterator[pa.RecordBatch]", columns: list[str]) -> Iterator[Row]:
    import pyarrow as pa

    try:
        for batch in batches:
            yield from batch.select(columns).to_pylist()
    except (pa.ArrowException, OSError, UnicodeError) as error:  # text that is no UTF-8 is found when it is taken out
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> InputError:
    hint = "Fetch or write it again; the stub that Git LFS leaves is made whole by git lfs pull."
    return InputError(f"{file}: cannot be read as a table ({error}). {hint}")


def _columns(file: Path, schema: "pa.Schema", roles: Mapping[str, str]) -> dict[str, str]:
    """The column of each role; an optional role that nobody named may have none.

    Raises:
        InputError: no such column, or one of a type that cannot play the role.
    """
    if repeated := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise InputError(f"{file}: it has two columns {repeated[0]!r}: rename or leave out one of them.")
    columns = {}
    for role, name in roles.items():
        if name in schema.names:
            kind = schema.field(name).type
            if not (_holds_sound(kind) if role == "audio" else _is_plain(kind)):
                expected = "bytes or the path of a file" if role == "audio" else "text or numbers"
                raise InputError(f"{file}: column {name!r} ({role}) is of type {kind}; expected {expected}.")
            columns[role] = name
        elif role in REQUIRED or name not in ("", role):
            raise InputError(
                f"{file}: no column {name!r} ({role}). Its columns are {', '.join(schema.names)}: "
                f"name the right one behind a question mark, as in huggingface:PATH?{role}=NAME."
            )
    return columns


def _is_plain(kind: "pa.DataType") -> bool:
    from pyarrow import types

    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return any(test(kind.value_type if types.is_dictionary(kind) else kind) for test in tests)


def _holds_sound(kind: "pa.DataType") -> bool:
    """Bytes, a path, or what the library's feature `Audio` stores: a struct of both."""
    from pyarrow import types

    if types.is_struct(kind):
        return {"bytes", "path"} <= {field.name for field in kind}
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary))


def _class_names(schema: "pa.Schema") -> dict[str, list[str]]:
    """The names behind the integers of each `ClassLabel` column, as the library writes them into a table's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: feature["names"] for name, feature in features.items() if "names" in feature}
        return found if all(isinstance(name, str) for names in found.values() for name in names) else {}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _value(value: Any, names: list[str] | None) -> str | float:
    """A cell as text, or as a number where the column has no names for its integers; empty text: no value."""
    if value is None or (names and value == -1):
        return ""
    if names is None:
        return float(value) if isinstance(value, float) else value if isinstance(value, int) else str(value)
    if not (isinstance(value, int) and 0 <= value < len(names)):
        raise InputError(f"{value!r} is none of the {len(names)} classes ({', '.join(names)})")
    return names[value]


def _sound(value: Any, folders: tuple[Path, ...]) -> Path:
    """The file of a sound: where its path leads, or where its bytes are kept.

    Raises:
        InputError: a sound that cannot be used.
    """
    content, written = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, value)
    if isinstance(content, bytes):
        if len(content) <= EMPTY:
            raise InputError(f"the audio has {len(content)} bytes, and so no sound")
        return _kept(content)
    if not isinstance(written, str) or not written:
        raise InputError("there is no audio: neither bytes nor the path of a file")
    path = Path(written)
    if not path.is_absolute() and ".." in path.parts:
        raise InputError(f"path {written!r} leaves the dataset's folder")
    places = [folder / path for folder in folders]
    path = next((place for place in places if is_file(place)), places[0])
    if fault := sound_fault(path):
        raise InputError(fault)
    return path


def _kept(content: bytes) -> Path:
    """Where the kit's cache keeps a sound; its name is the hash of its content and nothing that a dataset says."""
    folder = cache_folder() / "sounds"
    is_mp3 = content[0] == 0xFF and content[1] >= 0xE0  # a frame without a header before it
    suffix = next((suffix for start, suffix in SUFFIXES.items() if content.startswith(start)), ".mp3" if is_mp3 else "")
    path = folder / f"{hashlib.sha256(content).hexdigest()}{suffix}"
    if not path.is_file() or path.stat().st_size != len(content):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
    return path
