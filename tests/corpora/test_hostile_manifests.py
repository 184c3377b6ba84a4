"""Manifests that nobody should write: each is read whole, or refused by name; nothing else, and no row is dropped.

A long run by hand, from this folder: TURBO_KIT_EXAMPLES=100000 pytest --timeout=0 -k manifest_is_read
"""

import csv
import io
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile import ENDS, examples, spliced
from hypothesis import example, given
from hypothesis import strategies as st
from layouts import write_crema_d, write_fluent, write_iemocap, write_meld, write_tone

from turbo_kit import InputError, load_corpus
from turbo_kit.corpora import FROM_FILES, Corpus
from turbo_kit.corpora.conditions import with_transcripts
from turbo_kit.corpora.fingerprints import audio_fingerprints
from turbo_kit.runs import fold_part, write_json
from turbo_kit.training.evaluation import _predicted

COLUMNS = ("id", "path", "text", "label", "speaker")
CLIPS = ("a.wav", "b.wav", "c.wav", "d.wav")
DEEP = "[" * 100_000 + "]" * 100_000

# --- values --------------------------------------------------------------------------------------------------------

SAID = [
    *("", "  ", "two\nlines", 'quo"te', "a, b; c\td", "=1+1", "</script>", "train", "nan", "1e400", "True"),
    *(
        "😀😀",
        "\u202eשלום עולם\u202c",
        "nul \0 in it",
        "\ufeff",
        "\x1b[31m",
        "e\u0301",
        "word " * 10_000,
        "x" * 140_000,
    ),
]
TEXTS = st.one_of(st.sampled_from(SAID), st.text(max_size=12))

WRITTEN = [
    *(*CLIPS, "gone.wav", "folder", ".", "..", "../a.wav", "sub/../../a.wav", "/dev/zero", "/", "~nobody/a.wav"),
    *("nul\0.wav", "n" * 256, "deep/" * 1000, "C:\\a.wav", "\u202ea.wav"),
]
PATHS = st.sampled_from(WRITTEN)

