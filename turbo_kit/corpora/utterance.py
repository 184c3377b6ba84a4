"""One clip, its transcript, its label, its speaker and session."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
