"""What a corpus is: utterances, class names, and where they come from."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from turbo_kit.config import InputError, Protocol
from turbo_kit.corpora.fingerprints import audio_fingerprints

if TYPE_CHECKING:
    from turbo_kit.corpora.folds import Fold

UNLABELLED = -100
"""The label index of a clip without a label, as PyTorch's cross-entropy ignores it."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip, its transcript, its label, its speaker and session."""

    id: str
    path: Path
    text: str
    label: str | None
    speaker: str
    group: str = ""
    """Session, recording or other unit that a fold holds out as a whole; empty: the corpus has none."""
    template: str = ""
    """What the sentence is an instance of, where sentences repeat; clips of one template share a side of the fold."""
    seconds: float = math.nan
    split: str = ""
    """`train`, `dev` or `test`, where a corpus is distributed with such lists; empty: it has none."""
    extra: Mapping[str, str | float] = field(default_factory=dict, compare=False)
    """What else a corpus says of the clip, such as ratings; no run sees it."""
    original: str | None = None
    """The transcript that the corpus came with, where `text` is another one; folds and scores go by it."""
    snr: float = math.inf
    """Signal-to-noise ratio in dB of the white noise that is laid over the clip when it is decoded."""

    @property
    def gold(self) -> str:
        """The transcript that the corpus came with."""
        return self.text if self.original is None else self.original


@dataclass(frozen=True)
class Corpus:
    """Utterances, class names, and where they come from."""

    name: str
    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...]
    about: str = ""
    shared: tuple[str, ...] = ()
    """What the lists that a corpus is distributed with have in common, such as `speaker`; no other leak is let pass."""
    problems: tuple[str, ...] = ()
    """Lines and files that cannot be used and were left out, each with file, line and reason."""
    published: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Numbers of clips that the corpus' authors published, by class, split, group or speaker."""

    def __post_init__(self) -> None:
        if not self.utterances:
            raise InputError(f"corpus {self.name!r} has no utterance: give it at least one clip.")
        if len(self.classes) < 2:
            raise InputError(
                f"corpus {self.name!r} has {len(self.classes)} class ({', '.join(self.classes) or 'none'}): "
                "a classifier needs at least two."
            )
        if repeated := [name for place, name in enumerate(self.classes) if name in self.classes[:place]]:
            raise InputError(f"corpus {self.name!r}: class {repeated[0]!r} is named twice; name each class once.")
        seen: set[str] = set()
        for utterance in self.utterances:
            if utterance.id in seen:
                raise InputError(f"corpus {self.name!r}: id {utterance.id!r} occurs twice; ids must be unique.")
            seen.add(utterance.id)
            if utterance.label is not None and utterance.label not in self.classes:
                raise InputError(
                    f"corpus {self.name!r}: utterance {utterance.id!r} has label {utterance.label!r}, which is none "
                    f"of the classes ({', '.join(self.classes)}): correct the label, or name the class."
                )

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def labels(self) -> list[int]:
        """Index of each utterance's class; -100 where there is no label."""
        index = {name: i for i, name in enumerate(self.classes)}
        return [UNLABELLED if u.label is None else index[u.label] for u in self.utterances]

    @property
    def transcripts(self) -> list[int]:
        """A number for each utterance's text, the same for the same text."""
        places = {text: place for place, text in enumerate(sorted({u.text for u in self.utterances}))}
        return [places[u.text] for u in self.utterances]

    @property
    def folds(self) -> int:
        """How many folds the corpus has by its own protocol."""
        return self.fold_count()

    def fold_count(self, protocol: Protocol = "auto") -> int:
        """How many folds a protocol makes of the corpus.

        Raises:
            InputError: the corpus lacks what the protocol goes by.
        """
        from turbo_kit.corpora.folds import fold_count

        return fold_count(self, protocol)

    def fold(self, index: int, protocol: Protocol = "auto") -> "Fold":
        """The train, development and test lists of one fold.

        Args:
            index: 0 up to `fold_count(protocol)` less one.
            protocol: `official` = the lists that the corpus is distributed with, one fold; `group` = leave one group
                (session) out; `speaker` = leave one speaker out; `speaker-text` = leave out some of the speakers and
                some of the sentences, so that neither was seen in training; `auto` = the first of these that fits:
                official, group, speakers dealt into at most five units. Unit `index` is tested and the next one
                chooses the model.

        Raises:
            InputError: no such fold, a corpus without what the protocol goes by, or a fold that leaks.
        """
        from turbo_kit.corpora.folds import make_fold

        return make_fold(self, index, protocol)

    def subset(self, utterances: Iterable[Utterance]) -> Self:
        """The same corpus with some of its utterances."""
        return replace(self, utterances=tuple(utterances))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that a run sees of the corpus: texts, labels, speakers, folds, sound and noise."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        ordered = sorted(self.utterances, key=lambda u: u.id)
        for u, audio in zip(ordered, audio_fingerprints([u.path for u in ordered]), strict=True):
            fields = [u.id, u.text, u.gold, u.label, u.speaker, u.group, u.template, u.split, audio, u.snr]
            digest.update(json.dumps(fields).encode())
        return digest.hexdigest()
