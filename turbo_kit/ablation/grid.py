"""A grid: parameters by values, and the configs of its runs, all checked before the first of them starts."""

import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turbo_kit.config import InputError, RunConfig

Grid = Mapping[str, Any]
"""A value, or a list of values to go through, for each parameter: {"objective": ["ce-2pass", "turbo"], "seed": 0}."""


def configs_of(grids: Grid | Sequence[Grid]) -> list[RunConfig]:
    """The config of every run of a grid, in the order of the last parameter fastest.

    Args:
        grids: one grid, or several whose runs follow each other (where a parameter goes with another, such as a weight
            with an objective). A list is a list of values; everything else is one value.

    Returns:
        Each config once.

    Raises:
        InputError: a parameter that does not exist (with the nearest one that does), a value of a wrong type or out of
            range, or no run at all.
    """
    configs: dict[str, RunConfig] = {}
    for grid in [grids] if isinstance(grids, Mapping) else grids:
        values = [value if isinstance(value, list | tuple) else [value] for value in grid.values()]
        for combination in itertools.product(*values):
            config = RunConfig.from_dict(dict(zip(grid, combination, strict=True)))
            configs.setdefault(json.dumps(config.to_dict(), sort_keys=True), config)
    if not configs:
        raise InputError("the grid has no run: give each parameter at least one value.")
    return list(configs.values())


def read_grid(path: Path) -> Grid | Sequence[Grid]:
    """Reads a grid from a TOML or JSON file: one table, or several under `[[grid]]` (in JSON: a list).

    Raises:
        InputError: the file is missing, not TOML or JSON, or holds something else.
    """
    readers = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix not in readers:
        raise InputError(f"{path}: a grid is a .toml or .json file, not {path.suffix!r}.")
    try:
        found = readers[path.suffix](path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the grid cannot be read ({error.strerror}): correct its path.") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid {path.suffix[1:].upper()} ({error}).") from error
    if isinstance(found, dict) and list(found) == ["grid"]:
        found = found["grid"]
    if not isinstance(found, dict) and not (isinstance(found, list) and all(isinstance(part, dict) for part in found)):
        raise InputError(f"{path}: expected parameters and values, such as objective = ['ce-2pass', 'turbo'].")
    return found


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


def _literal(written: str) -> Any:
    """A number, true, false, null, list or table as JSON has it; any other text is itself."""
    try:
        return json.loads(written)
    except ValueError:
        return None if written == "None" else written
