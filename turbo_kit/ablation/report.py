"""The report: one self-contained HTML page over a folder of runs, and its summary table as CSV."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbo_kit.ablation.sections import Table, report_sections
from turbo_kit.ablation.summary import BASELINE, Row, idle_knobs, summary_rows, summary_table
from turbo_kit.ablation.wording import findings, format_table, gain, interval, percent, records, span
from turbo_kit.config import InputError
from turbo_kit.figures import run_classes
from turbo_kit.runs import Run, runs_in, write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["format_table", "summary_table", "write_report"]

SNIPPET = """\
import json, pathlib, pandas as pd; keys = {keys}
runs = {{done.parent: json.loads(done.with_name("{file}").read_text("utf-8")) \
for done in pathlib.Path().glob("*/DONE")}}
clips = pd.concat(pd.read_parquet(run / "predictions.parquet").assign(\
**{{key: str({facts}[key]) for key in [*keys, "seed"]}}) for run, facts in runs.items())
clips = clips.query("split == 'test'").dropna(subset="label").eval("right = label == predicted")
table = pd.DataFrame({{"UA": clips.groupby([*keys, "seed", "label"])["right"].mean().groupby(keys).mean(), \
"WA": clips.groupby(keys)["right"].mean()}}); print(table)"""


def write_report(folder: Path, out: Path | None = None, *, maps: bool = True) -> Path:
    """Writes `report.html`, which needs no other file and no network, and `report.csv` beside it.

    Args:
        folder: holds the run folders; those that are not finished are left out, and the report counts them.
        out: path of the HTML file, or an existing folder; None = `report.html` in `folder`.
        maps: whether to draw the embedding maps, the slowest part.

    Returns:
        The path of the HTML file.

    Raises:
        InputError: no such folder, or no finished run in it.
    """
    folder = Path(folder)
    every = list(runs_in(folder))
    finished = [run for run in every if run.done]
    if not finished:
        raise InputError(
            f"{folder} holds no finished run ({len(every)} unfinished): train and evaluate at least one, or name the "
            "folder that holds the run folders."
        )
    path = _target(folder, out)
    rows = summary_rows(finished)
    table = summary_table(finished)
    page = _template().render(
        title=_title(rows),
        abouts=list(dict.fromkeys(about for run in finished if (about := run.result["about_corpus"]))),
        facts=_facts(rows),
        knobs=_knobs(finished),
        findings=findings(table),
        unfinished=[run.folder.name for run in every if not run.done],
        summary=_summary(table),
        sections=list(report_sections(rows, table, maps)),
        baseline=BASELINE,
        chance=_chance(table),
        snippet=recompute_snippet(rows),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_atomically(path.with_suffix(".csv"), lambda partial: table.to_csv(partial, index=False))
    write_atomically(path, lambda partial: partial.write_text(page, encoding="utf-8"))
    return path


def recompute_snippet(rows: Sequence[Row]) -> str:
    """Five lines of pandas that give the table's UA and WA again, in the folder that holds the run folders."""
    keys = ["objective", *rows[0].differs]
    beyond = {"source", "encoders"} & set(keys)
    file, facts = ("result.json", '(facts | facts["config"])') if beyond else ("config.json", "facts")
    return SNIPPET.format(keys=json.dumps(keys), file=file, facts=facts)


def _target(folder: Path, out: Path | None) -> Path:
    path = folder if out is None else Path(out)
    if path.is_dir():
        return path / "report.html"
    if path.suffix not in (".html", ".htm"):
        raise InputError(f"{path}: a report ends in .html; name such a file, or a folder that exists.")
    return path


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2")


def _title(rows: Sequence[Row]) -> str:
    names = (Path(run.config.corpus.removeprefix("manifest:")).name for row in rows for run in row.runs)
    corpora = ", ".join(dict.fromkeys(names))
    objectives = len({row.objective for row in rows})
    return f"{objectives} objective{'s' * (objectives > 1)} on {corpora}"


def _chance(table: "pd.DataFrame") -> str:
    known = [(name, column) for name in ("R@1", "R@5", "R@10") if (column := f"chance_{name}") in table]
    means = ", ".join(f"{name} {percent(table[column].mean())} %" for name, column in known)
    return f"A random order would give {means}." if known else "No run has two modalities in one space."


def _facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What was run, in the order a reader asks."""
    runs = [run for row in rows for run in row.runs]
    configs, results = [run.config for run in runs], [run.result for run in runs]
    lists = [run.fold for run in runs]

    def each(values: Iterable[Any]) -> str:
        return ", ".join(dict.fromkeys(map(str, values)))

    sizes = (" / ".join(str(len(fold[part]["id"])) for part in ("train", "dev", "test")) for fold in lists)
    encoders = (f"{m} {name}" for config in configs for m, name in config.modalities.items())
    weights = (f"{m} {digest[:12]}" for result in results for m, digest in result["encoders"].items())
    versions = (f"{name} {version}" for result in results for name, version in result["versions"].items())
    seconds = [result["timings"]["training_seconds"] for result in results]
    with_pairs = [row for row in rows if "contrastive_weight" not in idle_knobs(row)]
    pair_weights = (f"{row.objective} {row.runs[0].config.contrastive_weight:g}" for row in with_pairs)
    return [
        ("Corpus", each(config.corpus for config in configs)),
        ("Classes", each(run_classes(runs))),
        ("Clips: train / dev / test", each(sizes)),
        ("Encoders", each(encoders)),
        ("Digests of their weights", each(weights)),
        ("Contrastive weight", each(pair_weights) or "no pairs"),
        ("Runs", f"{len(runs)}, in {len(rows)} row{'s' * (len(rows) > 1)}"),
        ("Folds", span([config.fold for config in configs])),
        ("Seeds", span([config.seed for config in configs])),
        ("Trained parameters", each(f"{result['parameters']:,}" for result in results)),
        ("Device", each(result["device"] for result in results)),
        (
            "Training time of a run",
            " to ".join(dict.fromkeys(f"{value:.1f} s" for value in (min(seconds), max(seconds)))),
        ),
        ("Versions", each(versions)),
        ("Source of the kit", each(result["source"][:12] for result in results)),
    ]


def _knobs(runs: Sequence[Run]) -> Table:
    configs = [run.config.to_dict() for run in runs]
    rows = [(knob, "; ".join(dict.fromkeys(str(config[knob]) for config in configs))) for knob in configs[0]]
    return Table("Every knob of the runs, and the values it had", ("knob", "values"), rows)


def _summary(table: "pd.DataFrame") -> Table:
    columns = [("macro F1 %", "macro_F1"), ("EER %", "EER"), ("ROC-AUC %", "ROC_AUC")]
    columns += [(f"{name} %", name) for name in ("R@1", "R@5", "R@10")]
    columns = [(head, name) for head, name in columns if name in table]
    head = ["objective", "runs", "UA %", "95 % interval", f"UA - {BASELINE} in points", "verdict", "WA %"]
    rows = []
    for values in records(table):
        cells = [values["objective"], str(values["runs"]), percent(values["UA"]), interval(values, "UA")]
        cells += [gain(values) or "-", values["verdict"], percent(values["WA"])]
        rows.append([*cells, *(percent(values[name]) for _, name in columns)])
    return Table("Test scores, one row an objective", [*head, *(name for name, _ in columns)], rows)
