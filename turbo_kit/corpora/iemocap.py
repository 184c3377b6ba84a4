"""IEMOCAP, read from its folder as the University of Southern California distributes it (licensed; not in the kit).

C. Busso et al., "IEMOCAP: interactive emotional dyadic motion capture database", Language Resources and Evaluation 42,
2008. Of each turn of the dialogues: the label and its ratings from `dialog/EmoEvaluation`, the words from
`dialog/transcriptions`, the sound from `sentences/wav`.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from turbo_kit.config import InputError
from turbo_kit.corpora.utterance import Corpus, Utterance

log = logging.getLogger(__name__)

SESSIONS = range(1, 6)
PARTS = ("all", "improvised", "scripted")

_FOUR = {"neu": "neutral", "hap": "happy", "exc": "happy", "sad": "sad", "ang": "angry"}
LABELS = {4: _FOUR, 5: _FOUR | {"fru": "frustrated"}, 6: _FOUR | {"exc": "excited", "fru": "frustrated"}}
"""Class of each label, by the number of classes; turns with any other label (such as xxx: no majority) are left out."""

PUBLISHED = {"neu": 1708, "hap": 595, "exc": 1041, "sad": 1084, "ang": 1103, "fru": 1849}
"""Turns with each label in the whole corpus; happy, excited, sad, angry and neutral are the usual 5,531."""

# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_TURN = re.compile(
    r"\[(?P<start>[\d.]+) - (?P<end>[\d.]+)\]\s+(?P<id>Ses0\d[FM]_\S+_[FM]\S+)\s+(?P<label>[a-z]{3})"
    r"\s+\[(?P<valence>[\d.]+), (?P<arousal>[\d.]+), (?P<dominance>[\d.]+)\]"
)
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
_WORDS = re.compile(r"(?P<id>Ses0\d[FM]_\S+)\s*\[[\d.]+-[\d.]+\]:\s*(?P<text>.*)")


def load_iemocap(folder: Path, classes: str = "4", part: str = "all") -> Corpus:
    """IEMOCAP as it is distributed (licensed, not in the kit); behind ? stand classes=4, 5 or 6 and part=improvised.

    Its five sessions, of two speakers each, are what folds hold out.

    Each utterance keeps `valence`, `arousal` and `dominance` (mean ratings, 1 to 5) and `part` (improvised or
    scripted) in `extra`.

    Args:
        folder: `IEMOCAP_full_release`, which holds Session1 to Session5.
        classes: `4` (happy and excited are one class: the usual 5,531 turns), `5` (and frustrated) or `6` (excited by
            itself).
        part: `all`, `improvised` or `scripted` dialogues.

    Raises:
        InputError: no such folder or choice, or a labelled turn without a transcript or a sound file.
    """
    if classes not in map(str, LABELS):
        raise InputError(f"classes={classes}: IEMOCAP is read with 4, 5 or 6 classes.")
    if part not in PARTS:
        raise InputError(f"part={part}: choose one of {', '.join(PARTS)}.")
    names = LABELS[int(classes)]
    sessions = [folder / f"Session{number}" for number in SESSIONS if (folder / f"Session{number}").is_dir()]
    if not sessions:
        raise InputError(
            f"{folder}: no Session1 to Session5 in it. Give the folder IEMOCAP_full_release as it is distributed; "
            "IEMOCAP is had from its authors, for research, at https://sail.usc.edu/iemocap/."
        )
    if len(sessions) < len(SESSIONS):
        log.warning("%s holds %d of the 5 sessions.", folder, len(sessions))
    found = [turn for session in sessions for turn in _turns(session, names, part)]
    about = _about(Counter(label for _, label in found), names, part)
    return Corpus("iemocap", tuple(turn for turn, _ in found), tuple(dict.fromkeys(names.values())), about)


def _turns(session: Path, names: dict[str, str], part: str) -> Iterator[tuple[Utterance, str]]:
    """The turns of a session whose label is one of `names`, each with that label."""
    for ratings in _files(session / "dialog" / "EmoEvaluation"):
        kind = "improvised" if "_impro" in ratings.stem else "scripted"
        if part not in ("all", kind):
            continue
        transcripts = session / "dialog" / "transcriptions" / ratings.name
        words = {match["id"]: match["text"].strip() for match in _WORDS.finditer(_text(transcripts))}
        for match in _TURN.finditer(_text(ratings)):
            name, label = match["id"], match["label"]
            if label not in names:
                continue
            if not words.get(name):
                raise InputError(f"{transcripts}: no words of the labelled turn {name}. Restore it as distributed.")
            rated = {scale: float(match[scale]) for scale in ("valence", "arousal", "dominance")}
            utterance = Utterance(
                id=name,
                path=_sound(session, name),
                text=words[name],
                label=names[label],
                speaker=f"{session.name}-{name.rsplit('_', 1)[1][0]}",  # F or M: who speaks in this turn
                group=session.name,
                seconds=float(match["end"]) - float(match["start"]),
                extra=rated | {"part": kind},
            )
            yield utterance, label


def _sound(session: Path, name: str) -> Path:
    path = session / "sentences" / "wav" / name.rsplit("_", 1)[0] / f"{name}.wav"
    if not path.is_file():
        raise InputError(f"{path}: no sound of the labelled turn {name}. Restore the file as distributed.")
    return path


def _files(folder: Path) -> list[Path]:
    """The dialogues' own files: not those of single raters in folders below, nor what macOS leaves beside a file."""
    files = sorted(folder.glob("Ses*.txt"))
    if not files:
        raise InputError(f"{folder}: no file of labels (Ses*.txt) in it. Restore the folder as distributed.")
    return files


def _text(path: Path) -> str:
    """A file's text; a few of them are not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Restore the file as distributed.") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _about(labels: Counter[str], names: dict[str, str], part: str) -> str:
    total = f"{labels.total():,} labelled turns of acted dialogues in English ({part})"
    if part != "all":
        return f"IEMOCAP: {total}."
    said = ", ".join(f"{label} {labels[label]:,} of {PUBLISHED[label]:,}" for label in names)
    return f"IEMOCAP: {total}; found of the published counts: {said}."
