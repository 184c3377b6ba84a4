"""MELD, read from its folder as its authors distribute it, once the sound is taken out of its videos.

S. Poria et al., "MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations", ACL 2019
(arXiv 1810.02508), https://affective-meld.github.io. Dialogues of the television series Friends; its repository is
under GPL-3.0, the series is its makers'.
"""

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from turbo_kit.config import InputError, unknown
from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.files import Report, compare_with_published, read_rows, require_utterances, sound_fault
from turbo_kit.corpora.utterance import Utterance

EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
SENTIMENTS = ("neutral", "positive", "negative")
CLASSES = {"emotion": EMOTIONS, "sentiment": SENTIMENTS}

# The folder of clips of each list.
LISTS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}

PUBLISHED = {"train": 9989, "dev": 1109, "test": 2610}
"""Utterances of each list."""

PUBLISHED_EMOTIONS = dict(zip(EMOTIONS, (6436, 2308, 1636, 1607, 1002, 361, 358), strict=True))
"""Utterances with each emotion, in all three lists."""

BROKEN = {
    "train-dia125_utt3": "its video is broken as distributed: https://github.com/declare-lab/MELD/issues/39",
    "dev-dia110_utt7": "its video is missing as distributed: https://github.com/declare-lab/MELD/issues/22",
}
"""What is known of clips without sound."""

COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")

DOWNLOAD = (
    "MELD is had from its authors (https://affective-meld.github.io; repository under GPL-3.0, the clips are of a "
    "television series):\n"
    "  curl -LO http://web.eecs.umich.edu/~mihalcea/downloads/MELD.Raw.tar.gz && tar xzf MELD.Raw.tar.gz\n"
    "  cd MELD.Raw && for list in train dev test; do tar xzf $list.tar.gz; done"
)


def load_meld(folder: Path, labels: str = "emotion") -> Corpus:
    """MELD as it is distributed, its sound extracted by the command that is told; behind ? stands labels=sentiment.

    The lists are the official ones; the same actors speak in all three.

    Each utterance keeps `emotion`, `sentiment`, `dialogue`, `season` and `episode` in `extra`.

    Args:
        folder: `MELD.Raw`, its three archives unpacked in it, with a WAV file beside each video.
        labels: `emotion` (7 classes) or `sentiment` (3).

    Raises:
        InputError: no such folder or choice, sound that is not extracted yet, or no utterance that can be used.
    """
    if labels not in CLASSES:
        raise unknown("labels of MELD", labels, CLASSES)
    tables = {name: table for name in LISTS if (table := _find(folder, name, f"{name}_sent_emo.csv"))}
    if not tables:
        raise InputError(f"{folder}: no train_sent_emo.csv, dev_sent_emo.csv or test_sent_emo.csv in it.\n{DOWNLOAD}")
    clips = {name: _find(folder, name, LISTS[name]) for name in tables}
    if not any(place and any(place.glob("dia*.wav")) for place in clips.values()):
        raise InputError(
            f"{folder}: no sound beside the videos ({', '.join(LISTS.values())}). Extract it with ffmpeg, as mono WAV "
            f"files at 16 kHz:\n  {extract_command(folder)}"
        )
    problems = [f"{folder}: no {name}_sent_emo.csv in it" for name in LISTS if name not in tables]
    read = (
        found
        for name, table in tables.items()
        for found in _utterances(name, table, clips[name] or table.parent / LISTS[name], labels, problems.append)
    )
    utterances = require_utterances(read, folder, problems)
    return Corpus(
        "meld",
        utterances,
        CLASSES[labels],
        _about(utterances),
        shared=("speaker",),
        problems=tuple(problems),
        published=PUBLISHED | (PUBLISHED_EMOTIONS if labels == "emotion" else {}),
    )


def extract_command(folder: Path) -> str:
    """The shell command that writes the sound of each clip beside its video; started again, it goes on."""
    convert = 'ffmpeg -nostdin -loglevel error -n -i "$0" -vn -ac 1 -ar 16000 "${0%.mp4}.wav"'
    return f"find {shlex.quote(str(folder))} -name 'dia*_utt*.mp4' -exec sh -c '{convert}' {{}} \\;"


def _find(folder: Path, name: str, wanted: str) -> Path | None:
    """A table or a folder of clips: some of MELD's archives have a folder of their own, and some have not."""
    return next((path for path in (folder / wanted, folder / name / wanted) if path.exists()), None)


def _utterances(name: str, table: Path, clips: Path, labels: str, report: Report) -> Iterator[tuple[str, Utterance]]:
    for where, row in read_rows(table, COLUMNS, report):
        stem = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
        key = f"{name}-{stem}"
        emotion, sentiment = row["Emotion"].strip().lower(), row["Sentiment"].strip().lower()
        text, speaker = row["Utterance"].strip(), row["Speaker"].strip()
        if not row["Dialogue_ID"].isdigit() or not row["Utterance_ID"].isdigit():
            fault = f"dialogue {row['Dialogue_ID']!r}, utterance {row['Utterance_ID']!r}: not both are numbers"
        elif emotion not in EMOTIONS or sentiment not in SENTIMENTS:
            fault = f"emotion {emotion!r}, sentiment {sentiment!r}: not both are MELD's"
        elif not text or not speaker:
            fault = f"{stem} has no {'speaker' if text else 'words'}"
        elif fault := sound_fault(clips / f"{stem}.wav"):
            fault += f" ({BROKEN[key]})" if key in BROKEN else ""
        if fault:
            report(f"{where}: {fault}")
            continue
        extra = {"emotion": emotion, "sentiment": sentiment, "dialogue": f"{name}-dia{row['Dialogue_ID']}"}
        extra |= {"season": row.get("Season", ""), "episode": row.get("Episode", "")}
        yield where, Utterance(key, clips / f"{stem}.wav", text, extra[labels], speaker, split=name, extra=extra)


def _about(utterances: tuple[Utterance, ...]) -> str:
    lists = compare_with_published(Counter(u.split for u in utterances), PUBLISHED)
    emotions = compare_with_published(Counter(str(u.extra["emotion"]) for u in utterances), PUBLISHED_EMOTIONS)
    return (
        f"MELD: utterances of the television series Friends; found of the published counts: {lists}; {emotions}. The "
        "official lists share their speakers: the same actors play the main parts in all three, so scores are not of "
        "unseen speakers. Some clips are cut wrongly and last for minutes, or hold other words than the transcript "
        "(https://github.com/declare-lab/MELD/issues/20): max_seconds bounds them."
    )
