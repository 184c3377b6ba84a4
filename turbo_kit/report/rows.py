"""A row of a summary: runs that are repetitions of one another."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from turbo_kit.runs import Run

BASELINE = "ce-2pass"
"""The default baseline: it uses as many dropout masks as the two-pass objectives."""

CONTRASTIVE_OPTIONS = (
    "contrastive_weight",
    "temperature",
    "similarity",
    "direction",
    "negatives",
    "normalize_pairs",
    "exclude",
)
"""Options that change nothing where an objective has no contrastive terms."""


@dataclass(frozen=True)
class Row:
    """Runs that differ only in fold, seed and the values a search chose, under one name."""

    name: str
    objective: str
    differs: dict[str, Any]
    """This row's values of everything that differs among the rows: options, source revision, encoder weights.

    A searched option is listed with all the values it was chosen from.
    """
    runs: tuple[Run, ...]
    split: str = "test"
    """Which predictions: `test`, `test without audio` or `test without text`; the last two have no embeddings."""
    chosen: dict[str, dict[int, float]] = field(default_factory=dict)
    """What a search on development data chose, by option and fold: {"contrastive_weight": {0: 0.1, 1: 0.5}}."""

    @property
    def predictions(self) -> pd.DataFrame:
        """The predictions of all runs in one table, with columns `seed` and `fold`."""
        facts = [(run, run.config.training.seed, run.config.data.fold) for run in self.runs]
        parts = [run.predictions(self.split).assign(seed=seed, fold=fold) for run, seed, fold in facts]
        return pd.concat(parts, ignore_index=True)
