"""The embedded corpus of synthetic emotional speech; its datasheet stands beside the clips."""

from pathlib import Path

from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.manifest import load_manifest

FOLDER = Path(__file__).parent / "demo" / "emotion"


def load_demo_emotion() -> Corpus:
    """1,440 clips of synthetic speech: 16 voices in four groups, each with its own sentences, four emotions by rule."""
    return load_manifest(FOLDER / "manifest.jsonl")
