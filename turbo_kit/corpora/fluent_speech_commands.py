"""Fluent Speech Commands, read from its folder as Fluent.ai distributes it.

L. Lugosch et al., "Speech Model Pre-training for End-to-End Spoken Language Understanding", Interspeech 2019
(arXiv 1904.03670). Under the Fluent Speech Commands Public License: academic use. torchaudio's class for it is not
used: it takes rows by their position, so that a row with a field too few stops it without its line.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from turbo_kit.config import InputError, unknown
from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.files import Report, compare_with_published, read_rows, require_utterances, sound_fault
from turbo_kit.corpora.utterance import Utterance

NAME = "fluent_speech_commands_dataset"
LISTS = {"train": "train", "valid": "dev", "test": "test"}  # the list of a fold by the name of the corpus's own

PUBLISHED = {"train": 23132, "dev": 3118, "test": 3793}
"""Utterances of each list, of 77, 10 and 10 speakers."""

SLOTS = {
    "action": ("activate", "bring", "change language", "deactivate", "decrease", "increase"),
    "object": (
        *("Chinese", "English", "German", "Korean", "heat", "juice", "lamp", "lights", "music", "newspaper", "none"),
        *("shoes", "socks", "volume"),
    ),
    "location": ("bedroom", "kitchen", "none", "washroom"),
}
"""What each slot of an intent may hold."""

DOWNLOAD = (
    "Fluent Speech Commands may be downloaded freely for academic use, under the Fluent Speech Commands Public License "
    "(a PDF in it), from its page "
    "https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research/ or by\n"
    "  curl -L http://fluent.ai:2052/jf8398hf30f0381738rucj3828chfdnchs.tar.gz | tar xz"
)


def load_fluent_speech_commands(folder: Path, labels: str = "intent") -> Corpus:
    """Fluent Speech Commands as distributed (academic use): intents from speech; behind ? stands labels=action.

    The lists are the official ones: no speaker is in two of them, and the same sentences are said in all.

    Each utterance keeps `action`, `object` and `location` in `extra`.

    Args:
        folder: `fluent_speech_commands_dataset`, or the folder that holds it.
        labels: `intent` (action, object and location together: 31 classes), `action`, `object` or `location`.

    Raises:
        InputError: no such folder or choice, or no utterance that can be used.
    """
    if labels not in ("intent", *SLOTS):
        raise unknown("labels of Fluent Speech Commands", labels, ("intent", *SLOTS))
    root = folder / NAME if (folder / NAME).is_dir() else folder
    tables = {split: root / "data" / f"{name}_data.csv" for name, split in LISTS.items()}
    if not any(table.is_file() for table in tables.values()):
        raise InputError(f"{folder}: no data/train_data.csv, valid_data.csv or test_data.csv in it. {DOWNLOAD}")
    problems: list[str] = []
    read = (u for split, table in tables.items() for u in _utterances(root, table, split, labels, problems.append))
    utterances = require_utterances(read, folder, problems)
    classes = tuple(sorted({u.label for u in utterances if u.label is not None}))
    sentences = len({u.text for u in utterances})
    about = (
        "Fluent Speech Commands: read commands to a smart home; found of the published counts: "
        f"{compare_with_published(Counter(u.split for u in utterances), PUBLISHED)}; {len(classes)} classes. "
        f"Speakers are kept apart by the official lists and sentences are not: the same {sentences} are said again "
        "and again, and a sentence names its intent, so text alone may know it by heart. The protocol "
        "speaker-text keeps them apart."
    )
    name = "fluent-speech-commands"
    return Corpus(name, utterances, classes, about, problems=tuple(problems), published=PUBLISHED)


def _utterances(root: Path, table: Path, split: str, labels: str, report: Report) -> Iterator[tuple[str, Utterance]]:
    for where, row in read_rows(table, ("path", "speakerId", "transcription", *SLOTS), report):
        sound, slots = root / row["path"], {slot: row[slot].strip() for slot in SLOTS}
        wrong = [f"{slot} {value!r}" for slot, value in slots.items() if value not in SLOTS[slot]]
        speaker, text = row["speakerId"].strip(), row["transcription"].strip()
        if wrong:
            fault = f"{', '.join(wrong)}: none of the corpus's"
        elif not speaker or not text:
            fault = f"no {'transcription' if speaker else 'speakerId'}"
        elif PurePosixPath(row["path"]).parts[:-1] != ("wavs", "speakers", speaker):
            fault = f"path {row['path']!r} is not wavs/speakers/{speaker}/FILE.wav"
        else:
            fault = sound_fault(sound)
        if fault:
            report(f"{where}: {fault}")
            continue
        label = "-".join(slots.values()) if labels == "intent" else slots[labels]
        yield where, Utterance(f"{speaker}/{sound.stem}", sound, text, label, speaker, split=split, extra=slots)
