"""A grid: values for each parameter, and the configs of its runs, all checked before the first one starts."""

import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from turbo_kit.config import InputError, RunConfig, unknown

Grid = Mapping[str, Any]
"""A value, or a list of values to go through, for each parameter: {"objective": ["ce-2pass", "turbo"], "seed": 0}.

A table under `grid`, or a list of such tables, adds parameters that go together; what stands beside `grid` holds for
all of them, and `about` is a line for people."""

PRESETS = Path(__file__).parent / "presets"
"""One TOML file for each included grid."""


def configs_of(grids: Grid | Sequence[Grid], overrides: Grid | None = None) -> list[RunConfig]:
    """The config of every run of a grid, in the order of the last parameter fastest.

    Args:
        grids: one grid, or several whose runs follow each other. A list is a list of values; everything else is one
            value.
        overrides: parameters that take the place of the same ones in every table of the grid, or come beside them.

    Returns:
        Each config once. One with `searched` still has to be settled by its search.

    Raises:
        InputError: a parameter that does not exist (with the nearest one that does), a value of a wrong type or out of
            range, or no run at all.
    """
    configs: dict[str, RunConfig] = {}
    for table in _tables(grids):
        table = {**table, **(overrides or {})}
        values = [value if isinstance(value, list | tuple) else [value] for value in table.values()]
        for combination in itertools.product(*values):
            config = RunConfig.from_dict(dict(zip(table, combination, strict=True)))
            configs.setdefault(json.dumps(config.to_dict(), sort_keys=True), config)
    if not configs:
        raise InputError("the grid has no run: give each parameter at least one value.")
    return list(configs.values())


def search_configs(config: RunConfig) -> list[RunConfig]:
    """The runs of the search that settles the `searched` options of a config, in the order of their values."""
    if not config.training.searched:
        return []
    known = config.to_dict() | {"searched": {}}
    return [
        RunConfig.from_dict(known | dict(zip(config.training.searched, values, strict=True)))
        for values in itertools.product(*config.training.searched.values())
    ]


def with_chosen_values(config: RunConfig, scores: Sequence[float]) -> RunConfig:
    """The config with the values whose search run scored best on development data; the first of equal ones.

    Args:
        config: one with `searched`.
        scores: of `search_configs(config)`, in that order; higher is better.
    """
    best = search_configs(config)[max(range(len(scores)), key=scores.__getitem__)]
    return RunConfig.from_dict(best.to_dict() | {"seed": config.training.seed, "searched": config.training.searched})


def load_grid(name: str) -> Grid | Sequence[Grid]:
    """A grid by the name of a preset, such as `objectives`, or from a .toml, .yaml or .json file.

    Raises:
        InputError: no such preset or file, or a file that holds something else.
    """
    if Path(name).suffix or "/" in name:
        return read_grid(Path(name))
    if name not in preset_names():
        raise unknown("ablation", name, preset_names())
    return read_grid(PRESETS / f"{name}.toml")


def preset_names() -> list[str]:
    """The names of the included grids."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def read_grid(path: Path) -> Grid | Sequence[Grid]:
    """Reads a grid from a TOML, YAML or JSON file: one table, or several under `grid`.

    Raises:
        InputError: the file is missing, not TOML, YAML or JSON, or holds something else.
    """
    readers: dict[str, Any] = {".toml": tomllib.loads, ".json": json.loads}
    readers |= dict.fromkeys((".yaml", ".yml"), yaml.safe_load)
    if path.suffix not in readers:
        raise InputError(f"{path}: a grid is a .toml, .yaml or .json file, not {path.suffix!r}.")
    try:
        found = readers[path.suffix](path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the grid cannot be read ({error.strerror}): correct its path.") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not valid {path.suffix[1:].upper()} ({error}).") from error
    outer = found if isinstance(found, list) else [found]
    tables: list[Any] = [part for table in outer for part in (table, *_under_grid(table))]
    if not tables or not all(isinstance(table, dict) and table for table in tables):
        raise InputError(f"{path}: expected parameters and values, such as objective = ['ce-2pass', 'turbo'].")
    return found  # type: ignore[no-any-return]


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Reads a grid as it is written on a command line: `objective=ce-2pass,turbo seed=0,1 epochs=5`.

    Raises:
        InputError: a setting without `=` or value, or a parameter given twice.
    """
    grid: dict[str, Any] = {}
    for setting in settings:
        name, equals, written = setting.partition("=")
        name = name.replace("-", "_")
        if not equals or not written:
            raise InputError(f"setting {setting!r} is not NAME=VALUE or NAME=VALUE,VALUE, such as seed=0,1,2.")
        if name in grid:
            raise InputError(f"parameter {name!r} is given twice: write its values in one setting, {name}=A,B.")
        whole = _literal(written)
        grid[name] = whole if isinstance(whole, dict | list) else [_literal(value) for value in written.split(",")]
    return grid


def _tables(grids: Grid | Sequence[Grid]) -> list[dict[str, Any]]:
    """Every table of a grid, merged with the parameters shared by all of them."""
    tables: list[dict[str, Any]] = []
    for grid in [grids] if isinstance(grids, Mapping) else grids:
        shared = {name: value for name, value in grid.items() if name not in ("grid", "about")}
        tables += [{**shared, **table} for table in _under_grid(grid)] if "grid" in grid else [shared]
    return tables


def _under_grid(table: Any) -> list[Any]:
    below = table.get("grid", []) if isinstance(table, Mapping) else []
    return below if isinstance(below, list) else [below]


def _literal(written: str) -> Any:
    """A number, true, false, null, list or table as JSON has it; any other text is itself."""
    try:
        return json.loads(written)
    except ValueError:
        return None if written == "None" else written
