"""Runs the training notebook for each config of a grid: in parallel, resumable, and nothing twice."""

import logging
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from filelock import FileLock

from turbo_kit.ablation.plan import PARTIAL_NOTEBOOK, Task, available_cores, cached_fold, plan
from turbo_kit.ablation.progress import Progress, ProgressCallback, TaskOutcome
from turbo_kit.config import InputError, RunConfig
from turbo_kit.corpora import Utterance
from turbo_kit.corpora.conditions import conditions_of
from turbo_kit.runs import ERROR, NOTEBOOK, Run, write_json

Engine = Literal["local", "dask"]


@dataclass(frozen=True)
class AblationResult:
    """The outcome of a grid: its complete runs in the order of the configs, and the errors of failed ones."""

    runs: list[Run]
    failed: dict[str, str]


def notebook_path(name: str) -> Path:
    """A notebook of the kit: in the package where it was installed from a wheel, else beside it in the checkout.

    Raises:
        InputError: there is no such notebook.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"notebook {name!r} is missing from this installation: install turbo-kit again.")


def execute(
    configs: Sequence[RunConfig],
    out: str | Path,
    report: ProgressCallback = lambda line: None,
    *,
    workers: int | None = None,
    threads: int | None = None,
    engine: Engine = "local",
    scheduler: str | None = None,
    retry: bool = False,
    hours: float = 12.0,
) -> AblationResult:
    """Executes `04_train.ipynb` for each config; complete runs are kept.

    Where a config has `searched`, its search runs come first, on development data alone, and settle it. A run that
    fails is recorded in its folder (`error.json`, and the notebook with the error), and the others go on.

    Args:
        configs: what `configs_of` made of a grid.
        out: the folder of the run folders, each of which keeps its executed notebook.
        report: called with a line when a run ends.
        workers: runs at the same time; None = one for each core (one where there is a GPU), or all that a scheduler
            has.
        threads: of each run; None = the cores divided among the workers. Results are the same bit for bit only for
            the same number.
        engine: `local` = kernels on this machine, or `dask` = on the workers of a scheduler.
        scheduler: address of the dask scheduler, such as `tcp://host:8786`; its workers must see `out` at the same
            path.
        retry: run again what failed before.
        hours: that one cell of the notebook may take.

    Raises:
        InputError: a corpus, fold, encoder or objective that cannot be used, a clip that cannot be decoded, or a
            scheduler that does not answer: all of it found before the first run.
        RuntimeError: a worker of the scheduler died; what is complete is kept.
    """
    out = Path(out).resolve()
    searches, tasks = plan(configs, out)
    with _open(engine, scheduler, workers) as pool:
        share = threads or max(1, available_cores() // pool.workers if engine == "local" else 1)
        _compute_features([task.config for task in [*searches, *tasks] if not task.complete])
        progress = Progress(report, len(searches) + len(configs), pool.workers)
        for ended in pool.run(searches, share, hours, retry):
            progress.record(ended)
        tasks = plan(configs, out)[1]
        progress.skip(len(configs) - len(tasks))
        for ended in pool.run(tasks, share, hours, retry):
            progress.record(ended)
    return AblationResult([task.run for task in tasks if task.complete], progress.failed)


def _compute_features(configs: Sequence[RunConfig]) -> None:
    """Computes the trunk features of every clip once for all runs, which then only read them."""
    from turbo_kit.encoders import build_encoder
    from turbo_kit.encoders.feature_cache import trunk_features
    from turbo_kit.model.inference import on_device

    wanted: dict[tuple[Any, ...], dict[Utterance, None]] = {}
    for config in configs:
        fold = cached_fold(config)
        lists = [*vars(fold).values(), *(condition.of(fold.test) for condition in conditions_of(config))]
        clips = [u for part in lists for u in part.utterances]
        for modality, name in config.modalities.items():
            key = (name, modality, config.model.encoder.of_trunk, config.model.max_seconds, config.hardware.device)
            wanted.setdefault(key, {}).update(dict.fromkeys(clips))
    for (name, modality, trunk, seconds, device), utterances in wanted.items():
        encoder = on_device(build_encoder(name, modality, trunk), device)
        trunk_features(encoder, list(utterances), seconds, progress=sys.stderr.isatty())


def run_task(task: Task, threads: int, hours: float, retry: bool) -> TaskOutcome:
    """Executes the notebook of one task, unless it is complete or failed before; never raises but for an interrupt.

    Another process that works on the same run, of this grid or another one, is waited for.
    """
    folder = task.run.folder
    try:
        locks = folder.parent / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{folder.name}.lock"):
            if task.complete:
                return TaskOutcome(task)
            if (failed := task.run.error) and not retry:
                return TaskOutcome(task, error=f"{failed['error']}: {failed['message']} (retry it by request)")
            started = time.perf_counter()
            _execute(task, threads, hours)
            return TaskOutcome(task, time.perf_counter() - started)
    except Exception as error:
        return TaskOutcome(task, error=_record_error(task, error))


def _execute(task: Task, threads: int, hours: float) -> None:
    import papermill

    from turbo_kit.ablation.kernels import kernel_manager

    folder = task.run.folder
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with TemporaryDirectory(prefix="turbo-kit-", ignore_cleanup_errors=True) as sockets:
            papermill.execute_notebook(
                notebook_path("04_train.ipynb"),
                folder / PARTIAL_NOTEBOOK,
                parameters={**task.config.to_dict(), "out": str(folder.parent), "test": task.test},
                kernel_name="python3",
                kernel_manager_class=kernel_manager(threads, sockets),
                execution_timeout=round(3600 * hours),
                progress_bar=False,
            )
    finally:
        if (folder / PARTIAL_NOTEBOOK).exists():
            (folder / PARTIAL_NOTEBOOK).replace(folder / NOTEBOOK)
    if not task.complete:
        raise RuntimeError(f"the notebook ran to its end, and yet the run is not complete: look into {NOTEBOOK}")
    (folder / ERROR).unlink(missing_ok=True)


def _record_error(task: Task, error: Exception) -> str:
    """Writes the error of a failed run into its folder, and returns it as text."""
    kind, message = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    values = {"error": kind, "message": message, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        write_json(task.run.folder / ERROR, values)
    except OSError as full:
        return f"{kind}: {message} (and that could not be recorded: {full})"
    return f"{kind}: {message}"


class _Pool:
    """Runs tasks in kernels on this machine or on the workers of a dask scheduler."""

    def __init__(self, workers: int, options: dict[str, Any]) -> None:
        self.workers, self._options = workers, options

    def run(self, tasks: Sequence[Task], threads: int, hours: float, retry: bool) -> Iterator[TaskOutcome]:
        """Runs the tasks and yields each outcome as soon as it is known."""
        from joblib import Parallel, delayed, parallel_config

        waiting = [task for task in tasks if not task.complete]
        yield from (TaskOutcome(task) for task in tasks if task.complete)
        with warnings.catch_warnings(), parallel_config(**self._options):
            warnings.simplefilter("ignore")  # papermill's own deprecations
            calls = (delayed(run_task)(task, threads, hours, retry) for task in waiting)
            yield from Parallel(n_jobs=self.workers, return_as="generator_unordered", batch_size=1)(calls)


@contextmanager
def _open(engine: Engine, scheduler: str | None, workers: int | None) -> Iterator[_Pool]:
    if engine == "local":
        if scheduler:
            raise InputError(f"scheduler {scheduler}: it is used with engine 'dask' alone; set that too.")
        import torch

        # A thread for each run: what it waits for is its kernel, which is a process of its own.
        yield _Pool(workers or (1 if torch.cuda.is_available() else available_cores()), {"backend": "threading"})
        return
    if not scheduler:
        raise InputError("engine 'dask' needs the address of a scheduler, such as tcp://127.0.0.1:8786.")
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise InputError("engine 'dask' needs dask.distributed: pip install 'turbo-kit[dask]'.") from None
    try:
        client = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"no dask scheduler answers at {scheduler} ({error}): start one, or correct it.") from None
    with client:
        slots = sum(client.nthreads().values())
        if not slots:
            raise InputError(f"the dask scheduler at {scheduler} has no workers: start some.")
        try:
            yield _Pool(min(workers or slots, slots), {"backend": "dask", "client": client})
        except KilledWorker as error:
            raise RuntimeError(
                f"a worker of {scheduler} died again and again on one run ({error}); what is complete is kept, and "
                "the same command goes on from there."
            ) from None
