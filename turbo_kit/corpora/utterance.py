"""What a corpus is: utterances, class names, and where they come from."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from turbo_kit.config import InputError

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
    extra: Mapping[str, str | float] = field(default_factory=dict, compare=False)
    """What else a corpus says of the clip, such as ratings; no run sees it."""


@dataclass(frozen=True)
class Corpus:
    """Utterances, class names, and where they come from."""

    name: str
    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...]
    about: str = ""

    def __post_init__(self) -> None:
        if not self.utterances:
            raise InputError(f"corpus {self.name!r} has no utterance: give it at least one clip.")
        if len(self.classes) < 2:
            raise InputError(
                f"corpus {self.name!r} has {len(self.classes)} class ({', '.join(self.classes) or 'none'}): "
                "a classifier needs at least two."
            )
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
    def folds(self) -> int:
        """How many folds the corpus has."""
        from turbo_kit.corpora.folds import held_out_units

        return len(held_out_units(self))

    def fold(self, index: int) -> "Fold":
        """The fold that tests unit `index` (a group, or some of the speakers) and chooses models on the next one.

        Raises:
            InputError: no such fold, or a fold that leaks.
        """
        from turbo_kit.corpora.folds import leave_one_out

        return leave_one_out(self, index)

    def subset(self, utterances: Iterable[Utterance]) -> Self:
        """The same corpus with some of its utterances."""
        return replace(self, utterances=tuple(utterances))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that a run sees of the corpus: texts, labels, speakers, folds and the audio files' bytes."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        for u in sorted(self.utterances, key=lambda u: u.id):
            fields = [u.id, u.text, u.label, u.speaker, u.group, u.template, audio_fingerprint(u.path)]
            digest.update(json.dumps(fields).encode())
        return digest.hexdigest()


def audio_fingerprint(path: Path) -> str:
    """SHA-256 of an audio file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: the audio file cannot be read ({error.strerror}): correct its path.") from error
