"""The report: one self-contained HTML page over a folder of runs, and each of its tables as CSV."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from turbo_kit.config import InputError
from turbo_kit.figures import run_classes
from turbo_kit.report.error_rates import detection_sections
from turbo_kit.report.grouping import summary_rows, unused_options
from turbo_kit.report.page import Section, Table
from turbo_kit.report.pair_sections import board_sections, search_sections
from turbo_kit.report.published import published_sections
from turbo_kit.report.robustness import robustness_sections, transcript_sources
from turbo_kit.report.rows import BASELINE, Row
from turbo_kit.report.run_list import FolderRuns, failed_table, find_runs, relative_link, row_anchor, run_table
from turbo_kit.report.score_sections import (
    confusion_section,
    geometry_sections,
    learning_section,
    map_section,
    score_section,
)
from turbo_kit.report.sentences import (
    difference_with_interval,
    findings,
    interval,
    number,
    number_ranges,
    p_value,
    percent,
    records,
)
from turbo_kit.report.summary import rows_table, search_scores
from turbo_kit.runs import Run, write_atomically

NAMED = 8
"""Maximum number of omitted runs that the page lists by name."""

SNIPPET = """\
import json, pathlib, pandas as pd; keys = {keys}
runs = {{done.parent: json.loads(done.with_name("{file}").read_text("utf-8")) \
for done in pathlib.Path().glob("*/DONE")}}
clips = pd.concat(pd.read_parquet(run / "predictions.parquet").assign(\
seed={facts}["seed"], **{{key: str({value}) for key in keys}}) for run, facts in runs.items())
clips = clips.query("split == 'test'").dropna(subset="label").eval("right = label == predicted")
table = pd.DataFrame({{"UA": clips.groupby([*keys, "seed", "label"])["right"].mean().groupby(keys).mean(), \
"WA": clips.groupby(keys)["right"].mean()}}); print(table)"""


def write_report(folder: Path, out: Path | None = None, *, maps: bool = True, baseline: str = BASELINE) -> Path:
    """Writes `report.html`, which needs no other file and no network, and every table of it as CSV.

    Beside the page stand `report.csv`, the summary, and the folder `report_tables`, which is replaced as a whole. The
    page links to them, and to the notebook, config and result of each run, where they lie now.

    Args:
        folder: holds the run folders; those that are not finished are left out, and the report says which.
        out: path of the HTML file, or an existing folder; None = `report.html` in `folder`.
        maps: whether to draw the embedding maps, the slowest part.
        baseline: the objective that the others are compared with.

    Returns:
        The path of the HTML file.

    Raises:
        InputError: no such folder, no finished run in it, or none of a baseline other than the default.
    """
    folder = Path(folder)
    found = _finished_runs(folder)
    path = _target(folder, out)
    tables_folder = path.with_name(f"{path.stem}_tables")
    rows = summary_rows(found.finished, baseline)
    table = rows_table(rows, baseline)
    plain = _plain(rows)
    board, sections = leaderboard_table(rows, table, baseline), list(_sections(rows, table, found, maps))
    runs = [run_table(plain, path), *([failed_table(found.failed, path)] if found.failed else [])]
    knobs = _knobs(found.finished)
    page = _template().render(
        title=_title(rows),
        abouts=list(dict.fromkeys(about for run in found.finished if (about := run.result["about_corpus"]))),
        facts=_facts(plain),
        knobs=knobs,
        findings=findings(table),
        left_out=_left_out(found),
        summary=board,
        sections=sections,
        runs=runs,
        tables_folder=relative_link(tables_folder, path),
        csv=relative_link(path.with_suffix(".csv"), path),
        baseline=baseline,
        chance=_chance(table),
        snippet=recompute_snippet(plain),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    shown = [part.table for section in sections for part in section.pictures]
    beside = [one for section in sections for one in section.tables]
    write_atomically(tables_folder, lambda partial: _write_tables([board, knobs, *runs, *shown, *beside], partial))
    write_atomically(path.with_suffix(".csv"), lambda partial: table.to_csv(partial, index=False))
    write_atomically(path, lambda partial: partial.write_text(page, encoding="utf-8"))
    return path


def _finished_runs(folder: Path) -> FolderRuns:
    """The runs of a folder, of which at least one is finished."""
    found = find_runs(folder)
    if not found.finished:
        left = len(found.unfinished) + len(found.searched)
        raise InputError(
            f"{folder} holds no finished run ({left} unfinished, {len(found.failed)} failed): train and evaluate at "
            "least one, or name the folder that holds the run folders."
        )
    return found


def leaderboard_table(rows: Sequence[Row], table: pd.DataFrame, baseline: str) -> Table:
    """Every row with its scores and its difference to the baseline; the number of runs leads to their list."""
    more = [("macro F1 %", "macro_F1"), ("EER %", "EER"), ("ROC-AUC %", "ROC_AUC")]
    more += [(f"{name} %", name) for name in ("R@1", "R@5", "R@10")]
    more = [(head, name) for head, name in more if name in table]
    head = ["objective", "runs", "UA %", "sd", "95 % interval", f"UA - {baseline} in points", "p (Holm)", "d_z"]
    places = {run: place for place, row in enumerate(_plain(rows), start=1) for run in row.runs}
    cells = []
    for row, values in zip(rows, records(table), strict=True):
        link = Markup('<a href="#{}">{}</a>').format(row_anchor(places[row.runs[0]]), values["runs"])
        scores = [percent(values["UA"]), percent(values["UA_sd"]), interval(values, "UA")]
        tests = [difference_with_interval(values) or "-", p_value(values["p_holm"])]
        tests += [number(values["effect_size"], "+.2f"), values["verdict"]]
        cells.append([row.name, link, *scores, *tests, *(percent(values[name]) for _, name in [("", "WA"), *more])])
    columns = ["objective", "runs", "UA", "UA_sd", "UA_low", "UA_high", "difference", "difference_low"]
    columns += ["difference_high", "p_holm", "effect_size", "verdict", "WA", *(name for _, name in more)]
    heads = [*head, "verdict", "WA %", *(name for name, _ in more)]
    return Table("leader-board", "Test scores, one row an objective", heads, cells, table[columns])


def recompute_snippet(rows: Sequence[Row]) -> str:
    """Five lines of pandas that recompute the table's UA and WA in the folder of the run folders."""
    keys = ["objective", *rows[0].differs]
    beyond = {"source", "encoders"} & set(keys)
    file, facts = ("result.json", '(facts | facts["config"])') if beyond else ("config.json", "facts")
    value = f"{facts}[key]"
    if any(row.chosen for row in rows):  # what a search chose differs by fold inside a row
        value = f'{facts}["searched"].get(key, {value})'
    return SNIPPET.format(keys=json.dumps(keys), file=file, facts=facts, value=value)


