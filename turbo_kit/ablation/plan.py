"""The plan of an ablation: which notebooks to execute, which are done, and an estimate of the remaining time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from turbo_kit.ablation.grid import search_configs, with_chosen_values
from turbo_kit.config import RunConfig
from turbo_kit.corpora import FOLD_OPTIONS, Fold, load_fold
from turbo_kit.identity import planned_run
from turbo_kit.metrics import selection_score
from turbo_kit.runs import Run

PARTIAL_NOTEBOOK = "notebook.partial.ipynb"
"""A notebook that is being executed, or whose kernel died."""
SECONDS_A_CLIP = 0.0010
"""Training time of a clip in an epoch where nothing has been measured yet: the embedded encoders on one CPU core."""
NOTEBOOK_SECONDS = 3.0
"""Seconds that the notebook takes in addition to training and test."""


@dataclass(frozen=True)
class Task:
    """One notebook to execute: a run to train and, unless it belongs to a search, to test."""

    config: RunConfig
    run: Run
    test: bool

    @property
    def complete(self) -> bool:
        """Whether nothing remains to be done."""
        ended = not (self.run.folder / PARTIAL_NOTEBOOK).exists()
        return ended and (self.run.done if self.test else self.run.trained)


def plan(configs: Sequence[RunConfig], out: Path) -> tuple[list[Task], list[Task]]:
    """The tasks of the searches, and those of the configs whose searches are complete.

    Raises:
        InputError: a corpus, fold, encoder or objective that cannot be used.
    """
    searches: dict[Path, Task] = {}
    tasks = []
    for config in configs:
        found = [_task(one, out, test=False) for one in search_configs(config)]
        searches |= {task.run.folder: task for task in found}
        if all(task.complete for task in found):
            scores = [selection_score(task.run.result["metrics"]["dev"]) for task in found]
            tasks.append(_task(with_chosen_values(config, scores) if found else config, out, test=True))
    return list(searches.values()), tasks


def _task(config: RunConfig, out: Path, test: bool) -> Task:
    from turbo_kit.training.setup import build_objective

    fold = cached_fold(config)
    build_objective(config, fold.train.labels, len(fold.train.classes))  # a wrong name should not wait for its turn
    return Task(config, planned_run(config, fold.train, fold.dev, out), test)


def cached_fold(config: RunConfig) -> Fold:
    """The fold of a config, read once for all configs that share it."""
    return _fold(tuple((name, getattr(config, name)) for name in FOLD_OPTIONS))


@cache
def _fold(knobs: tuple[tuple[str, Any], ...]) -> Fold:
    return load_fold(RunConfig(**dict(knobs)))


def estimate(configs: Sequence[RunConfig], out: Path, workers: int | None = None) -> str:
    """The size of a grid, and an estimate of the remaining time.

    The time is that of the runs that are finished in the folder; where there are none, a guess from the size of the
    task and what the embedded encoders take on one CPU core.
    """
    searches, tasks = plan(configs, Path(out).resolve())
    number = len(searches) + len(configs)
    known = [_seconds(task.run) for task in [*searches, *tasks] if task.complete]
    done = len(known)
    if known:
        each, source = sum(known) / done, f"by the {done} that are finished here"
    else:
        config = configs[0]
        clips = len(cached_fold(config).train.utterances)
        each = NOTEBOOK_SECONDS + SECONDS_A_CLIP * clips * config.training.epochs
        source = "a guess, until the first ones are finished"
    at_once = workers or available_cores()
    searched = f"{len(searches)} on development data, to choose knobs, and {len(configs)} to be tested"
    split = searched if searches else "all to be tested"
    time_left = duration((number - done) * each / at_once)
    return f"{number} runs: {split}; {done} complete already; about {time_left} left with {at_once} at once ({source})."


def _seconds(run: Run) -> float:
    timings = run.result["timings"]
    return float(NOTEBOOK_SECONDS + timings["training_seconds"] + timings.get("evaluation_seconds", 0.0))


def settings_of(configs: Sequence[RunConfig]) -> list[str]:
    """The planned runs, one line for each setting with its folds and seeds."""
    found: dict[str, list[RunConfig]] = {}
    for config in configs:
        found.setdefault(config_name(config), []).append(config)
    lines = []
    for name, members in found.items():
        folds, seeds = ({str(getattr(config, knob)): None for config in members} for knob in ("fold", "seed"))
        chosen = [knob for knob in members[0].training.searched if knob != "seed"]
        search = f", {' and '.join(chosen)} searched" if chosen else ""
        lines.append(f"{name}{search}: fold {', '.join(folds)}; seed {', '.join(seeds)}")
    return lines


def config_name(config: RunConfig) -> str:
    """The objective and all other non-default options except corpus, fold and seed."""
    default = RunConfig().to_dict()
    silent = ("objective", "corpus", "fold", "seed", "searched")
    changed = {name: value for name, value in config.to_dict().items() if name not in silent and value != default[name]}
    return ", ".join([config.loss.objective, *(f"{name}={_brief(value)}" for name, value in changed.items())])


def _brief(value: Any) -> str:
    return " ".join(f"{name}:{weight:g}" for name, weight in value.items()) if isinstance(value, dict) else str(value)


def duration(seconds: float) -> str:
    """A duration with a readable unit: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def available_cores() -> int:
    """The number of cores that this process may use."""
    from joblib import cpu_count

    return int(cpu_count())