JSON = [  # some of it what json.dumps would not write
    *("null", "true", "false", "0", "-1", "1.5", "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "[]", "{}"),
    *("9" * 400, "9" * 5000, '{"a": 1, "a": 2}', "[[[1]]]", DEEP, r'"\ud800"', r'"x\udc00y"', r'"\ud83d\ude00"'),
    *("", "nul", "01", '"open', "'single'", '"raw\ttab"'),
]
TOKENS = st.one_of(st.sampled_from(JSON), TEXTS.map(json.dumps), PATHS.map(json.dumps))

BYTES = st.one_of(
    st.sampled_from(
        [b'"', b"\n", b"\r", b"\0", b",", b"{", b"}", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\", b""]
    ),
    st.binary(max_size=3),
)

CARDS = [
    None,
    b'{"name": "mine", "classes": ["x", "y"], "about": "Mine."}',
    *(b"{}", b'{"classes": ["y", "x", "z"]}', b'{"classes": []}', b'{"classes": null}', b'{"classes": {"x": 1}}'),
    *(b'{"classes": ["x"]}', b'{"classes": ["x", "x", "y"]}', b'{"classes": ["x", ""]}', b'{"classes": ["x", 1]}'),
    *(rb'{"classes": ["x", "\udfff"]}', rb'{"name": "\ud800"}', b'{"name": 1}', b'{"name": "a", "name": "b"}'),
    *(b'{"about": ["a"]}', b"", b"\0", b"[]", b"null", b"1", b'"text"', b"{,}", b"9" * 5000, DEEP.encode()),
    *(b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"about": "\xff"}'),
]

# --- manifests -----------------------------------------------------------------------------------------------------


class Manifest(NamedTuple):
    """A manifest and what it was made from."""

    name: str
    content: bytes
    card: bytes | None
    rows: int | None
    """How many rows were written; none where bytes were changed afterwards."""


def good_row(number: int) -> dict[str, str]:
    return {
        "id": f"clip{number}",
        "path": CLIPS[number % 4],
        "text": f"text {number}",
        "label": "xy"[number % 2],
        "speaker": f"s{number}",
    }


NAMES = st.sampled_from([*COLUMNS, "group", "template", "seconds", "split", "further", ""])


@st.composite
def json_lines(draw: st.DrawFn) -> tuple[list[str], str]:
    """Rows as JSON, some of their values replaced, missing or there twice; and the suffix of the file."""
    rows = [[(name, json.dumps(value)) for name, value in good_row(n).items()] for n in range(draw(st.integers(0, 6)))]
    for _ in range(draw(st.integers(0, 3)) if rows else 0):
        row, name = draw(st.sampled_from(rows)), draw(NAMES)
        kept = row if draw(st.integers(0, 9)) == 0 else [pair for pair in row if pair[0] != name]
        row[:] = kept if draw(st.integers(0, 9)) == 1 else [*kept, (name, draw(TOKENS))]
    objects = ["{" + ", ".join(f'"{name}": {token}' for name, token in row) + "}" for row in rows]
    if draw(st.integers(0, 9)) == 0:
        objects.insert(draw(st.integers(0, len(objects))), draw(TOKENS) or "null")
    return objects, ".jsonl"


@st.composite
def csv_lines(draw: st.DrawFn) -> tuple[list[str], str]:
    """A header and rows as CSV, some columns swapped, missing, added or there twice; and the suffix of the file."""
    header = list(draw(st.permutations(COLUMNS))) if draw(st.booleans()) else list(COLUMNS)
    header += draw(st.lists(NAMES, max_size=2)) if draw(st.booleans()) else []
    for _ in range(draw(st.sampled_from([0, 0, 0, 1]))):
        del header[draw(st.integers(0, len(header) - 1))]
    rows = [[good_row(n).get(name, "") for name in header] for n in range(draw(st.integers(0, 6)))]
    for _ in range(draw(st.integers(0, 3)) if rows and header else 0):
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = draw(st.one_of(TEXTS, PATHS, NAMES))
    return [csv_line(row) for row in [header, *rows]], ".csv"


def csv_line(row: list[str]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow(row)
    return file.getvalue()


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    lines, suffix = draw(st.one_of(json_lines(), csv_lines()))
    end = draw(ENDS)
    content = end.join(line.encode() for line in lines) + (end if draw(st.booleans()) else b"")
    if draw(st.booleans()):
        content = b"\xef\xbb\xbf" + content
    whole = draw(st.booleans())
    return Manifest(
        f"m{suffix}",
        content if whole else draw(spliced(content, BYTES)),
        draw(st.sampled_from(CARDS)) if draw(st.booleans()) else None,
        len(lines) - (suffix == ".csv") if whole else None,
    )


def rows_in(path: Path) -> int:
    """How many rows a manifest has, as somebody else would count them."""
    text = path.read_text("utf-8-sig")
    if path.suffix == ".jsonl":
        return sum(bool(line.strip()) for line in text.split("\n"))
    return sum(bool(row) for row in csv.reader(io.StringIO(text, newline=""))) - 1


# --- properties ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    for name in CLIPS:
        write_tone(folder / name)
    (folder / "folder").mkdir()
    return folder


def tried(corpus: Corpus, folder: Path) -> None:
    """All that a run does with ids, texts and labels: it works, or is refused."""
    assert len(corpus.labels) == len(corpus.transcripts) == len(corpus)
    for use in (lambda: corpus.fingerprint, lambda: fold_part(corpus), *folds_of(corpus)):
        try:
            use()
        except InputError:
            continue
    table, _ = _predicted({"logits": np.zeros((1, len(corpus), len(corpus.classes)), np.float32)}, corpus)
    file = io.BytesIO()
    table.to_parquet(file)
    assert pd.read_parquet(file).equals(table)
    written = {"id": [u.id for u in corpus.utterances], "text": [u.text for u in corpus.utterances]}
    write_json(folder / "written.json", {**written, "recall": dict.fromkeys(corpus.classes)})
    assert json.loads((folder / "written.json").read_text("utf-8"))["id"] == written["id"]


def folds_of(corpus: Corpus) -> Iterator[Callable[[], object]]:
    for protocol in ("auto", "official", "group", "speaker", "speaker-text"):
        yield lambda protocol=protocol: corpus.fold(0, protocol)


@examples(300)
@given(manifest=manifests())
@example(Manifest("m.csv", b'"id,path,text,label,speaker\n', None, None))
@example(Manifest("m.csv", b"\n" + b"a,b\n", None, None))
@example(Manifest("m.csv", b"x" * 140_000, None, None))
def test_a_manifest_is_read_whole_or_refused_by_name(folder: Path, manifest: Manifest) -> None:
    path, card = folder / manifest.name, folder / "corpus.json"
    path.write_bytes(manifest.content)
    card.unlink(missing_ok=True)
    if manifest.card is not None:
        card.write_bytes(manifest.card)
    try:
        corpus = load_corpus(f"manifest:{path}")
    except InputError as error:
        assert str(path) in str(error) or str(card) in str(error)
        assert len(str(error)) < 2_000_000
        return
    assert len(corpus) == rows_in(path)
    assert manifest.rows in (None, len(corpus))
    assert len(set(corpus.classes)) == len(corpus.classes) >= 2
    tried(corpus, folder)


@examples(100)
@given(name=NAMES.filter(lambda name: name not in ("", "further")), token=TOKENS)
def test_a_fault_of_one_row_of_a_manifest_is_told_with_its_row(folder: Path, name: str, token: str) -> None:
    rows = [json.dumps(good_row(number)) for number in range(4)]
    rows[2] = rows[2].replace("}", f', "more": {token}}}' if name == "further" else "}")
    kept = {column: json.dumps(value) for column, value in good_row(2).items()} | {name: token}
    rows[2] = "{" + ", ".join(f'"{column}": {value}' for column, value in kept.items()) + "}"
    path = folder / "row.jsonl"
    path.write_text("\n".join(rows))
    (folder / "corpus.json").write_text('{"classes": ["x", "y"]}')
    try:
        corpus = load_corpus(f"manifest:{path}")
    except InputError as error:
        assert str(error).startswith(f"{path}, row 3: ")
    else:
        assert len(corpus) == 4
        expected = json.loads(token)
        found = getattr(corpus.utterances[2], name)
        assert found == {"path": lambda: folder / expected}.get(name, lambda: expected or found)() or found != found


@pytest.mark.parametrize(
    ("name", "token", "said"),
    [
        ("seconds", "true", "seconds = True is not a duration"),
        ("seconds", "9" * 400, r"seconds = 9+\.\.\.9+ is not a duration"),
        ("seconds", "1e400", "seconds = inf is not a duration"),
        ("seconds", "-Infinity", "seconds = -inf is not a duration"),
        ("seconds", "9" * 5000, "not valid JSON"),
        ("further", DEEP, "nested too deeply"),
        ("further", '{"a": 1, "a": 2}', "the name 'a' occurs twice"),
        ("split", "0", "split = 0 is not a text"),
        ("group", "[" * 900 + "]" * 900, r"group = \[\[.* is not a text"),
        ("id", '"\\ud800"', "half of a surrogate pair"),
        ("further", '"\\udc00"', "half of a surrogate pair"),
        ("path", '"a\\u0000.wav"', "holds a NUL character"),
        ("label", '"q"', r"'clip2' has label 'q', which is none of the classes \(x, y\) in corpus.json"),
    ],
)
def test_such_a_value_is_refused_with_its_row(folder: Path, name: str, token: str, said: str) -> None:
    rows = [json.dumps(good_row(number)) for number in range(3)]
    kept = {column: json.dumps(value) for column, value in good_row(2).items()} | {name: token}
    rows[2] = "{" + ", ".join(f'"{column}": {value}' for column, value in kept.items()) + "}"
    (folder / "value.jsonl").write_text("\n".join(rows))
    (folder / "corpus.json").write_text('{"classes": ["x", "y"]}')
    with pytest.raises(InputError, match=rf"value.jsonl, row 3: .*{said}"):
        load_corpus(f"manifest:{folder / 'value.jsonl'}")


def test_json_of_any_depth_is_kept_or_refused(folder: Path) -> None:
    (folder / "corpus.json").unlink(missing_ok=True)
    told = set()
    for depth in (1, 10, *range(850, 1010), 5_000, 50_000):
        rows = [json.dumps(good_row(number))[:-1] + f', "more": {"[" * depth + "]" * depth}}}' for number in range(2)]
        (folder / "deep.jsonl").write_text("\n".join(rows))
        try:
            corpus = load_corpus(f"manifest:{folder / 'deep.jsonl'}")
            assert corpus.utterances[0].extra["more"] == "[" * depth + "]" * depth
        except InputError as error:
            told.add("nested too deeply" in str(error))
    assert told == {True}


def test_a_whole_number_that_no_float_holds_is_kept_as_text(folder: Path) -> None:
    (folder / "corpus.json").unlink(missing_ok=True)
    numbers = [2**53, 2**53 + 1, 10**400]
    rows = [json.dumps({**good_row(place), "more": number}) for place, number in enumerate(numbers)]
    (folder / "numbers.jsonl").write_text("\n".join(rows))
    corpus = load_corpus(f"manifest:{folder / 'numbers.jsonl'}")
    assert [u.extra["more"] for u in corpus.utterances] == [2**53, str(2**53 + 1), str(10**400)]
    with pytest.raises(InputError, match="has the number"):
        with_transcripts(corpus, "more")


def test_a_card_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(good_row(number)) for number in range(2)))
    (tmp_path / "corpus.json").mkdir()
    with pytest.raises(InputError, match=r"corpus.json: cannot be read"):
        load_corpus(f"manifest:{tmp_path / 'm.jsonl'}")


ODD_PATHS = st.one_of(
    st.sampled_from(["n" * 300, "n" * 300 + ".jsonl", "d/" * 3000 + "m.csv", "\0.jsonl", "\ud800.jsonl", "m.csv?x=1"]),
    st.sampled_from(["folder", "folder.jsonl", "a.wav", "a.parquet", "loop.jsonl"]),
    st.text(st.characters(codec="utf-8", exclude_characters="/.~"), max_size=8),
)


@examples(100)
@given(kind=st.sampled_from(sorted(FROM_FILES)), name=ODD_PATHS)
def test_a_path_that_leads_nowhere_is_refused(folder: Path, kind: str, name: str) -> None:
    (folder / "folder.jsonl").mkdir(exist_ok=True)
    (folder / "loop.jsonl").unlink(missing_ok=True)
    (folder / "loop.jsonl").symlink_to(folder / "loop.jsonl")
    with pytest.raises(InputError):
        load_corpus(f"{kind}:{folder / 'folder' / name if kind == 'huggingface' else folder / name}")


def test_the_home_of_nobody_is_refused(tones_corpus: Corpus) -> None:
    with pytest.raises(InputError, match="no such manifest"):
        load_corpus("manifest:~nobody-of-that-name/m.jsonl")
    with pytest.raises(InputError, match="no such manifest"):
        with_transcripts(tones_corpus, "~nobody-of-that-name/texts.csv")


@pytest.mark.parametrize("name", ["/dev/zero", "nul\0.wav", "n" * 300, "\ud800.wav", "/"])
def test_a_sound_that_is_no_file_has_no_fingerprint(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read|this is no file"):
        audio_fingerprints([tmp_path / name])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(InputError, match=r"pipe.wav: this is no file"):
        audio_fingerprints([tmp_path / "pipe.wav"])


def test_a_file_whose_name_is_no_utf_8_has_a_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    try:
        write_tone(path, "a")
    except OSError:
        pytest.skip("this file system takes no such names")
    write_tone(tmp_path / "other.wav", "a")
    one, other = audio_fingerprints([path, tmp_path / "other.wav"])
    assert one == other


# --- the other readers ---------------------------------------------------------------------------------------------

TABLES = {
    "fluent-speech-commands": (write_fluent, "data/train_data.csv"),
    "meld": (write_meld, "train/train_sent_emo.csv"),
    "crema-d": (write_crema_d, "VideoDemographics.csv"),
    "iemocap": (write_iemocap, "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"),
}


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, bytes]]:
    """Of each corpus its folder, one of its tables and what that holds as it should be."""
    made = {}
    for name, (write, inside) in TABLES.items():
        root = write(tmp_path_factory.mktemp(name))
        table = root / inside if (root / inside).is_file() else next(root.rglob(Path(inside).name))
        made[name] = (root, table, table.read_bytes())
    return made


