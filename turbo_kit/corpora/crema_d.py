"""CREMA-D, read from its repository as it is distributed.

H. Cao et al., "CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset", IEEE Transactions on Affective Computing
5(4), 2014, https://github.com/CheyneyComputerScience/CREMA-D. Under the Open Database License 1.0.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from turbo_kit.config import InputError
from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.files import Report, compare_with_published, read_rows, require_utterances, sound_fault, visible
from turbo_kit.corpora.utterance import Utterance

SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
# How strong the emotion was to be played; a single X is in the name of one file of early copies.
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}

PUBLISHED = {"angry": 1271, "disgust": 1271, "fear": 1271, "happy": 1271, "neutral": 1087, "sad": 1271}
"""Clips with each emotion among the 7,442 of its file list."""

SILENT = ("1076_MTI_SAD_XX",)  # clips that are known to hold no speech

DOWNLOAD = (
    "CREMA-D may be downloaded freely, under the Open Database License 1.0 "
    "(http://opendatacommons.org/licenses/odbl/1.0/); its page asks users to fill in a form. With Git LFS:\n"
    "  GIT_LFS_SKIP_SMUDGE=1 git clone https://github.com/CheyneyComputerScience/CREMA-D\n"
    '  cd CREMA-D && git lfs pull --include "AudioWAV/*"'
)

# 1001_DFA_ANG_XX.wav: actor, sentence, emotion, level
_NAME = re.compile(r"(?P<actor>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<level>[A-Z]{1,2})")


def load_crema_d(folder: Path) -> Corpus:
    """CREMA-D as it is distributed (open): 91 actors say 12 sentences in 6 emotions; the words tell no emotion.

    Each utterance keeps `level` (low, medium, high or unspecified) and, where VideoDemographics.csv is there, the
    actor's `age` and `sex` in `extra`.

    Args:
        folder: the repository, which holds AudioWAV.

    Raises:
        InputError: no such folder, or no clip that can be used.
    """
    sounds = visible(folder / "AudioWAV", "*.wav")
    if not sounds:
        raise InputError(f"{folder}: no AudioWAV with WAV files in it. {DOWNLOAD}")
    problems: list[str] = []
    actors = _actors(folder / "VideoDemographics.csv", problems.append)
    read = _utterances(sounds, actors, problems.append)
    utterances = require_utterances(read, folder, problems)
    found = Counter(u.label or "" for u in utterances)
    about = (
        f"CREMA-D: {len(utterances):,} clips of actors; found of the published counts: "
        f"{compare_with_published(found, PUBLISHED)}. Warning: all say the same 12 sentences in every emotion, so the "
        "transcript cannot carry the label, and audio and text have nothing to agree on but the sentence. Folds keep "
        "speakers apart; the protocol speaker-text keeps the sentences apart as well."
    )
    classes = tuple(EMOTIONS.values())
    return Corpus("crema-d", utterances, classes, about, problems=tuple(problems), published=PUBLISHED)


def _utterances(
    sounds: list[Path], actors: dict[str, dict[str, str | float]], report: Report
) -> Iterator[tuple[str, Utterance]]:
    for sound in sounds:
        name = _NAME.fullmatch(sound.stem)
        if (
            name is None
            or name["sentence"] not in SENTENCES
            or name["emotion"] not in EMOTIONS
            or name["level"] not in LEVELS
        ):
            report(f"{sound}: not named ACTOR_SENTENCE_EMOTION_LEVEL.wav with CREMA-D's codes")
            continue
        fault = f"{sound} holds no speech, as is known of it" if sound.stem in SILENT else sound_fault(sound)
        if fault:
            report(fault)
            continue
        id = f"{name['actor']}_{name['sentence']}_{name['emotion']}_{name['level']:X<2}"
        text, label = SENTENCES[name["sentence"]], EMOTIONS[name["emotion"]]
        extra = {"level": LEVELS[name["level"]], **actors.get(name["actor"], {})}
        yield str(sound), Utterance(id, sound, text, label, name["actor"], extra=extra)


def _actors(table: Path, report: Report) -> dict[str, dict[str, str | float]]:
    """Age and sex of each actor, by the number that stands in the clips' names."""
    actors: dict[str, dict[str, str | float]] = {}
    if not table.is_file():
        return actors
    for where, row in read_rows(table, ("ActorID", "Age", "Sex"), report):
        if row["Age"].isdecimal():
            actors[row["ActorID"]] = {"age": float(row["Age"]), "sex": row["Sex"].lower()}
        else:
            report(f"{where}: age {row['Age']!r} of actor {row['ActorID']!r} is not a number")
    return actors
