"""What an ablation tells while it runs."""

from collections.abc import Callable
from dataclasses import dataclass

from turbo_kit.ablation.plan import Task, config_name, duration

ProgressCallback = Callable[[str], object]
"""Takes a line of progress."""


@dataclass(frozen=True)
class TaskOutcome:
    """How a task ended: `seconds` is None where there was nothing to do, `error` where there is none."""

    task: Task
    seconds: float | None = None
    error: str | None = None


class Progress:
    """A line when a task has ended, with what is left to do."""

    def __init__(self, report: ProgressCallback, total: int, workers: int) -> None:
        self._report, self._total, self._workers = report, total, workers
        self._ended = 0
        self._seconds: list[float] = []
        self.failed: dict[str, str] = {}

    def skip(self, tasks: int) -> None:
        """Counts tasks that cannot be run, because a search that they need failed."""
        self._ended += tasks

    def record(self, ended: TaskOutcome) -> None:
        """Tells how a task ended."""
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
