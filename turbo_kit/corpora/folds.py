"""Folds: train, development and test lists of one corpus, proven disjoint by speaker and by sentence template."""

from dataclasses import dataclass
from itertools import combinations

from turbo_kit.config import InputError
from turbo_kit.corpora.utterance import Corpus, Utterance

MAX_FOLDS = 5
"""Speakers of a corpus without groups are dealt into so many units."""


@dataclass(frozen=True)
class Fold:
    """Train, dev and test lists of one corpus; building one proves that nothing leaks between them.

    Raises:
        InputError: an utterance, a speaker or a sentence template that stands in two of the lists, or a class that
            occurs in dev or test and never in train.
    """

    train: Corpus
    dev: Corpus
    test: Corpus

    def __post_init__(self) -> None:
        lists = {"train": self.train, "dev": self.dev, "test": self.test}
        for (first, one), (second, other) in combinations(lists.items(), 2):
            for kind in ("id", "speaker", "template"):
                _prove_disjoint(kind, first, one, second, other)
        known = {u.label for u in self.train.utterances}
        for name in ("dev", "test"):
            for u in lists[name].utterances:
                if u.label is not None and u.label not in known:
                    raise InputError(
                        f"label {u.label!r} of utterance {u.id!r} in {name} never occurs in train: "
                        "correct the label, or fold the corpus so that every class can be learnt."
                    )


def held_out_units(corpus: Corpus) -> list[list[Utterance]]:
    """The units that folds hold out: the groups, or the speakers dealt into at most five units of similar size."""
    grouped = all(u.group for u in corpus.utterances)
    members: dict[str, list[Utterance]] = {}
    for u in corpus.utterances:
        members.setdefault(u.group if grouped else u.speaker, []).append(u)
    if grouped or len(members) <= MAX_FOLDS:
        return [members[name] for name in sorted(members)]
    units: list[list[Utterance]] = [[] for _ in range(MAX_FOLDS)]
    for name in sorted(members, key=lambda name: (-len(members[name]), name)):
        min(units, key=len).extend(members[name])
    return units


def leave_one_out(corpus: Corpus, index: int) -> Fold:
    """Fold `index`: that unit is the test list, the next one the development list, the others train."""
    units = held_out_units(corpus)
    if len(units) < 3:
        raise InputError(
            f"corpus {corpus.name!r} has {len(units)} group(s) of speakers, and a fold needs at least 3 "
            "(train, dev, test): give it more speakers, or a group column."
        )
    if not 0 <= index < len(units):
        raise InputError(f"fold {index} does not exist: corpus {corpus.name!r} has folds 0 to {len(units) - 1}.")
    dev = (index + 1) % len(units)
    train = [u for i, unit in enumerate(units) if i not in (index, dev) for u in unit]
    return Fold(corpus.subset(train), corpus.subset(units[dev]), corpus.subset(units[index]))


def _prove_disjoint(kind: str, first: str, one: Corpus, second: str, other: Corpus) -> None:
    where = {getattr(u, kind): u.id for u in one.utterances if getattr(u, kind)}
    for u in other.utterances:
        name = getattr(u, kind)
        if name in where:
            raise InputError(
                f"leak: {kind} {name!r} stands in {first} (utterance {where[name]!r}) and in {second} "
                f"(utterance {u.id!r}): a score on {second} would count what training has seen. "
                f"Keep each {kind} in one list, or give those clips the same group."
            )
