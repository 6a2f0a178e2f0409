"""What several workers cost, as a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from rich.table import Table

from galatune.bench.cost.workers import Compared, Run
from galatune.bench.text import plain_table

__all__ = ["workers_table"]


def workers_table(found: Sequence[Compared], seconds: float) -> Table:
    """One row per number of workers; times are medians of the searches."""
    runs = max((len(one.plain) for one in found), default=0)
    trials = max((one.trials for one in found), default=0)
    table = plain_table(
        f"{trials} trials of one step and {seconds:g} s of sleep; medians of {runs} searches in turns",
        (
            "workers",
            "Optuna, s",
            "galatune, s",
            "more",
            "database, ms a trial",
            "without it",
            "start, end, s",
        ),
    )
    for one in found:
        table.add_row(
            str(one.workers),
            _spread(one.plain),
            _spread(one.controlled),
            f"{100 * one.more:+.1f} %",
            _pair(one, _per_trial(one), ".0f"),
            f"{100 * one.more_without_database:+.1f} %",
            _pair(one, lambda run: run.outside, ".1f"),
        )
    return table


def _per_trial(one: Compared) -> Callable[[Run], float]:
    """Milliseconds in the database per trial."""
    return lambda run: 1000 * run.database * one.workers / one.trials


def _spread(runs: Sequence[Run]) -> str:
    seconds = [run.seconds for run in runs]
    if len(seconds) == 1:
        return f"{seconds[0]:.1f}"
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def _pair(one: Compared, what: Callable[[Run], float], digits: str) -> str:
    """Of plain Optuna, and of galatune."""
    plain, ours = (statistics.median(map(what, runs)) for runs in (one.plain, one.controlled))
    return f"{plain:{digits}} and {ours:{digits}}"
