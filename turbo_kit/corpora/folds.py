"""Folds: train, development and test lists of one corpus, proven disjoint by speaker, sound and sentence."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple, TypeVar

from turbo_kit.config import InputError, Protocol
from turbo_kit.corpora.fingerprints import audio_fingerprints
from turbo_kit.corpora.utterance import Corpus, Utterance

UNITS = 5
"""Speakers of a corpus without groups, or sentences that repeat, are dealt into at most so many units."""

SPLITS = ("train", "dev", "test")

T = TypeVar("T")


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
        named = [_List(name, corpus.utterances, leak_keys(corpus)) for name, corpus in lists.items()]
        for one, other in combinations(named, 2):
            for kind in one.keys:
                if kind not in self.train.shared:
                    _prove_disjoint(kind, one, other)
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


class _List(NamedTuple):
    """A list of a fold, and what must not stand in another one too."""

    name: str
    utterances: tuple[Utterance, ...]
    keys: dict[str, list[str]]


def leak_keys(corpus: Corpus) -> dict[str, list[str]]:
    """What must not stand in two lists of a fold, kind by kind, an entry for each utterance: empty where it has none.

    Words count where a corpus names its sentence templates; elsewhere short answers may repeat.
    """
    utterances = corpus.utterances
    templates = all(u.template for u in utterances)
    return {
        "id": [u.id for u in utterances],
        "speaker": [u.speaker for u in utterances],
        "template": [u.template for u in utterances],
        "text": [plain_text(u.gold) if templates else "" for u in utterances],
        "audio": audio_fingerprints([u.path for u in utterances]),
    }


def plain_text(text: str) -> str:
    """A transcript as its words alone: small letters, no punctuation."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.casefold()))


def sentence(utterance: Utterance) -> str:
    """What makes two clips say the same: the template, or else the words."""
    return utterance.template or plain_text(utterance.gold)


def fold_count(corpus: Corpus, protocol: Protocol = "auto") -> int:
    """How many folds a protocol makes of a corpus: see `Corpus.fold`."""
    return 1 if _chosen(corpus, protocol) == "official" else len(_units(corpus, protocol))


def make_fold(corpus: Corpus, index: int, protocol: Protocol = "auto") -> Fold:
    """One fold of a corpus: see `Corpus.fold`."""
    count = fold_count(corpus, protocol)
    official = _chosen(corpus, protocol) == "official"
    if count < 3 and not official:
        raise InputError(
            f"corpus {corpus.name!r} has {count} group(s) of speakers, and a fold needs at least 3 "
            "(train, dev, test): give it more speakers, or a group column."
        )
    if not 0 <= index < count:
        raise InputError(f"fold {index} does not exist: corpus {corpus.name!r} has folds 0 to {count - 1}.")
    parts = _official_lists(corpus) if official else _left_out(corpus, index, protocol)
    for name, utterances in parts.items():
        if not utterances:
            why = "its sentences and speakers do not cross enough"
            if official:
                why = "it has no development list, and too few training speakers to take some for one"
            raise InputError(
                f"corpus {corpus.name!r}, protocol {protocol!r}, fold {index}: no clip is left for {name}: {why}. "
                "Choose another protocol."
            )
    lists = {name: corpus.subset(utterances) for name, utterances in parts.items()}
    if not official:  # what the official lists share, others need not
        lists = {name: replace(part, shared=()) for name, part in lists.items()}
    return Fold(**lists)


def _chosen(corpus: Corpus, protocol: Protocol) -> Protocol:
    """The protocol, or what `auto` stands for; an error where the corpus lacks what it goes by."""
    splits = {u.split for u in corpus.utterances}
    official = splits <= set(SPLITS) and {"train", "test"} <= splits
    if protocol == "auto":
        return "official" if official else "auto"
    if protocol == "official" and not official:
        raise InputError(
            f"protocol 'official': corpus {corpus.name!r} has no train and test list of its own. Choose group, speaker "
            "or speaker-text, or give every clip a split column (train, dev, test)."
        )
    if protocol == "group" and not all(u.group for u in corpus.utterances):
        raise InputError(
            f"protocol 'group': not every clip of corpus {corpus.name!r} has a group. Choose speaker or speaker-text, "
            "or fill the group column."
        )
    return protocol


def _left_out(corpus: Corpus, index: int, protocol: Protocol) -> dict[str, list[Utterance]]:
    """The lists of a fold: unit `index` is tested, the next one chooses the model, the others train."""
    units = _units(corpus, protocol)
    dev = (index + 1) % len(units)
    train = [u for i, unit in enumerate(units) if i not in (index, dev) for u in unit]
    lists = {"train": train, "dev": units[dev], "test": units[index]}
    if protocol == "speaker-text":
        sentences = [set(unit) for unit in _dealt([(sentence(u), sentence(u)) for u in corpus.utterances])]
        held = {"test": sentences[index % len(sentences)], "dev": sentences[(index + 1) % len(sentences)]}
        held["train"] = set().union(*sentences) - held["test"] - held["dev"]
        lists = {name: [u for u in clips if sentence(u) in held[name]] for name, clips in lists.items()}
    return lists


def _official_lists(corpus: Corpus) -> dict[str, list[Utterance]]:
    """The lists that a corpus is distributed with; without a development list, some speakers of train are it."""
    lists = {name: [u for u in corpus.utterances if u.split == name] for name in SPLITS}
    if not lists["dev"]:
        dev, *rest = _dealt([(u.speaker, u) for u in lists["train"]])
        return {"train": [u for unit in rest for u in unit], "dev": dev, "test": lists["test"]}
    return lists


def _units(corpus: Corpus, protocol: Protocol) -> list[list[Utterance]]:
    """The units that folds hold out: the groups, each speaker, or speakers dealt into a few units."""
    grouped = all(u.group for u in corpus.utterances) and protocol != "speaker"
    named = [(u.group if grouped else u.speaker, u) for u in corpus.utterances]
    return _dealt(named, len(named) if grouped or protocol == "speaker" else UNITS)


def _dealt(named: Sequence[tuple[str, T]], most: int = UNITS) -> list[list[T]]:
    """Things put together by name, the names then dealt into at most `most` units of similar size."""
    members: dict[str, list[T]] = {}
    for name, thing in named:
        members.setdefault(name, []).append(thing)
    if len(members) <= most:
        return [members[name] for name in sorted(members)]
    units: list[list[T]] = [[] for _ in range(most)]
    for name in sorted(members, key=lambda name: (-len(members[name]), name)):
        min(units, key=len).extend(members[name])
    return units


def _prove_disjoint(kind: str, one: "_List", other: "_List") -> None:
    where = {key: u.id for key, u in zip(one.keys[kind], one.utterances, strict=True) if key}
    for key, u in zip(other.keys[kind], other.utterances, strict=True):
        if key in where:
            what = "one recording (audio)" if kind == "audio" else f"{kind} {key!r}"
            raise InputError(
                f"leak: {what} stands in {one.name} (utterance {where[key]!r}) and in {other.name} "
                f"(utterance {u.id!r}): a score on {other.name} would count what training has seen. "
                f"Keep each {kind} in one list, or give those clips the same group."
            )
