"""What a corpus is: utterances, class names, and where they come from; and a fold of it, proven free of leaks."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

from turbo_kit.config import InputError, Protocol
from turbo_kit.corpora.fingerprints import audio_fingerprints
from turbo_kit.corpora.leaks import check_disjoint, plain_text
from turbo_kit.corpora.protocols import fold_count, split_utterances
from turbo_kit.corpora.utterance import UNLABELLED, Utterance


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
        return fold_count(self.name, self.utterances, protocol)

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
        lists, official = split_utterances(self.name, self.utterances, index, protocol)
        parts = {name: self.subset(utterances) for name, utterances in lists.items()}
        if not official:  # what the official lists share, others need not
            parts = {name: replace(part, shared=()) for name, part in parts.items()}
        return Fold(**parts)

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


@dataclass(frozen=True)
class Fold:
    """Train, dev and test lists of one corpus; building one proves that nothing leaks between them.

    Raises:
        InputError: an utterance, a speaker, a recording (by its content) or a sentence template that stands in two of
            the lists, or a class that occurs in dev or test and never in train. Only what the corpus itself says that
            its official lists share (`Corpus.shared`) may stand in two.
    """

    train: Corpus
    dev: Corpus
    test: Corpus

    def __post_init__(self) -> None:
        lists = {"train": self.train, "dev": self.dev, "test": self.test}
        check_disjoint({name: corpus.utterances for name, corpus in lists.items()}, self.train.shared)
        known = {u.label for u in self.train.utterances}
        for name in ("dev", "test"):
            for u in lists[name].utterances:
                if u.label is not None and u.label not in known:
                    raise InputError(
                        f"label {u.label!r} of utterance {u.id!r} in {name} never occurs in train: "
                        "correct the label, or fold the corpus so that every class can be learnt."
                    )

    def repeated_texts(self, name: str) -> list[str]:
        """Transcripts of a list that stand in train too, the most frequent first; spelling and marks do not count.

        Short answers repeat in any talk and are no leak by themselves; where they are many, a model may know the words
        by heart, and the protocol `speaker-text` keeps them apart.

        Args:
            name: `dev` or `test`.
        """
        seen = {plain_text(u.gold) for u in self.train.utterances}
        found = Counter(u.gold for u in getattr(self, name).utterances if plain_text(u.gold) in seen)
        return [text for text, _ in found.most_common()]
