"""Corpora: utterances with their texts, labels and speakers, and folds that are proven free of leaks."""

from collections.abc import Callable
from pathlib import Path

from turbo_kit.config import InputError, unknown
from turbo_kit.corpora.demo_emotion import load_demo_emotion
from turbo_kit.corpora.folds import Fold
from turbo_kit.corpora.manifest import load_manifest
from turbo_kit.corpora.utterance import Corpus, Utterance

__all__ = ["EMBEDDED", "FROM_FILES", "Corpus", "Fold", "Utterance", "load_corpus", "load_manifest"]

EMBEDDED: dict[str, Callable[[], Corpus]] = {"demo-emotion": load_demo_emotion}
"""Corpora that travel with the kit, by name."""

FROM_FILES: dict[str, Callable[[Path], Corpus]] = {"manifest": load_manifest}
"""Corpora read from a path, by the word before the colon: `manifest:clips.jsonl`."""


def load_corpus(name: str) -> Corpus:
    """Loads a corpus by name.

    Args:
        name: an embedded corpus (`demo-emotion`), or a reader and a path (`manifest:clips.jsonl`).

    Raises:
        InputError: no such corpus or file, or a row that cannot be used.
    """
    kind, colon, path = name.partition(":")
    if kind in FROM_FILES:
        if not path:
            raise InputError(f"corpus {name!r} lacks its path: write {kind}:FILE, such as {kind}:clips.jsonl.")
        return FROM_FILES[kind](Path(path).expanduser())
    if colon or name not in EMBEDDED:
        raise unknown("corpus", name, [*EMBEDDED, *(f"{reader}:FILE" for reader in FROM_FILES)])
    return EMBEDDED[name]()
