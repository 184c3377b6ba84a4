"""IEMOCAP, read from its folder as the University of Southern California distributes it (licensed; not in the kit).

C. Busso et al., "IEMOCAP: interactive emotional dyadic motion capture database", Language Resources and Evaluation 42,
2008. Of each turn of the dialogues: the label and its ratings from `dialog/EmoEvaluation`, the words from
`dialog/transcriptions`, the sound from `sentences/wav`. torchaudio's class for it is not used: it gives no words and no
ratings, and passes over what it cannot read.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from turbo_kit.config import InputError
from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.files import Report, compare_with_published, read_lines, require_utterances, sound_fault, visible
from turbo_kit.corpora.utterance import Utterance

SESSIONS = range(1, 6)
PARTS = ("all", "improvised", "scripted")

# Class of each label, by the number of classes; turns with any other label are left out.
_FOUR = {"neu": "neutral", "hap": "happy", "exc": "happy", "sad": "sad", "ang": "angry"}
LABELS = {4: _FOUR, 5: _FOUR | {"fru": "frustrated"}, 6: _FOUR | {"exc": "excited", "fru": "frustrated"}}
OTHERS = ("sur", "fea", "dis", "oth", "xxx")  # of no class: surprise, fear, disgust, other, no majority

PUBLISHED = {"neu": 1708, "hap": 595, "exc": 1041, "sad": 1084, "ang": 1103, "fru": 1849}
"""Turns with each label in the whole corpus; happy, excited, sad, angry and neutral are the usual 5,531."""

# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_TURN = re.compile(
    r"\[(?P<start>\d+\.?\d*) - (?P<end>\d+\.?\d*)\]\s+(?P<id>Ses0\d[FM]_\S+_[FM]\S+)\s+(?P<label>\S+)"
    r"\s+\[(?P<valence>\d+\.?\d*), (?P<arousal>\d+\.?\d*), (?P<dominance>\d+\.?\d*)\]"
)
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
_WORDS = re.compile(r"(?P<id>Ses0\d[FM]_\S+)\s*\[[\d.]+-[\d.]+\]:\s*(?P<text>.*)")
_NAMES_A_TURN = re.compile(r"\s*\[|.*Ses0\d[FM]_")


def load_iemocap(folder: Path, classes: str = "4", part: str = "all") -> Corpus:
    """IEMOCAP as it is distributed (licensed, not in the kit); behind ? stand classes=4, 5 or 6 and part=improvised.

    Its five sessions, of two speakers each, are what folds hold out.

    Each utterance keeps `emotion` (the label as distributed), `valence`, `arousal` and `dominance` (mean ratings, 1 to
    5) and `part` (improvised or scripted) in `extra`.

    Args:
        folder: `IEMOCAP_full_release`, which holds Session1 to Session5.
        classes: `4` (happy and excited are one class: the usual 5,531 turns), `5` (and frustrated) or `6` (excited by
            itself).
        part: `all`, `improvised` or `scripted` dialogues.

    Raises:
        InputError: no such folder or choice, or no turn that can be used.
    """
    if classes not in map(str, LABELS):
        raise InputError(f"classes={classes}: IEMOCAP is read with 4, 5 or 6 classes.")
    if part not in PARTS:
        raise InputError(f"part={part}: choose one of {', '.join(PARTS)}.")
    names = LABELS[int(classes)]
    sessions = [folder / f"Session{number}" for number in SESSIONS]
    if not any(session.is_dir() for session in sessions):
        raise InputError(
            f"{folder}: no Session1 to Session5 in it. Give the folder IEMOCAP_full_release as it is distributed; "
            "IEMOCAP is had from its authors, for research, at https://sail.usc.edu/iemocap/."
        )
    problems = [f"{session}: this session is missing" for session in sessions if not session.is_dir()]
    unused: Counter[str] = Counter()
    read = (turn for session in sessions for turn in _turns(session, names, part, unused, problems.append))
    turns = require_utterances(read, folder, problems)
    about = _about(Counter(str(turn.extra["emotion"]) for turn in turns), unused, names, part)
    published: Counter[str] = Counter()
    for label, name in names.items() if part == "all" else ():
        published[name] += PUBLISHED[label]
    ordered = tuple(dict.fromkeys(names.values()))
    return Corpus("iemocap", turns, ordered, about, problems=tuple(problems), published=published)


def _turns(
    session: Path, names: dict[str, str], part: str, unused: Counter[str], report: Report
) -> Iterator[tuple[str, Utterance]]:
    """The turns of a session whose label is one of `names`, each with its place; the other labels are counted."""
    for ratings in _dialogues(session, report):
        kind = "improvised" if "_impro" in ratings.stem else "scripted"
        if part not in ("all", kind):
            continue
        transcript = session / "dialog" / "transcriptions" / ratings.name
        words = _words(transcript, report)
        for where, turn in _rated(ratings, report):
            name, label = turn["id"], turn["label"]
            if label not in names:
                unused[label] += 1
                continue
            sound = session / "sentences" / "wav" / name.rsplit("_", 1)[0] / f"{name}.wav"
            text = words.get(name, "")
            fault = sound_fault(sound) if text else f"no words of turn {name} in {transcript}"
            if fault:
                report(f"{where}: {fault}")
                continue
            speaker = f"{session.name}-{name.rsplit('_', 1)[1][0]}"  # F or M: who speaks in this turn
            seconds = float(turn["end"]) - float(turn["start"])
            rated = {scale: float(turn[scale]) for scale in ("valence", "arousal", "dominance")}
            extra = {"emotion": label, **rated, "part": kind}
            yield where, Utterance(name, sound, text, names[label], speaker, session.name, seconds=seconds, extra=extra)


def _dialogues(session: Path, report: Report) -> list[Path]:
    """The dialogues' files of labels: not those of single raters, which lie in folders below."""
    if not session.is_dir():
        return []
    evaluation = session / "dialog" / "EmoEvaluation"
    rated = visible(evaluation, "Ses*.txt")
    if not rated:
        report(f"{evaluation}: no file of labels (Ses*.txt) in it")
        return []
    known = {file.name for file in rated}
    for transcript in visible(session / "dialog" / "transcriptions", "Ses*.txt"):
        if transcript.name not in known:
            report(f"{evaluation / transcript.name}: missing; this dialogue is transcribed and has no labels")
    return rated


