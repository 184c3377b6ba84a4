"""Small corpora in the exact layouts of the real ones, with sound of which no two files are alike.

Nothing in them is from the corpora: the sound is tones, or the clips that a caller gives, and the words are made up.
"""

import itertools
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.io import wavfile

from turbo_kit import InputError, load_corpus
from turbo_kit.corpora.decoding import SAMPLE_RATE, decode
from turbo_kit.corpora.utterance import Utterance

IEMOCAP_LABELS = {
    "xxx": 2507,
    "fru": 1849,
    "neu": 1708,
    "ang": 1103,
    "sad": 1084,
    "exc": 1041,
    "hap": 595,
    "sur": 107,
    "fea": 40,
    "oth": 3,
    "dis": 2,
}
"""Turns with each label in IEMOCAP: 10,039."""

IEMOCAP_CODE = {"neutral": "neu", "happy": "hap", "sad": "sad", "angry": "ang"}

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
RATERS = (
    "C-E2:\tNeutral;\t()\nC-F1:\tNeutral; Other;\t(curious)\nC-E4:\tFrustration;\t()\n"
    "A-E3:\tval 3; act 2; dom  2;\t()\nA-F1:\tval 2; act 3; dom  3;\t()\n\n"
)


def edit(path: Path, old: str, new: str) -> None:
    """Replaces what a file holds once, and there must be."""
    content = path.read_bytes()
    assert old.encode("cp1252") in content
    path.write_bytes(content.replace(old.encode("cp1252"), new.encode("cp1252"), 1))


