"""Runs the training notebook over the configs of a grid with papermill, one after the other."""

import logging
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from turbo_kit.config import InputError, RunConfig
from turbo_kit.corpora import Corpus, load_corpus
from turbo_kit.runs import NOTEBOOK, Run, planned_run

Report = Callable[[str], object]
"""Takes a line of progress."""


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


def execute(configs: Sequence[RunConfig], out: str | Path, report: Report = lambda line: None) -> list[Run]:
    """Executes `04_train.ipynb` for each config; a run that is complete already is kept as it is.

    Args:
        configs: what `configs_of` made of a grid.
        out: the folder of the run folders, each of which keeps its executed notebook.
        report: called with one line before and after each run.

    Returns:
        The complete runs, in the order of the configs.

    Raises:
        InputError: a corpus, fold, encoder or objective that cannot be used (found before the first run where it can
            be), or bad input that a run came upon.
        RuntimeError: a run failed in another way; its notebook, kept in the run folder, holds the error.
    """
    out = Path(out).resolve()
    runs = [_planned(config, out) for config in configs]
    for number, (config, run) in enumerate(zip(configs, runs, strict=True), start=1):
        name = f"[{number}/{len(runs)}] {config.objective}, fold {config.fold}, seed {config.seed}"
        if run.done:
            report(f"{name}: there already")
            continue
        report(f"{name} ...")
        started = time.perf_counter()
        _execute(config, run, out)
        score = run.result["metrics"]["test"]["UA"]
        report(f"{name}: test UA {score:.3f}, {time.perf_counter() - started:.0f} s")
    return runs


def _planned(config: RunConfig, out: Path) -> Run:
    from turbo_kit.training import build_objective

    corpus = _corpus(config.corpus)
    fold = corpus.fold(config.fold)
    build_objective(config, fold.train.labels, len(corpus.classes))  # a name that is wrong should not wait for its turn
    return planned_run(config, fold.train, fold.dev, out)


@cache
def _corpus(name: str) -> Corpus:
    return load_corpus(name)


def _execute(config: RunConfig, run: Run, out: Path) -> None:
    import papermill

    from turbo_kit.ablation.kernel import LocalKernelManager

    run.folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # papermill's own deprecations
            papermill.execute_notebook(
                notebook_path("04_train.ipynb"),
                run.folder / NOTEBOOK,
                parameters={**config.to_dict(), "out": str(out)},
                kernel_name="python3",
                kernel_manager_class=LocalKernelManager,
                progress_bar=False,
            )
    except papermill.PapermillExecutionError as error:
        if error.ename == InputError.__name__:
            if not run.trained:
                shutil.rmtree(run.folder)
            raise InputError(error.evalue) from None
        raise RuntimeError(f"{error.ename}: {error.evalue} (all of it stands in {run.folder / NOTEBOOK})") from None
    if not run.done:
        raise RuntimeError(f"{run.folder} was not completed, though its notebook ran to the end: look into {NOTEBOOK}.")
