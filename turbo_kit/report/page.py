"""What a report's page is made of: tables, figures with their tables, and sections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turbo_kit.figures import inline_svg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table of the page, which is a CSV file beside it too: texts, the first cell of each row being its header."""

    name: str
    """Of the CSV file, without its ending."""
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: "pd.DataFrame | None" = None
    """What the CSV file holds where it is not the texts themselves."""

    def frame(self) -> "pd.DataFrame":
        """The content of the CSV file."""
        import pandas as pd

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
    """Tables that stand there by themselves, below the figures."""
    small: bool = False
    """Whether the figures stand beside one another."""

    @property
    def anchor(self) -> str:
        """Where a link within the page leads."""
        return self.title.lower().replace(" ", "-")


def picture(figure: "Figure", alt: str, caption: str, table: Table) -> Picture:
    """A figure as the page shows it.

    Args:
        figure: of `turbo_kit.figures`.
        alt: what a reader who cannot see the figure is told.
        caption: stands below the figure.
        table: what the figure shows.
    """
    from markupsafe import Markup

    return Picture(Markup(inline_svg(figure, alt, f"figure-{table.name}")), caption, table)
