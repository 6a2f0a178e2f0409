"""How tables of the testbed look; each room says what stands in them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

__all__ = ["interval_text", "plain_table"]


def plain_table(title: str, headings: Sequence[str], left: Sequence[str] = ("method",)) -> Table:
    """Return an empty table without lines.

    Args:
        title: Above it.
        headings: Of the columns.
        left: Headings of the columns that are set to the left; numbers are set to the right.
    """
    table = Table(title=title, title_justify="left", box=None)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right")
    return table


def interval_text(interval: tuple[float, float], digits: int = 3) -> str:
    """Both ends with their signs and so many digits behind the point.

    >>> interval_text((-1.0, 0.25), 2)
    '-1.00 to +0.25'
    """
    return f"{interval[0]:+.{digits}f} to {interval[1]:+.{digits}f}"
