"""The commands that `scan` offers, ready to be pasted; passwords are left out of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from galatune.formatting import in_shell, printable
from galatune.study.scan.dimensions import RateDimension

__all__ = ["details_line", "options_said", "unsure_lines"]


def options_said(lr: Collection[str], keep: Collection[str], drop_schedule: bool) -> tuple[str, ...]:
    """What was asked for, as options of a command.

    >>> options_said(["speed"], [], True)
    ('--lr', 'speed', '--drop-schedule')
    """
    said = [word for name in lr for word in ("--lr", name)]
    said += [word for name in keep for word in ("--keep", name)]
    return (*said, *["--drop-schedule"] * drop_schedule)


def unsure_lines(
    storage: str, study: str, options: Sequence[str], dimensions: Sequence[RateDimension]
) -> list[str]:
    """What to do about each parameter that may be a learning rate.

    Args:
        storage: Of the study.
        study: Its name.
        options: What was asked for already.
        dimensions: Of every role.
    """
    lines = []
    for name in (dimension.name for dimension in dimensions if dimension.role == "unsure"):
        rate, other = (_command(storage, study, *options, option, name) for option in ("--lr", "--keep"))
        lines.append(
            f"{printable(name)} may be a learning rate, and is kept. If it is the rate of a torch optimizer: "
            f"{rate}\nIf it is not: {other}\ngalatune run takes the same option."
        )
    return lines


def details_line(storage: str, study: str) -> str:
    """How to see one study of several."""
    return f"Details of one: {_command(storage, study)}"


def _command(storage: str, study: str, *options: str) -> str:
    place = f"./{storage}" if storage.startswith("-") else storage
    return " ".join(map(in_shell, ["galatune", "scan", place, "--study", study, *options]))
