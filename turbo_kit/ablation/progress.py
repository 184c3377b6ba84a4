"""Progress messages of a running ablation."""

from collections.abc import Callable
from dataclasses import dataclass

from turbo_kit.ablation.plan import Task, config_name, duration

ProgressCallback = Callable[[str], object]
"""Called with each progress message."""


@dataclass(frozen=True)
class TaskOutcome:
    """The outcome of a task: `seconds` is None where nothing had to be done, `error` is None on success."""

    task: Task
    seconds: float | None = None
    error: str | None = None


class Progress:
    """Reports each finished task, with an estimate of the remaining time."""

    def __init__(self, report: ProgressCallback, total: int, workers: int) -> None:
        self._report, self._total, self._workers = report, total, workers
        self._ended = 0
        self._seconds: list[float] = []
        self.failed: dict[str, str] = {}

    def skip(self, tasks: int) -> None:
        """Counts tasks that cannot run because a search they need failed."""
        self._ended += tasks

    def record(self, ended: TaskOutcome) -> None:
        """Counts a finished task and reports its outcome."""
        self._ended += 1
        config = ended.task.config
        name = f"{config_name(config)}, fold {config.data.fold}, seed {config.training.seed}"
        name += "" if ended.task.test else " (search)"
        if ended.error:
            self.failed[ended.task.run.folder.name] = ended.error
            self._report(f"[{self._ended}/{self._total}] {name}: FAILED, {ended.error}")
        elif ended.seconds is not None:
            self._seconds.append(ended.seconds)
            split = "test" if ended.task.test else "dev"
            score = ended.task.run.result["metrics"][split]["UA"]
            said = f"{split} UA {100 * score:.1f} %, {ended.seconds:.0f} s"
            self._report(f"[{self._ended}/{self._total}] {name}: {said} | {self._left()}")

    def _left(self) -> str:
        left = self._total - self._ended
        seconds = left * sum(self._seconds) / len(self._seconds) / self._workers
        running = min(left, self._workers)
        return f"{running} running, {len(self.failed)} failed, about {duration(seconds)} left"
