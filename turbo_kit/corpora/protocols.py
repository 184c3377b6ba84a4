"""How a corpus is dealt into train, development and test lists: by official lists, groups, speakers or sentences."""

from collections.abc import Sequence
from typing import TypeVar

from turbo_kit.config import InputError, Protocol
from turbo_kit.corpora.leaks import sentence
from turbo_kit.corpora.utterance import Utterance

SPLITS = ("train", "dev", "test")
UNITS = 5  # speakers of a corpus without groups, or sentences that repeat, are dealt into at most so many units

T = TypeVar("T")


def fold_count(name: str, utterances: Sequence[Utterance], protocol: Protocol) -> int:
    """How many folds a protocol makes of a corpus of that name: see `Corpus.fold`."""
    return 1 if _chosen(name, utterances, protocol) == "official" else len(_units(utterances, protocol))


def split_utterances(
    name: str, utterances: Sequence[Utterance], index: int, protocol: Protocol
) -> tuple[dict[str, list[Utterance]], bool]:
    """The lists of one fold of a corpus of that name, and whether they are its official ones: see `Corpus.fold`."""
    count = fold_count(name, utterances, protocol)
    official = _chosen(name, utterances, protocol) == "official"
    if count < 3 and not official:
        raise InputError(
            f"corpus {name!r} has {count} group(s) of speakers, and a fold needs at least 3 "
            "(train, dev, test): give it more speakers, or a group column."
        )
    if not 0 <= index < count:
        raise InputError(f"fold {index} does not exist: corpus {name!r} has folds 0 to {count - 1}.")
    lists = _official_lists(utterances) if official else _left_out(utterances, index, protocol)
    for part, members in lists.items():
        if not members:
            few = "it has no development list, and too few training speakers to take some for one"
            why = few if official else "its sentences and speakers do not cross enough"
            raise InputError(
                f"corpus {name!r}, protocol {protocol!r}, fold {index}: no clip is left for {part}: {why}. "
                "Choose another protocol."
            )
    return lists, official


def _chosen(name: str, utterances: Sequence[Utterance], protocol: Protocol) -> Protocol:
    """The protocol, or what `auto` stands for; an error where the corpus lacks what it goes by."""
    splits = {u.split for u in utterances}
    official = splits <= set(SPLITS) and {"train", "test"} <= splits
    if protocol == "auto":
        return "official" if official else "auto"
    if protocol == "official" and not official:
        raise InputError(
            f"protocol 'official': corpus {name!r} has no train and test list of its own. Choose group, speaker "
            "or speaker-text, or give every clip a split column (train, dev, test)."
        )
    if protocol == "group" and not all(u.group for u in utterances):
        raise InputError(
            f"protocol 'group': not every clip of corpus {name!r} has a group. Choose speaker or speaker-text, "
            "or fill the group column."
        )
    return protocol


def _left_out(utterances: Sequence[Utterance], index: int, protocol: Protocol) -> dict[str, list[Utterance]]:
    """The lists of a fold: unit `index` is tested, the next one chooses the model, the others train."""
    units = _units(utterances, protocol)
    dev = (index + 1) % len(units)
    train = [u for i, unit in enumerate(units) if i not in (index, dev) for u in unit]
    lists = {"train": train, "dev": units[dev], "test": units[index]}
    if protocol == "speaker-text":
        sentences = [set(unit) for unit in _dealt([(sentence(u), sentence(u)) for u in utterances])]
        held = {"test": sentences[index % len(sentences)], "dev": sentences[(index + 1) % len(sentences)]}
        held["train"] = set().union(*sentences) - held["test"] - held["dev"]
        return {name: [u for u in clips if sentence(u) in held[name]] for name, clips in lists.items()}
    return lists


def _official_lists(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """The lists that a corpus is distributed with; without a development list, some speakers of train are it."""
    lists = {name: [u for u in utterances if u.split == name] for name in SPLITS}
    if not lists["dev"]:
        dev, *rest = _dealt([(u.speaker, u) for u in lists["train"]])
        return {"train": [u for unit in rest for u in unit], "dev": dev, "test": lists["test"]}
    return lists


def _units(utterances: Sequence[Utterance], protocol: Protocol) -> list[list[Utterance]]:
    """The units that folds hold out: the groups, each speaker, or speakers dealt into a few units."""
    grouped = all(u.group for u in utterances) and protocol != "speaker"
    named = [(u.group if grouped else u.speaker, u) for u in utterances]
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
