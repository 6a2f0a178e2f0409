"""The trials that a page shows: all of a small study, the best of a large one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from galatune.formatting import in_shell, number, printable, shortened
from galatune.study.ledger.match import oriented
from galatune.study.ledger.rows import Ledger, TrialRow

__all__ = ["TrialTable", "cell", "csv_command", "trial_table"]

MOST_ROWS, FEWEST_ROWS, MOST_CELLS = 300, 20, 10_000
LONGEST_CELL = 200


@dataclass(frozen=True)
class TrialTable:
    """What the template needs to show the trials of a study.

    Attributes:
        title: "Smaller study" or "Old study".
        study: Its ledger.
        rows: The trials that are shown.
        names: Parameters, one column each.
        controlled: Whether a trial recorded what control cost.
        staged: Whether trials belong to several stages.
        failed: Whether a trial says why it failed.
    """

    title: str
    study: Ledger
    rows: tuple[TrialRow, ...]
    names: tuple[str, ...]
    controlled: bool
    staged: bool
    failed: bool

    @property
    def whole(self) -> bool:
        """Whether every trial is shown."""
        return len(self.rows) == len(self.study.rows)


def trial_table(title: str, study: Ledger) -> TrialTable:
    """Choose the trials and columns of a study, so that a page stays small whatever the study is."""
    names = tuple(dict.fromkeys(name for row in study.rows for name in row.params))
    rows = _best(study, max(FEWEST_ROWS, min(MOST_ROWS, MOST_CELLS // (len(names) + 1))))
    return TrialTable(
        title=title,
        study=study,
        rows=rows,
        names=names,
        controlled=any(row.record for row in rows),
        staged=any(row.stage != "search" for row in rows),
        failed=any(row.reason for row in rows),
    )


def csv_command(baseline: Ledger, shrunk: Ledger) -> str:
    """The command that writes every trial; a password is left out of it."""
    words = ["galatune", "report", baseline.storage or "STORAGE", "--study", baseline.study]
    words += ["--into", shrunk.storage or "STORAGE2", "--name", shrunk.study, "--csv", "trials.csv"]
    return " ".join(map(in_shell, words))


def _best(study: Ledger, most: int) -> tuple[TrialRow, ...]:
    """All rows in their order; of too many the best, best first, then others while there is room."""
    if len(study.rows) <= most:
        return study.rows
    ranked = sorted(study.complete, key=lambda row: oriented(row, study.directions))[:most]
    others = (row for row in study.rows if not row.scored)
    return (*ranked, *(row for row, _ in zip(others, range(most - len(ranked)), strict=False)))


def cell(value: Any) -> str:
    """Anything from a study as one short line of text."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    text = str(value) if isinstance(value, bool | str) else json.dumps(value, default=str)
    return printable(shortened(text, LONGEST_CELL))