def _rated(ratings: Path, report: Report) -> Iterator[tuple[str, re.Match[str]]]:
    """The turns of a file of labels; lines of single raters stand between them."""
    for number, line in enumerate(read_lines(ratings, report), start=1):
        if not _NAMES_A_TURN.match(line):
            continue
        where = f"{ratings}, line {number}"
        turn = _TURN.match(line.strip())
        if turn is None:
            report(f"{where}: not [START - END] TURN LABEL [VALENCE, AROUSAL, DOMINANCE]: {line.strip()!r}")
        elif turn["label"] not in PUBLISHED and turn["label"] not in OTHERS:
            report(f"{where}: label {turn['label']!r} is none of IEMOCAP's ({', '.join((*PUBLISHED, *OTHERS))})")
        else:
            yield where, turn


def _words(transcript: Path, report: Report) -> dict[str, str]:
    """The words of each turn of a dialogue; lines without the name of a turn are sounds between turns."""
    words: dict[str, str] = {}
    for number, line in enumerate(read_lines(transcript, report), start=1):
        found = _WORDS.match(line.strip())
        if found is None and line.lstrip().startswith("Ses0"):
            report(f"{transcript}, line {number}: not TURN [START-END]: WORDS: {line.strip()!r}")
        elif found and found["id"] in words:
            report(f"{transcript}, line {number}: the words of turn {found['id']} stand above already")
        elif found:
            words[found["id"]] = found["text"].strip()
    return words


def _about(found: Counter[str], unused: Counter[str], names: dict[str, str], part: str) -> str:
    total = f"IEMOCAP: {found.total():,} labelled turns of acted dialogues in English ({part})"
    others = ", ".join(f"{label} {count:,}" for label, count in sorted(unused.items())) or "none"
    published = {label: PUBLISHED[label] for label in names}
    said = f"; found of the published counts: {compare_with_published(found, published)}" if part == "all" else ""
    return f"{total}{said}. Turns with other labels are not used: {others}."
