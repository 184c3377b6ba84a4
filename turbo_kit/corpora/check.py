"""What a corpus holds and what is wrong with it: every clip decoded, counted, compared; every fold built."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from turbo_kit.config import InputError, Protocol
from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.decoding import read_audio
from turbo_kit.corpora.files import is_file
from turbo_kit.corpora.fingerprints import audio_fingerprints
from turbo_kit.corpora.protocols import SPLITS
from turbo_kit.corpora.utterance import Utterance

if TYPE_CHECKING:
    import pandas as pd

SILENT = 10 ** (-60 / 20)  # a clip whose highest peak is lower holds no speech: -60 dB of full scale
FULL_SCALE = 0.9999  # a sample from here on may have been cut off by the recorder; 16-bit files end at 0.99997
CLIPPED = 0.001  # share of samples at full scale from which a clip is told of: a peak or two are no harm
LONG = 30.0  # seconds; longer clips are seldom single utterances, and encoders such as Whisper's hear no further
WIDEST = 8  # more classes than these get no columns in the tables of groups and speakers
ROWS = 20  # longest table
FEW = 5  # so many of similar things are shown: clips that only want a look, words that repeat, folds that leak


class Sound(NamedTuple):
    """What is known of a clip once it is decoded."""

    seconds: float
    peak: float
    """Largest absolute sample, of any channel."""
    clipped: float
    """Share of samples at full scale."""


@dataclass(frozen=True)
class CorpusCheck:
    """What `check_corpus` found."""

    corpus: Corpus
    sounds: dict[str, Sound]
    """Every clip that can be decoded, by id."""
    missing: tuple[str, ...]
    """Clips without their file, with what to do."""
    unreadable: tuple[str, ...]
    """Clips that cannot be decoded, with the reason."""
    repeated: tuple[tuple[str, ...], ...]
    """Ids of clips that hold the same sound."""
    folds: "pd.DataFrame"
    """A row for each fold without a leak: clips of its lists, and how many different texts of dev and of test stand in
    train too."""
    leaks: tuple[str, ...]
    """Why other folds cannot be had."""
    shared_words: tuple[str, ...]
    """Texts that test and train have in common, the most frequent of the folds first."""

    @property
    def usable(self) -> bool:
        """Whether runs can be made: every clip can be decoded, and every fold is free of leaks."""
        return not (self.missing or self.unreadable or self.leaks)

    def counts(self, name: Literal["label", "split", "group", "speaker"]) -> "pd.DataFrame":
        """Clips by class, split, group or speaker, with the published counts where there are any.

        Returns:
            A row for each value; none where no clip has any. Groups and speakers are also counted by class where the
            classes are few.
        """
        import pandas as pd

        clips, published = self.corpus.utterances, self.corpus.published
        values = [getattr(clip, name) or "" for clip in clips]
        found = Counter(values)
        named = {"label": self.corpus.classes, "split": SPLITS}.get(name, ())
        order = [value for value in named if value in found or value in published]
        order += sorted(set(found) - set(named))
        if order == [""]:
            return pd.DataFrame()
        none = "(unlabelled)" if name == "label" else "(none)"
        columns: dict[str, Any] = {"class" if name == "label" else name: [value or none for value in order]}
        columns["clips"] = [found[value] for value in order]
        if any(value in published for value in order):
            columns["published"] = [published.get(value, "") for value in order]
        if name in ("split", "group"):
            pairs = {(value, clip.speaker) for value, clip in zip(values, clips, strict=True)}
            speakers = Counter(value for value, _ in pairs)
            columns["speakers"] = [speakers[value] for value in order]
        if name != "label" and len(self.corpus.classes) <= WIDEST:
            by_class = Counter(zip(values, (clip.label for clip in clips), strict=True))
            columns |= {label: [by_class[value, label] for value in order] for label in self.corpus.classes}
        return pd.DataFrame(columns)

    def warnings(self) -> dict[str, list[str]]:
        """Clips that can be decoded and still want a look, by what is odd about them."""
        kinds: dict[str, Callable[[Sound], bool]] = {
            "silent: no sample above -60 dB": lambda sound: sound.peak < SILENT,
            f"clipped: more than {CLIPPED:.1%} of the samples at full scale": lambda sound: sound.clipped > CLIPPED,
            f"longer than {LONG:g} s": lambda sound: sound.seconds > LONG,
        }
        return {kind: [id for id, sound in self.sounds.items() if odd(sound)] for kind, odd in kinds.items()}


def check_corpus(corpus: Corpus, protocol: Protocol = "auto", *, progress: bool = False) -> CorpusCheck:
    """Decodes every clip of a corpus and builds every fold; what is wrong is returned and raises nothing.

    Args:
        protocol: how its folds are made, see `Corpus.fold`; clips that cannot be decoded are in none of them.
        progress: whether a bar on stderr counts the clips.
    """
    sounds, missing, unreadable = _heard(corpus.utterances, progress)
    readable = [clip for clip in corpus.utterances if clip.id in sounds]
    by_sound: dict[str, list[str]] = {}
    for clip, digest in zip(readable, audio_fingerprints([clip.path for clip in readable]), strict=True):
        by_sound.setdefault(digest, []).append(clip.id)
    folds, leaks, words = _folds(corpus, readable, protocol)
    return CorpusCheck(
        corpus=corpus,
        sounds=sounds,
        missing=tuple(missing),
        unreadable=tuple(unreadable),
        repeated=tuple(tuple(ids) for ids in by_sound.values() if len(ids) > 1),
        folds=folds,
        leaks=tuple(leaks),
        shared_words=tuple(words),
    )


def _heard(clips: Sequence[Utterance], progress: bool) -> tuple[dict[str, Sound], list[str], list[str]]:
    """The sound of each clip by id, the clips without a file, and those that cannot be decoded."""
    from tqdm.auto import tqdm

    sounds: dict[str, Sound] = {}
    missing, unreadable = list[str](), list[str]()
    with ThreadPoolExecutor() as pool:  # soundfile and NumPy release the lock of the interpreter
        heard = tqdm(pool.map(_listen, clips), "clips", len(clips), unit="clip", disable=not progress, leave=False)
        for clip, sound in zip(clips, heard, strict=True):
            if isinstance(sound, Sound):
                sounds[clip.id] = sound
            else:
                (unreadable if is_file(clip.path) else missing).append(sound)
    return sounds, missing, unreadable


def _listen(clip: Utterance) -> Sound | str:
    """What is known of a clip once it is decoded, or why it cannot be."""
    try:
        samples, rate = read_audio(clip)
    except InputError as error:
        return str(error)
    loud = np.abs(samples)
    return Sound(len(samples) / rate, float(loud.max()), float((loud >= FULL_SCALE).mean()))


def _folds(
    corpus: Corpus, clips: Sequence[Utterance], protocol: Protocol
) -> "tuple[pd.DataFrame, list[str], list[str]]":
    """A row for each fold, why others cannot be had, and the words that test and train have in common."""
    import pandas as pd

    rows, words = [], Counter[str]()
    leaks: dict[str, list[int]] = {}
    try:
        corpus = corpus.subset(clips)
        count = corpus.fold_count(protocol)
    except InputError as error:
        return pd.DataFrame(), [str(error)], []
    for index in range(count):
        try:
            fold = corpus.fold(index, protocol)
        except InputError as error:
            leaks.setdefault(str(error), []).append(index)
            continue
        shared = {name: fold.repeated_texts(name) for name in ("dev", "test")}
        words.update(shared["test"])
        row = {"fold": index} | {name: len(getattr(fold, name)) for name in SPLITS}
        rows.append(row | {f"{name} texts in train": len(found) for name, found in shared.items()})
    said = [f"fold {', '.join(map(str, folds))}: {leak}" for leak, folds in leaks.items()]
    return pd.DataFrame(rows), said, [text for text, _ in words.most_common()]


def describe(check: CorpusCheck) -> Iterator[str]:
    """The check as text for a terminal, part by part."""
    corpus = check.corpus
    faults = {
        "missing": check.missing,
        "cannot be decoded": check.unreadable,
        "same sound under two ids": [" = ".join(ids) for ids in check.repeated],
        "left out by the reader": corpus.problems,
        "folds that leak or fail": check.leaks,
    }
    counted = [[what, f"{len(found):,}" if found else "none"] for what, found in faults.items()]
    yield _table([["clips", f"{len(corpus):,}"], *counted])
    if corpus.about:
        yield textwrap.fill(corpus.about, 100)
    for column in ("label", "split", "group", "speaker"):
        if len(counts := check.counts(column)):
            yield _table([list(counts), *counts.to_numpy().tolist()], head=True)
    if len(check.folds):
        yield _table([list(check.folds), *check.folds.to_numpy().tolist()], head=True)
    if check.shared_words:
        first = ", ".join(f'"{text}"' for text in check.shared_words[:FEW])
        yield textwrap.fill(f"Texts of test that stand in train too, the most frequent first: {first}.", 100)
    if check.sounds:
        shortest, middle, longest = np.quantile([sound.seconds for sound in check.sounds.values()], [0, 0.5, 1])
        yield f"A clip lasts {shortest:.2f} to {longest:.2f} s, half of them at most {middle:.2f} s."
    for kind, ids in check.warnings().items():
        if ids:
            more = f" and {len(ids) - FEW:,} more" if len(ids) > FEW else ""
            yield f"{len(ids):,} clips are {kind}: {', '.join(ids[:FEW])}{more}"
    for what, found in faults.items():
        shown, more = found, ""
        if found is check.leaks and len(found) > FEW:  # one cause leaks into many folds
            shown, more = found[:FEW], f"\n  ... and {len(found) - FEW} more"
        if found:
            yield "\n".join([f"{what}:", *(f"  {line}" for line in shown)]) + more


def _table(rows: Sequence[Sequence[Any]], head: bool = False) -> str:
    """Rows as aligned text: the first column to the left, numbers to the right; long tables are cut."""
    shown = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows[: ROWS + head]]
    first, *others = (max(map(len, column)) for column in zip(*shown, strict=True))
    line = f"{{:<{first}}}" + "".join(f"  {{:>{width}}}" for width in others)
    lines = [line.format(*row) for row in shown]
    if head:
        lines.insert(1, "-" * len(lines[0]))
    if len(rows) > ROWS + head:
        lines.append(f"... and {len(rows) - ROWS - head} more")
    return "\n".join(line.rstrip() for line in lines)