@examples(100)
@given(data=st.data(), name=st.sampled_from(sorted(TABLES)))
def test_a_spoilt_table_of_a_distributed_corpus_costs_no_clip_unsaid(
    distributed: dict[str, tuple[Path, Path, bytes]], data: st.DataObject, name: str
) -> None:
    root, table, content = distributed[name]
    table.write_bytes(content)
    whole = len(load_corpus(f"{name}:{root}"))
    inserted = st.tuples(st.integers(0, len(content)), BYTES | st.sampled_from(["²".encode(), b"1.2.3", b"..", b"/"]))
    place, piece = data.draw(inserted)
    table.write_bytes(content[:place] + piece + content[place:])
    try:
        logging.disable(logging.WARNING)
        corpus = load_corpus(f"{name}:{root}")
    except InputError as error:
        assert str(root) in str(error)
    else:
        assert len(corpus) >= whole or corpus.problems
    finally:
        logging.disable(logging.NOTSET)
        table.write_bytes(content)


def test_values_that_only_look_like_numbers_are_told(distributed: dict[str, tuple[Path, Path, bytes]]) -> None:
    root, table, content = distributed["crema-d"]
    table.write_bytes(re.sub(rb",\d\d,", ",²,".encode(), content, count=1))
    assert any("age '²'" in problem for problem in load_corpus(f"crema-d:{root}").problems)
    table.write_bytes(content)
    root, table, content = distributed["iemocap"]
    table.write_bytes(re.sub(rb"\[\d+\.\d+ -", b"[1.2.3 -", content, count=1))
    assert any("not [START - END]" in problem for problem in load_corpus(f"iemocap:{root}").problems)
    table.write_bytes(content)


