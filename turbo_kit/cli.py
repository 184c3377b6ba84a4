"""The command line: `turbo-kit demo`, `train`, `ablate`, `report`, `embed`, `corpus`."""

import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from turbo_kit.config import InputError, Protocol, RunConfig, unknown


def demo(out: Path = Path("demo-runs")) -> None:
    """Train four objectives on the embedded corpus and compare them (two to three minutes on a laptop).

    Args:
        out: Folder of the runs and the report.
    """
    from turbo_kit.ablation.grid import configs_of, load_grid

    _say("Corpus demo-emotion: synthetic speech, 4 classes. Four objectives, one fold and one seed each.")
    _say("Computing features with the frozen encoders (once; cached afterwards).")
    _ablate(configs_of(load_grid("demo")), out)


def train(
    config: Annotated[RunConfig, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")] = RunConfig(),  # noqa: B008 (frozen)
    out: Path = Path("runs"),
    again: bool = False,
) -> None:
    """Train one model, test it once, and keep all of it in a run folder.

    On several GPUs: torchrun --nproc-per-node 4 --no-python turbo-kit train ...

    Args:
        config: Every knob of the run.
        out: Folder that the run folder is made in.
        again: Retrain even if this run exists.
    """
    import torch

    from turbo_kit.corpora import load_fold
    from turbo_kit.training import evaluate
    from turbo_kit.training import train as train_run

    fold = load_fold(config)
    run = train_run(config, fold.train, fold.dev, out, again=again, progress=True)
    if torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
        return  # the first process tests and tells
    scores = evaluate(run, fold.test, progress=True)
    shown = ("UA", "WA", "macro_F1", "EER", "ROC_AUC")
    _say("test: " + ", ".join(f"{name} {scores[name]:.3f}" for name in shown if scores.get(name) is not None))
    if reached := scores.get("at_threshold"):
        rates = {"false_accept_rate": "false accepts", "false_reject_rate": "false rejects", "accuracy": "accuracy"}
        found = ", ".join(f"{said} {reached[name]:.3f}" for name, said in rates.items() if reached[name] is not None)
        aim = f"chosen on development for {reached['target']:g} false accepts"
        _say(f"test at the threshold {reached['threshold']:.4g}, {aim}: {found}")
    _say(f"run: {run.folder}")


def ablate(
    grid: Positional[tuple[str, ...]] = (),
    corpus: str | None = None,
    folds: int | None = None,
    seeds: int | None = None,
    out: Path = Path("runs"),
    plan: bool = False,
    workers: int | None = None,
    threads: int | None = None,
    engine: Literal["local", "dask"] = "local",
    scheduler: str | None = None,
    retry: bool = False,
    hours: float = 12.0,
    baseline: str = "ce-2pass",
) -> None:
    """Run the training notebook over a grid, then write the report; what is complete already is not repeated.

    Args:
        grid: A grid that comes with the kit (demo, objectives, pairs, temperature, dropout, label-fraction, modality,
            features, robustness, iemocap) or a .toml, .yaml or .json file; then, or instead, parameters and their
            values, such as objective=ce-2pass,turbo epochs=5, before the options below. Every name and type is checked
            before the first run.
        corpus: Corpus to use instead of the grid's.
        folds: Use folds 0 to this number less one.
        seeds: Use seeds 0 to this number less one.
        out: Folder of the runs and the report.
        plan: Only say what would be run, how long it may take and what is done already.
        workers: Runs at the same time; by default one for each core, or one where there is a GPU.
        threads: Threads of each run; by default the cores are divided among the workers.
        engine: local = on this machine; dask = on the workers of a dask scheduler.
        scheduler: Address of the dask scheduler, such as tcp://127.0.0.1:8786.
        retry: Run again what failed before.
        hours: Longest time that one cell of the notebook may take.
        baseline: Objective that the report compares all others with, or the name of one row of its table.
    """
    from turbo_kit.ablation.grid import configs_of, load_grid, parse_settings, preset_names
    from turbo_kit.ablation.plan import estimate, settings_of

    name = grid[0] if grid and "=" not in grid[0] else None
    if not grid:
        raise InputError(
            f"which grid? One of {', '.join(preset_names())}, a file, or objective=ce-2pass,turbo seed=0,1."
        )
    settings = parse_settings(grid[1:] if name else grid)
    settings |= {} if corpus is None else {"corpus": corpus}
    settings |= {knob: list(range(n)) for knob, n in (("fold", folds), ("seed", seeds)) if n is not None}
    configs = configs_of(load_grid(name), settings) if name else configs_of(settings)
    if plan:
        for line in settings_of(configs):
            _say(line)
    _say(estimate(configs, out, workers))
    if not plan:
        options = {"workers": workers, "threads": threads, "engine": engine, "scheduler": scheduler}
        _ablate(configs, out, baseline, **options, retry=retry, hours=hours)


def report(folder: Positional[Path] = Path("runs"), out: Path | None = None, baseline: str = "ce-2pass") -> None:
    """Write report.html (one file, nothing to download) and its tables as CSV from the complete runs of a folder.

    Args:
        folder: Folder of the runs.
        out: Where the report goes, if not into that folder.
        baseline: Objective that all others are compared with, or the name of one row of the table.
    """
    import pandas as pd

    from turbo_kit.report.sentences import format_table
    from turbo_kit.report.write import write_report

    page = write_report(folder, out, baseline=baseline)
    _say("\n" + format_table(pd.read_csv(page.with_suffix(".csv"))) + "\n")
    _say(f"report: {page}")


def embed(model: Positional[Path], corpus: str = "demo-emotion", out: Path = Path("embeddings.parquet")) -> None:
    """Embed and classify the clips of a corpus with a trained model, into one table; on a GPU where there is one.

    Args:
        model: A run folder, or the folder of a saved model.
        corpus: Name of a corpus, as turbo-kit corpus list tells them.
        out: The table: id, speaker, label, predicted label, probabilities, and each modality's embedding as a list.
    """
    from turbo_kit.corpora import load_corpus
    from turbo_kit.model import TurboModel
    from turbo_kit.model.inference import on_device
    from turbo_kit.runs import write_atomically

    if not model.is_dir():
        raise InputError(f"{model}: no such folder; give a run folder, or the folder of a saved model.")
    folder = model / "checkpoint" if (model / "checkpoint").is_dir() else model
    if out.suffix != ".parquet":
        raise InputError(f"{out}: the table is written as .parquet; give such a name.")
    loaded = on_device(TurboModel.from_pretrained(folder), "auto")
    clips = load_corpus(corpus).utterances
    table, arrays = loaded.predict_and_embed(
        audio_paths=[u.path for u in clips] if "audio" in loaded.modalities else None,
        texts=[u.text for u in clips] if "text" in loaded.modalities else None,
    )
    table = table.rename(columns={"label": "predicted"})
    for place, name in enumerate(("id", "speaker", "label")):
        table.insert(place, name, [getattr(u, name) for u in clips])
    for name, array in arrays.items():
        table[name] = list(array)
    write_atomically(out, table.to_parquet)
    _say(f"{len(table)} clips: {out}")


def corpus(
    action: Positional[Literal["list", "check"]] = "list",
    name: Positional[str] = "demo-emotion",
    protocol: Protocol = "auto",
    strict: bool = False,
) -> None:
    """List the corpora, or check one: every row, every audio file, every fold.

    Args:
        action: What to do.
        name: Which corpus to check, as turbo-kit corpus list names them.
        protocol: How its folds are made: by the official lists, by group (session), by speaker, or by speaker and
            sentence (speaker-text); auto = the first that the corpus allows.
        strict: Fail where a line or file of the corpus was left out.
    """
    from turbo_kit.corpora import EMBEDDED, FROM_FILES, load_corpus, read_corpus

    if action == "list":
        for known in EMBEDDED:
            found = load_corpus(known)
            classes = ", ".join(found.classes)
            _say(f"{known}: {len(found)} clips, {found.folds} folds, classes {classes}. {found.about}")
        for kind, reader in FROM_FILES.items():
            _say(f"{kind}:PATH: {(reader.__doc__ or '').splitlines()[0]}")
        return
    from turbo_kit.corpora.check import check_corpus, describe

    check = check_corpus(read_corpus(name), protocol, progress=True)
    for part in describe(check):
        _say(f"{part}\n")
    if not check.usable:
        hint = " Another --protocol may keep apart what leaks." if check.leaks else ""
        raise InputError(f"{name} cannot be used as it is: see what is missing, unreadable or leaking above.{hint}")
    if strict and check.corpus.problems:
        raise InputError(f"{name}: {len(check.corpus.problems)} lines or files were left out, and --strict is given.")
    minutes = sum(sound.seconds for sound in check.sounds.values()) / 60
    speakers = len({u.speaker for u in check.corpus.utterances})
    _say(f"{name}: {len(check.corpus)} clips, {minutes:.1f} minutes, {speakers} speakers: good")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: exits with 0 on success, 2 for bad input, 1 for anything else that fails."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    commands: dict[str, Any] = {c.__name__: c for c in (demo, train, ablate, report, embed, corpus)}
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and not given[0].startswith("-") and given[0] not in commands:
            raise unknown("command", given[0], commands)
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="turbo-kit",
            description="In-modal and cross-modal contrastive learning (Turbo) for audio-text classification.",
            args=given or ["--help"],
        )
    except InputError as error:
        sys.exit(_failed(str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_failed("stopped; what is complete is kept, and the same command goes on from there.", 130))
    except (RuntimeError, OSError) as error:  # such as a full disk
        sys.exit(_failed(str(error), 1))


def _ablate(configs: Sequence[RunConfig], out: Path, baseline: str = "ce-2pass", **options: Any) -> None:
    from turbo_kit.ablation.execute import execute
    from turbo_kit.ablation.plan import duration

    started = time.perf_counter()
    done = execute(configs, out, report=_say, **options)
    _say(f"{len(done.runs)} of {len(configs)} runs are complete, after {duration(time.perf_counter() - started)}.")
    if done.runs:
        _say("Writing the report ...")
        report(out, baseline=baseline)
    if len(done.runs) < len(configs):
        listed = "".join(f"\n  {folder}: {error}" for folder, error in done.failed.items())
        raise RuntimeError(f"{len(done.failed)} runs failed (--retry runs them again):{listed}")


def _say(line: str) -> None:
    print(_printable(line), flush=True)


def _failed(message: str, code: int) -> int:
    print(f"turbo-kit: error: {_printable(message)}", file=sys.stderr)
    return code


def _printable(text: str) -> str:
    """The text without what would drive the terminal instead of being shown on it: transcripts come from anywhere."""
    return re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: found[0].encode("unicode_escape").decode(), text
    )
