"""The parts of a report's page: tables, figures with their tables, and sections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import Markup

from turbo_kit.figures import inline_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table of the page, also written as a CSV file; the first cell of each row is its header."""

    name: str
    """Of the CSV file, without its ending."""
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: pd.DataFrame | None = None
    """The content of the CSV file; None = the texts themselves."""

    def frame(self) -> pd.DataFrame:
        """The content of the CSV file."""
        return pd.DataFrame(list(self.rows), columns=list(self.head)) if self.numbers is None else self.numbers


@dataclass(frozen=True)
class Picture:
    """A figure of the page with the table of what it shows."""

    svg: str
    caption: str
    table: Table


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    text: str
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    """Tables without a figure, below the figures."""
    small: bool = False
    """Whether the figures are placed side by side."""

    @property
    def anchor(self) -> str:
        """The id that links within the page lead to."""
        return self.title.lower().replace(" ", "-")


def picture(figure: "Figure", alt: str, caption: str, table: Table) -> Picture:
    """A figure as the page shows it.

    Args:
        figure: of `turbo_kit.figures`.
        alt: alternative text.
        caption: stands below the figure.
        table: what the figure shows.
    """
    return Picture(Markup(inline_svg(figure, alt, f"figure-{table.name}")), caption, table)