def test_a_column_that_is_there_twice_is_told(distributed: dict[str, tuple[Path, Path, bytes]]) -> None:
    root, table, content = distributed["fluent-speech-commands"]
    table.write_bytes(content.replace(b",path,", b"path,path,", 1))
    assert any(
        "line 1: two columns 'path'" in problem for problem in load_corpus(f"fluent-speech-commands:{root}").problems
    )
    table.write_bytes(content)


def test_a_sound_with_an_impossible_name_is_told(distributed: dict[str, tuple[Path, Path, bytes]]) -> None:
    root, table, content = distributed["fluent-speech-commands"]
    for name in (b"nul\0", b"n" * 300):
        table.write_bytes(re.sub(rb"/[^/,]+\.wav", b"/" + name + b".wav", content, count=1))
        problems = load_corpus(f"fluent-speech-commands:{root}").problems
        assert any("train_data.csv, line 2: " in problem and "cannot be read" in problem for problem in problems)
    table.write_bytes(content)


def table_of(path: Path, features: object = None, **columns: pa.Array) -> Path:
    """A parquet file of two clips, with what Hugging Face's library would say of its columns."""
    good = {"audio": ["a.wav", "b.wav"], "text": ["hello", "there"], "label": [0, 1], "speaker": ["s", "t"]}
    metadata = json.dumps({"info": {"features": features or {"label": {"names": ["x", "y"]}}}})
    pq.write_table(pa.table({**good, **columns}).replace_schema_metadata({"huggingface": metadata}), path)
    return path


