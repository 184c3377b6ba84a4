"""The command line: `turbo-kit demo`, `train`, `ablate`, `report`, `embed`, `corpus`."""

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tyro
from tyro.conf import Positional

from turbo_kit.config import InputError, RunConfig, unknown

DEMO_GRID = [
    {"objective": objective, "contrastive_weight": weight, "normalize_pairs": True}
    for objective, weight in {"ce-2pass": 0.0, "in-modal": 0.1, "cross-modal": 0.1, "turbo": 1.0}.items()
]
"""One fold and seed each. Pair weights sum to 1, so that objectives differ in their pairs and not in their loudness;
the weight of the pairs as a whole was chosen for each on this fold's development clips, with another seed (README)."""


def demo(out: Path = Path("demo-runs")) -> None:
    """Train four objectives on the embedded corpus and compare them (two to three minutes on a laptop).

    Args:
        out: Folder of the runs and the report.
    """
    from turbo_kit.ablation.grid import configs_of

    _say("Corpus demo-emotion: synthetic speech, 4 classes. Four objectives, one fold and one seed each.")
    _say("The first run also computes what the frozen encoders make of every clip; later runs read it from a cache.")
    _ablate(configs_of(DEMO_GRID), out)


def train(
    config: tyro.conf.OmitArgPrefixes[RunConfig] = RunConfig(),  # noqa: B008 (frozen)
    out: Path = Path("runs"),
    again: bool = False,
) -> None:
    """Train one model, test it once, and keep all of it in a run folder.

    Args:
        config: Every knob of the run.
        out: Folder that the run folder is made in.
        again: Train even if this very run is there already.
    """
    from turbo_kit import evaluate, load_corpus
    from turbo_kit.training import train as train_run

    fold = load_corpus(config.corpus).fold(config.fold)
    run = train_run(config, fold.train, fold.dev, out, again=again, progress=True)
    scores = evaluate(run, fold.test, progress=True)
    shown = ("UA", "WA", "macro_F1", "EER", "ROC_AUC")
    _say("test: " + ", ".join(f"{name} {scores[name]:.3f}" for name in shown if scores.get(name) is not None))
    _say(f"run: {run.folder}")


def ablate(
    settings: Positional[tuple[str, ...]] = (),
    grid: Path | None = None,
    out: Path = Path("runs"),
    plan: bool = False,
) -> None:
    """Run the training notebook over a grid, then write the report; what is complete already is not repeated.

    Args:
        settings: Parameters and their values, such as objective=ce-2pass,turbo fold=0,1,2,3 seed=0,1,2
            normalize_pairs=true. Every name and type is checked before the first run.
        grid: A TOML or JSON file of parameters and values instead (several grids: tables under [[grid]]).
        out: Folder of the runs and the report.
        plan: Only say what would be run.
    """
    from turbo_kit.ablation.grid import configs_of, parse_settings, read_grid

    if (grid is None) == (not settings):
        raise InputError("give either settings (objective=ce-2pass,turbo seed=0,1) or --grid FILE.")
    configs = configs_of(read_grid(grid) if grid else parse_settings(settings))
    if plan:
        default = RunConfig().to_dict()
        for number, config in enumerate(configs, start=1):
            named = {
                name: value
                for name, value in config.to_dict().items()
                if value != default[name] or name in ("objective", "fold", "seed")
            }
            _say(f"[{number}/{len(configs)}] " + " ".join(f"{name}={value}" for name, value in named.items()))
        return
    _ablate(configs, out)


def report(folder: Positional[Path] = Path("runs"), out: Path | None = None) -> None:
    """Write report.html (one file, nothing to download) and report.csv from the complete runs of a folder.

    Args:
        folder: Folder of the runs.
        out: Where the report goes, if not into that folder.
    """
    _report(folder, out)


def embed(model: Positional[Path], corpus: str = "demo-emotion", out: Path = Path("embeddings.parquet")) -> None:
    """Embed and classify the clips of a corpus with a trained model, into one table.

    Args:
        model: A run folder, or the folder of a saved model.
        corpus: Name of a corpus, or manifest:FILE.
        out: The table: id, speaker, label, predicted label, probabilities, and each modality's embedding as a list.
    """
    from turbo_kit import TurboModel, load_corpus
    from turbo_kit.runs import write_atomically

    if not model.is_dir():
        raise InputError(f"{model}: no such folder; give a run folder, or the folder of a saved model.")
    folder = model / "checkpoint" if (model / "checkpoint").is_dir() else model
    if out.suffix != ".parquet":
        raise InputError(f"{out}: the table is written as .parquet; give such a name.")
    loaded = TurboModel.from_pretrained(folder)
    clips = load_corpus(corpus).utterances
    inputs: dict[str, Any] = {}
    if "audio" in loaded.modalities:
        inputs["audio_paths"] = [u.path for u in clips]
    if "text" in loaded.modalities:
        inputs["texts"] = [u.text for u in clips]
    table = loaded.predict(**inputs).rename(columns={"label": "predicted"})
    for place, name in enumerate(("id", "speaker", "label")):
        table.insert(place, name, [getattr(u, name) for u in clips])
    for name, array in loaded.embed(**inputs).items():
        table[name] = list(array)
    write_atomically(out, table.to_parquet)
    _say(f"{len(table)} clips: {out}")


def corpus(action: Positional[Literal["list", "check"]] = "list", name: Positional[str] = "demo-emotion") -> None:
    """List the corpora, or check one: every row, every audio file, every fold.

    Args:
        action: What to do.
        name: Which corpus to check: a name, or manifest:FILE.
    """
    from turbo_kit.corpora import EMBEDDED, FROM_FILES, load_corpus

    if action == "list":
        for known in EMBEDDED:
            found = load_corpus(known)
            classes = ", ".join(found.classes)
            _say(f"{known}: {len(found)} clips, {found.folds} folds, classes {classes}. {found.about}")
        for reader in FROM_FILES:
            _say(
                f"{reader}:FILE: your own clips; columns id, path, text, label, speaker (and group, template, seconds)."
            )
        return
    from turbo_kit.batches import check_audio

    found = load_corpus(name)
    seconds = check_audio(found.utterances)
    for index in range(found.folds):
        parts = vars(found.fold(index))
        _say(f"fold {index}: " + ", ".join(f"{part} {len(clips)}" for part, clips in parts.items()) + " clips, no leak")
    speakers = len({u.speaker for u in found.utterances})
    _say(f"{name}: {len(found)} clips, {seconds / 60:.1f} minutes, {speakers} speakers: good")


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
    except RuntimeError as error:
        sys.exit(_failed(str(error), 1))


def _ablate(configs: Sequence[RunConfig], out: Path) -> None:
    from turbo_kit.ablation.execute import execute

    started = time.perf_counter()
    execute(configs, out, report=_say)
    _say(f"{len(configs)} runs in {time.perf_counter() - started:.0f} s; writing the report ...")
    _report(out)


def _report(folder: Path, out: Path | None = None) -> None:
    import pandas as pd

    from turbo_kit.ablation.report import format_table, write_report

    page = write_report(folder, out)
    _say("\n" + format_table(pd.read_csv(page.with_suffix(".csv"))) + "\n")
    _say(f"report: {page}")


def _say(line: str) -> None:
    print(line, flush=True)


def _failed(message: str, code: int) -> int:
    print(f"turbo-kit: error: {message}", file=sys.stderr)
    return code