def assert_told(name: str, said: str, left: int, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be used is left out, named with its file and line, counted, and an error where one asks for that."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        corpus = load_corpus(name)
    assert any(said in problem for problem in corpus.problems), corpus.problems
    assert len(corpus) == left
    assert f"{len(corpus.problems)} lines or files cannot be used" in caplog.text
    with pytest.raises(InputError, match="cannot be used") as error:
        load_corpus(name, strict=True)
    assert said in str(error.value)


def write_tone(path: Path, name: str = "") -> None:
    """A tone of 0.05 s whose pitch and phase follow the name, so that no two files hold the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32((name or str(path)).encode())
    times = np.arange(SAMPLE_RATE // 20) / SAMPLE_RATE
    samples = 0.2 * np.sin(2 * np.pi * (200 + seed % 1000) * times + seed)
    wavfile.write(path, SAMPLE_RATE, (32767 * samples).astype(np.int16))  # ten times as quick as soundfile


def write_iemocap(
    root: Path,
    *,
    dialogues: int = 2,
    turns: int = 10,
    labels: Iterable[str] = ("neu", "hap", "exc", "sad", "ang", "fru", "xxx"),
    clips: Sequence[Utterance] = (),
) -> Path:
    """A folder in the layout of IEMOCAP: 5 sessions, 10 speakers, two in each dialogue in turn.

    Args:
        root: where `IEMOCAP_full_release` is made.
        dialogues: in each session, half of them improvised.
        turns: in each dialogue.
        labels: of the turns one after another, again and again.
        clips: speech to use in the place of tones, of at least 10 speakers with a class of `IEMOCAP_CODE` each: a
            speaker of the corpus speaks with the voice, the words and the labels of one of them.

    Returns:
        The folder `IEMOCAP_full_release`.
    """
    folder = root / "IEMOCAP_full_release"
    voices = [
        [clip for clip in clips if clip.speaker == speaker] for speaker in dict.fromkeys(c.speaker for c in clips)
    ]
    cycle = itertools.cycle(labels)
    for session in range(1, 6):
        said = {side: iter(voices[2 * session - 2 + place]) for place, side in enumerate("FM")} if clips else {}
        for name in iemocap_dialogues(session, dialogues):
            spoken = []
            for number in range(turns):
                side = "FM"[number % 2]
                turn = f"{name}_{side}{number // 2:03d}"
                sound = _iemocap_wav(folder / f"Session{session}", turn)
                if clips:
                    clip = next(said[side])
                    soundfile.write(sound, decode(clip), SAMPLE_RATE)
                    spoken.append((turn, IEMOCAP_CODE[str(clip.label)], clip.text))
                else:
                    write_tone(sound, turn)
                    spoken.append((turn, next(cycle), f"This is what I say in turn {number} of {name[6:]}."))
            write_iemocap_dialogue(folder / f"Session{session}", name, spoken)
    return folder


def write_iemocap_size(root: Path) -> Path:
    """As many turns, labels and dialogues as IEMOCAP has: 10,039 turns in 151 dialogues."""
    counts = dict(IEMOCAP_LABELS)
    shuffled = np.random.default_rng(0).permutation([label for label, count in counts.items() for _ in range(count)])
    folder, names = root / "IEMOCAP_full_release", []
    for session in range(1, 6):
        names += [(session, name) for name in iemocap_dialogues(session, 31 if session == 1 else 30)]
    for (session, name), part in zip(names, np.array_split(shuffled, len(names)), strict=True):
        spoken = [
            (f"{name}_{'FM'[i % 2]}{i // 2:03d}", str(label), f"This is what I say, number {i}.")
            for i, label in enumerate(part)
        ]
        for turn, _, _ in spoken:
            write_tone(_iemocap_wav(folder / f"Session{session}", turn), turn)
        write_iemocap_dialogue(folder / f"Session{session}", name, spoken)
    return folder


def iemocap_dialogues(session: int, count: int) -> list[str]:
    """Names of dialogues as IEMOCAP has them, the improvised ones first."""
    kinds = [f"impro{number:02d}" for number in range(1, count // 4 + 2)]
    kinds += [f"script{number // 3 + 1:02d}_{number % 3 + 1}" for number in range(count // 4 + 1)]
    improvised = count - count // 2
    names = [f"Ses{session:02d}{side}_{kind}" for kind in kinds for side in "FM"]
    return [n for n in names if "impro" in n][:improvised] + [n for n in names if "script" in n][: count // 2]


def write_iemocap_dialogue(session: Path, name: str, spoken: Sequence[tuple[str, str, str]]) -> None:
    """The labels and the transcript of a dialogue, from (turn, label, words); its sound lies there already."""
    ratings, words, start = [HEADER], ["M: (breathing)\n"], 0.0
    for turn, label, text in spoken:
        end = start + soundfile.info(_iemocap_wav(session, turn)).duration
        ratings.append(f"[{start:.4f} - {end:.4f}]\t{turn}\t{label}\t[2.5000, 3.0000, 3.5000]\n{RATERS}")
        words.append(f"{turn} [{start:08.4f}-{end:08.4f}]: {text}\n")
        start = end + 0.5
    words.append(f"{name}_MXX0 [999.0000-999.5000]: Mm.\n")  # a sound that is transcribed and not rated
    for folder, content in (("EmoEvaluation", ratings), ("transcriptions", words)):
        file = session / "dialog" / folder / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        ends = "\r\n" if folder == "transcriptions" else "\n"
        file.write_bytes("".join(content).replace("\n", ends).encode("cp1252"))


def _iemocap_wav(session: Path, turn: str) -> Path:
    path = session / "sentences" / "wav" / turn.rsplit("_", 1)[0] / f"{turn}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


MELD_LISTS = {
    "train": ("train", "train/train_splits"),
    "dev": (".", "dev_splits_complete"),
    "test": (".", "output_repeated_splits_test"),
}
"""Where MELD's archives put the table and the clips of each list."""

MELD_ROWS = [
    ("I told you, it\u2019s \u201cover\u201d\u2026", "Rachel", "anger", "negative"),
    ("Oh my God!", "Joey", "surprise", "positive"),
    ("Okay.", "Ross", "neutral", "neutral"),
    ("I miss her, I really do.", "Rachel", "sadness", "negative"),
    ("We won!", "The Waiter", "joy", "positive"),
    ("There's a thing under it.", "Joey", "fear", "negative"),
    ('He said ""eat it"", and it was blue.', "Ross", "disgust", "negative"),
]


def write_meld(root: Path, rows: Sequence[tuple[str, str, str, str]] = MELD_ROWS) -> Path:
    """A folder in the layout of MELD.Raw once its archives are unpacked and its sound is extracted."""
    folder = root / "MELD.Raw"
    for name, (place, clips) in MELD_LISTS.items():
        lines = ["Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"]
        for number, (text, speaker, emotion, sentiment) in enumerate(rows):
            dialogue, turn = divmod(number, 4)
            lines.append(
                f'{number + 1},"{text}",{speaker},{emotion},{sentiment},{dialogue},{turn},8,21,'
                f'"00:16:{number:02d},059","00:16:{number + 1:02d},731"'
            )
            stem = folder / clips / f"dia{dialogue}_utt{turn}"
            write_tone(stem.with_suffix(".wav"), f"{name} {stem.name}")
            stem.with_suffix(".mp4").write_bytes(b"a video")
        table = folder / place / f"{name}_sent_emo.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_bytes("\n".join([*lines, ""]).encode("cp1252" if name == "train" else "utf-8"))
    return folder


def write_crema_d(root: Path, actors: Sequence[int] = (1001, 1002, 1003, 1004, 1005, 1006)) -> Path:
    """A folder in the layout of CREMA-D: three sentences in six emotions by each actor."""
    folder = root / "CREMA-D"
    for actor in actors:
        for sentence in ("IEO", "DFA", "TSI"):
            for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
                level = "HI" if sentence == "IEO" and emotion != "NEU" else "XX"
                write_tone(folder / "AudioWAV" / f"{actor}_{sentence}_{emotion}_{level}.wav")
    rows = ['"ActorID","Age","Sex","Race","Ethnicity"']
    rows += [
        f'{actor},{20 + actor % 50},"{"Male" if actor % 2 else "Female"}","Asian","Not Hispanic"' for actor in actors
    ]
    (folder / "VideoDemographics.csv").write_text("\n".join([*rows, ""]))
    return folder


def ravdess_names(actor: int) -> Iterator[str]:
    """Names of the 60 spoken clips of an actor."""
    for emotion in range(1, 9):
        for intensity, statement, repetition in itertools.product((1, 2), repeat=3):
            if emotion > 1 or intensity == 1:  # nothing is neutral and strong
                yield f"03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}.wav"


def write_ravdess(root: Path, actors: Sequence[int] = range(1, 25)) -> Path:
    """A folder in the layout of RAVDESS's archive of speech."""
    folder = root / "RAVDESS"
    for actor in actors:
        for name in ravdess_names(actor):
            write_tone(folder / f"Actor_{actor:02d}" / name)
    return folder


FLUENT_ROWS = [
    ("Turn on the lights", "activate", "lights", "none"),
    ("Switch off the lamp, please", "deactivate", "lamp", "none"),
    ("Heat up the kitchen", "increase", "heat", "kitchen"),
    ("Language settings", "change language", "none", "none"),
]


def write_fluent(root: Path) -> Path:
    """A folder in the layout of Fluent Speech Commands: each list has its speakers, who say the same sentences."""
    folder = root / "fluent_speech_commands_dataset"
    (folder / "data").mkdir(parents=True)
    for name, speakers in {"train": ["2BqVo8", "4BrX8a", "9Jvk1q"], "valid": ["5o9BvR"], "test": ["7B4XmN"]}.items():
        lines, number = [",path,speakerId,transcription,action,object,location"], 0
        for speaker in speakers:
            for text, *slots in FLUENT_ROWS:
                path = f"wavs/speakers/{speaker}/{zlib.crc32(f'{speaker}{text}'.encode()):08x}-4532-11e9.wav"
                write_tone(folder / path)
                quoted = f'"{text}"' if "," in text else text
                lines.append(",".join([str(number), path, speaker, quoted, *slots]))
                number += 1
        (folder / "data" / f"{name}_data.csv").write_text("\n".join([*lines, ""]))
    return folder