NO_UTF_8 = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": NO_UTF_8}, "cannot be read as a table"),
        ({"audio": pa.array(["nul\0.wav", "nul\0.wav"])}, r"row 1: .*cannot be read"),
        ({"audio": pa.array(["n" * 300, "n" * 300])}, r"row 1: .*cannot be read"),
        ({"audio": pa.array(["folder", "folder"])}, r"row 1: .*folder is no file"),
        ({"label": pa.array([10**15, -7])}, r"row 1: .*is none of the 2 classes"),
    ],
)
def test_a_parquet_file_that_cannot_be_used_is_named(folder: Path, columns: dict[str, pa.Array], said: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)odd.parquet.*{said}"):
        load_corpus(f"huggingface:{table_of(folder / 'odd.parquet', **columns)}")


@pytest.mark.parametrize("features", [[1], {"label": []}, {"label": {"names": 5}}, {"label": {"names": [1, 2]}}])
def test_class_names_of_a_wrong_shape_are_not_used(folder: Path, features: object) -> None:
    assert load_corpus(f"huggingface:{table_of(folder / 'names.parquet', features)}").classes == ("0", "1")


def test_a_parquet_file_with_two_columns_of_a_name_is_refused(folder: Path) -> None:
    table = pq.read_table(table_of(folder / "twice.parquet"))
    pq.write_table(table.append_column("text", pa.array(["one", "two"])), folder / "twice.parquet")
    with pytest.raises(InputError, match=r"twice.parquet: it has two columns 'text'"):
        load_corpus(f"huggingface:{folder / 'twice.parquet'}")


def test_a_dataset_card_that_is_nested_too_deeply_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(DEEP)
    with pytest.raises(InputError, match=r"state.json: cannot be read"):
        load_corpus(f"huggingface:{tmp_path}")
