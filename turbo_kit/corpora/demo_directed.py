"""The embedded corpus of synthetic speech to a device or to another person; its datasheet stands beside the clips."""

from pathlib import Path

from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.manifest import load_manifest

FOLDER = Path(__file__).parent / "demo" / "directed"


def load_demo_directed() -> Corpus:
    """768 clips of synthetic speech: 16 voices in four groups with their own sentences, to a device or a person."""
    return load_manifest(FOLDER / "manifest.jsonl")
