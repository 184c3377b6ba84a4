"""Every file of the package has a name of its own, so that none is mistaken for another."""

from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "turbo_kit"
SOURCES = {".py", ".js", ".css", ".j2"}
DATA = {"demo", "weights"}
"""Folders of data, with the scripts that made them."""


def test_no_two_files_share_a_name_or_differ_by_a_plural_alone():
    named = defaultdict(list)
    for path in PACKAGE.rglob("*"):
        place = path.relative_to(PACKAGE)
        if path.suffix in SOURCES and path.name != "__init__.py" and not DATA & set(place.parts):
            named[path.name.split(".")[0].removesuffix("s")].append(place.as_posix())
    assert len(named) > 50
    assert [sorted(files) for files in named.values() if len(files) > 1] == []
