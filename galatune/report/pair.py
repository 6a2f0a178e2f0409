"""The old study and the smaller one that was made from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from numbers import Number
from typing import Any

from galatune.errors import ReportError
from galatune.formatting import printable
from galatune.study.ledger.provenance import old_study
from galatune.study.ledger.rows import Ledger, ledger
from galatune.study.storage.reading import open_source
from galatune.study.storage.writing import find_target, same_place

__all__ = ["Pair", "check_pair", "read_pair"]


@dataclass(frozen=True)
class Pair:
    """Two ledgers that belong together.

    Attributes:
        baseline: The old study.
        shrunk: The smaller one.
        notes: What a reader should know about how they were read.
    """

    baseline: Ledger
    shrunk: Ledger
    notes: tuple[str, ...] = ()

    def csv(self) -> str:
        """Every trial of both studies as CSV, one row per trial; no text in it is run by a spreadsheet."""
        import numpy as np
        import pandas as pd

        frames = [ledger.frame() for ledger in (self.baseline, self.shrunk)]
        filled = [frame for frame in frames if not frame.empty]
        table = pd.concat(filled or frames, ignore_index=True)
        for place, (_, column) in enumerate(table.items()):
            if pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column):
                table.isetitem(place, np.array([*map(_in_spreadsheet, column)], dtype=object))
        return str(table.rename(columns=_in_spreadsheet).to_csv(index=False))


_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_FORMULA = re.compile(r"[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212]|[\t\r\n]")
"""Also in full width, which some spreadsheets read alike; a tab may move the rest into a cell of its own."""


def _in_spreadsheet(cell: Any) -> Any:
    """A cell that is shown as it is: an apostrophe before a formula makes it text.

    Numbers stay numbers, and a choice such as "-5" that reads as one cannot do harm.

    >>> _in_spreadsheet("=1+1"), _in_spreadsheet("-5"), _in_spreadsheet(-5.0)
    ("'=1+1", '-5', -5.0)
    """
    if cell is None or isinstance(cell, Number | date):
        return cell
    text = str(cell)
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    return printable(text)


def read_pair(
    storage: str, study: str | None = None, into: str | None = None, name: str | None = None
) -> Pair:
    """Read both studies; neither storage is changed.

    Args:
        storage: Storage of the old study, a URL or a file.
        study: Its name; None if the storage holds one study only.
        into: Storage of the smaller study; None for the default of `galatune.run`.
        name: Name of the smaller study; None for the default of `galatune.run`.

    Raises:
        StorageError: One of them cannot be found or read.
        ReportError: The smaller study was made from another one.
    """
    with open_source(storage) as source:
        old = old_study(source, study)
        baseline = ledger(old, source.label)
        notes = [source.note_of(old)]
    place, target = find_target(baseline.study, into, name)
    if target == baseline.study and same_place(place, storage):
        raise ReportError(
            f"both studies are {target!r} in {source.label}; name the smaller one with --into and --name"
        )
    with open_source(place) as source:
        smaller = source.study(target)
        shrunk = ledger(smaller, source.label)
        notes += [source.note_of(smaller), check_pair(baseline, shrunk), _lost_constraints(baseline, shrunk)]
    return Pair(baseline, shrunk, tuple(note for note in notes if note is not None))


def check_pair(baseline: Ledger, shrunk: Ledger) -> str | None:
    """Check that the smaller study was made from this one, by what `galatune.run` wrote into it.

    Returns:
        A warning for the reader, None if there is none.

    Raises:
        ReportError: It was made from a study of another name, or the two have changed places.
    """
    if not shrunk.provenance.made_by_galatune:
        if baseline.provenance.source.get("study") == shrunk.study:
            raise ReportError(f"{baseline.study!r} was made from {shrunk.study!r}: the old one comes first")
        return (
            f"{printable(shrunk.study)} was not made by galatune run: nothing in it shows what was removed "
            "or controlled"
        )
    origin = shrunk.provenance.source.get("study")
    if origin is not None and origin != baseline.study:
        raise ReportError(
            f"the smaller study {shrunk.study!r} was made from {printable(str(origin))!r}, not from "
            f"{baseline.study!r}; name the pair with --study, --into and --name"
        )
    return _changed(baseline, shrunk)


def _lost_constraints(baseline: Ledger, shrunk: Ledger) -> str | None:
    """Warn of infeasible trials that may look best because nothing in the study marks them."""
    if not baseline.constrained or shrunk.constrained:
        return None
    return (
        f"the sampler of {printable(baseline.study)} knew constraints, and {printable(shrunk.study)} does "
        "not: see by hand whether its best trial meets them"
    )


def _changed(baseline: Ledger, shrunk: Ledger) -> str | None:
    """Warn if the old best that `galatune.run` saw is gone: it may be another study of the same name."""
    seen = shrunk.provenance.source.get("best_value")
    values = [row.value for row in baseline.complete]
    if not isinstance(seen, int | float) or seen in values or not values or None in values:
        return None
    return (
        f"the old best that {printable(shrunk.study)} was started from ({seen:.6g}) is not in "
        f"{printable(baseline.study)}: it may be another study of the same name"
    )