def _sections(rows: Sequence[Row], table: pd.DataFrame, found: FolderRuns, maps: bool) -> Iterator[Section]:
    """Every figure of the report with its table, section by section."""
    plain = _plain(rows)
    tested = table[[row.split == "test" for row in rows]].reset_index(drop=True)
    first = tested["verdict"].iloc[0] == "baseline"
    yield score_section(table)
    yield from detection_sections(plain)
    yield from published_sections(plain, tested)
    yield from board_sections(plain, tested)
    yield from search_sections(plain, search_scores(plain, found.searched))
    yield from robustness_sections(plain)
    yield learning_section(plain, plain[0].name if first else None)
    yield confusion_section(plain)
    yield from geometry_sections(tested)
    if maps:
        yield map_section(plain)


def _plain(rows: Sequence[Row]) -> list[Row]:
    """The rows tested with all modalities."""
    return [row for row in rows if row.split == "test"]


def _left_out(found: FolderRuns) -> list[str]:
    """The runs of the folder that the scores omit, counted by kind, and named where they are few."""
    kinds = {
        "Failed runs, listed below": found.failed,
        "Unfinished runs, left out": found.unfinished,
        "Runs of searches, trained and not tested": found.searched,
    }
    names = {kind: f" ({', '.join(run.folder.name for run in runs)})" for kind, runs in kinds.items()}
    return [f"{kind}: {len(runs)}{names[kind] if len(runs) <= NAMED else ''}." for kind, runs in kinds.items() if runs]


def _write_tables(tables: Sequence[Table], folder: Path) -> None:
    folder.mkdir()
    for table in tables:
        table.frame().to_csv(folder / f"{table.name}.csv", index=False)


def _target(folder: Path, out: Path | None) -> Path:
    path = folder if out is None else Path(out)
    if path.is_dir():
        return path / "report.html"
    if path.suffix not in (".html", ".htm"):
        raise InputError(f"{path}: a report ends in .html; name such a file, or a folder that exists.")
    return path


def _template() -> Any:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2")


def _title(rows: Sequence[Row]) -> str:
    parts = (run.config.data.corpus.partition(":") for row in rows for run in row.runs)
    corpora = ", ".join(dict.fromkeys(Path(path).name if kind == "manifest" else kind for kind, _, path in parts))
    objectives = len({row.objective for row in rows})
    return f"{objectives} objective{'s' * (objectives > 1)} on {corpora}"


def _chance(table: pd.DataFrame) -> str:
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
    extremes = (min(seconds), max(seconds))
    with_pairs = [row for row in rows if "contrastive_weight" not in unused_options(row)]
    return [
        ("Corpus", each(config.data.corpus for config in configs)),
        ("Classes", each(run_classes(runs))),
        ("Clips: train / dev / test", each(sizes)),
        *(("Transcripts", said) for said in [transcript_sources(runs)] if said),
        ("Encoders", each(encoders)),
        ("Digests of their weights", each(weights)),
        ("Contrastive weight", _weights(with_pairs) or "no contrastive terms"),
        ("Runs", f"{len(runs)}, in {len(rows)} row{'s' * (len(rows) > 1)}"),
        ("Folds", number_ranges([config.data.fold for config in configs])),
        ("Seeds", number_ranges([config.training.seed for config in configs])),
        ("Trained parameters", each(f"{result['parameters']:,}" for result in results)),
        ("Device", each(result["device"] for result in results)),
        ("Training time of a run", " to ".join(dict.fromkeys(f"{value:.1f} s" for value in extremes))),
        ("Versions", each(versions)),
        ("Source of the kit", each(result["source"][:12] for result in results)),
    ]


def _weights(rows: Sequence[Row]) -> str:
    """The contrastive weights of each objective, those that a search chose apart."""
    found: dict[str, set[float]] = {}
    for row in rows:
        chosen = "contrastive_weight" in row.chosen
        values = row.chosen["contrastive_weight"].values() if chosen else [row.runs[0].config.loss.contrastive_weight]
        found.setdefault(f"{row.objective}{' chosen by fold' if chosen else ''}", set()).update(values)
    return "; ".join(f"{name} {', '.join(f'{value:g}' for value in sorted(found[name]))}" for name in found)


def _knobs(runs: Sequence[Run]) -> Table:
    configs = [run.config.to_dict() for run in runs]
    rows = [(knob, "; ".join(dict.fromkeys(str(config[knob]) for config in configs))) for knob in configs[0]]
    return Table("knobs", "Every knob of the runs, and the values it had", ("knob", "values"), rows)
