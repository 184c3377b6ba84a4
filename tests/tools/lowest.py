"""Prints the lowest versions of what the kit needs that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
for requirement in (*project["dependencies"], *project["optional-dependencies"]["dask"]):
    if found := re.match(r"([\w-]+)>=([\d.]+)", requirement):
        print(f"{found[1]}=={found[2]}")
