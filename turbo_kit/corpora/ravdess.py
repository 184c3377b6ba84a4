"""RAVDESS, its speech without video, read from its folder as it is distributed.

S. R. Livingstone and F. A. Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS)", PLoS ONE
13(5), 2018, https://zenodo.org/records/1188976. Under CC BY-NC-SA 4.0.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from turbo_kit.config import InputError
from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.files import Report, compare_with_published, require_utterances, sound_fault, visible
from turbo_kit.corpora.utterance import Utterance

ACTORS = range(1, 25)
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door.", "Dogs are sitting by the door.")
INTENSITIES = ("normal", "strong")

PUBLISHED = {emotion: 96 if emotion == "neutral" else 192 for emotion in EMOTIONS}
"""Spoken clips with each emotion, 1,440 in all: 60 of each actor, who is not neutral with strong intensity."""

DOWNLOAD = (
    "RAVDESS may be downloaded freely for purposes that are not commercial, under CC BY-NC-SA 4.0 "
    "(https://creativecommons.org/licenses/by-nc-sa/4.0/):\n"
    "  curl -LO https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip\n"
    "  unzip Audio_Speech_Actors_01-24.zip -d RAVDESS"
)

# 03-01-06-01-02-01-12.wav: modality, channel, emotion, intensity, statement, repetition, actor
_NAME = re.compile(r"\d\d-(?P<channel>0[12])-(?P<key>0[1-8]-0[12]-0[12]-0[12])-(?P<actor>[0-2]\d)")


def load_ravdess(folder: Path, classes: str = "8") -> Corpus:
    """RAVDESS's speech as it is distributed (open, not commercial): 24 actors, 2 sentences; the words tell no emotion.

    Each utterance keeps `emotion`, `intensity` (normal or strong), `repetition` and `sex` in `extra`.

    Args:
        folder: what the archive of speech unpacks to: Actor_01 to Actor_24.
        classes: `8` emotions, or `7`, calm being neutral.

    Raises:
        InputError: no such folder or choice, or no clip that can be used.
    """
    if classes not in ("7", "8"):
        raise InputError(f"classes={classes}: RAVDESS is read with 7 (calm is neutral) or 8 classes.")
    places = [folder / f"Actor_{actor:02d}" for actor in ACTORS]
    if not any(place.is_dir() for place in places):
        raise InputError(f"{folder}: no Actor_01 to Actor_24 in it. {DOWNLOAD}")
    merged = {"calm": "neutral"} if classes == "7" else {}
    problems: list[str] = []
    read = (clip for place in places for clip in _utterances(place, merged, problems.append))
    utterances = require_utterances(read, folder, problems)
    found = Counter(str(u.extra["emotion"]) for u in utterances)
    about = (
        f"RAVDESS: {len(utterances):,} spoken clips of actors; found of the published counts: "
        f"{compare_with_published(found, PUBLISHED)}. Warning: all say the same two sentences in every emotion, so the "
        "transcript cannot carry the label, and audio and text have nothing to agree on but the sentence. Folds keep "
        "speakers apart; two sentences are too few to keep them apart as well."
    )
    names = tuple(dict.fromkeys(merged.get(emotion, emotion) for emotion in EMOTIONS))
    published = Counter({f"{actor:02d}": 60 for actor in ACTORS})
    for emotion, count in PUBLISHED.items():
        published[merged.get(emotion, emotion)] += count
    return Corpus("ravdess", utterances, names, about, problems=tuple(problems), published=published)


def _utterances(place: Path, merged: dict[str, str], report: Report) -> Iterator[tuple[str, Utterance]]:
    """The spoken clips of an actor's folder; songs, which another archive adds to it, are not read."""
    actor = place.name.removeprefix("Actor_")
    if not place.is_dir():
        report(f"{place}: this actor is missing")
        return
    codes = product(range(1, 9), (1, 2), (1, 2), (1, 2))  # of emotion, intensity, statement and repetition
    keys = ("-".join(f"{code:02d}" for code in key) for key in codes if key[:2] != (1, 2))  # neutral is never strong
    expected = {sound.name: sound for sound in (place / f"03-01-{key}-{actor}.wav" for key in keys)}
    for sound in visible(place, "*.wav"):
        name = _NAME.fullmatch(sound.stem)
        song = name is not None and name["channel"] == "02" and name["actor"] == actor
        if sound.name not in expected and not song:
            report(f"{sound}: not named 03-01-EMOTION-INTENSITY-STATEMENT-REPETITION-{actor}.wav with RAVDESS's codes")
    for sound in expected.values():
        if fault := sound_fault(sound):
            report(fault)
            continue
        emotion, intensity, statement, repetition = (int(code) for code in sound.stem.split("-")[2:6])
        text, played = STATEMENTS[statement - 1], EMOTIONS[emotion - 1]
        extra: dict[str, str | float] = {"emotion": played, "intensity": INTENSITIES[intensity - 1]}
        extra["repetition"] = float(repetition)
        extra["sex"] = "male" if int(actor) % 2 else "female"
        yield str(sound), Utterance(sound.stem, sound, text, merged.get(played, played), actor, extra=extra)
