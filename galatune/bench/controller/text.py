"""A comparison as tables and lines."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from rich.table import Table

from galatune.bench.controller.comparison import Invariance
from galatune.bench.controller.differences import differences
from galatune.bench.controller.groups import Group, by_group
from galatune.bench.controller.methods import METHODS
from galatune.bench.controller.one_rate import left_out
from galatune.bench.controller.runs import Result
from galatune.bench.controller.score import Cell, Score, Tuned, cells, scores, tuned
from galatune.bench.text import interval_text, plain_table
from galatune.statistics import Side, side

__all__ = ["comparison_tables", "difference_tables", "invariance_lines", "score_tables", "task_tables"]


def comparison_tables(results: Sequence[Result], *, several: bool, regret: bool) -> Iterable[Table | str]:
    """Every table of a comparison, by group of results, and what is missing in them.

    Args:
        results: All trainings.
        several: Whether there are several tasks, so that scores over tasks are worth a table.
        regret: Whether the tables of tasks have a column for it.
    """
    groups = by_group(results)
    for group, own in groups.items():
        yield from task_tables(own, group, regret=regret)
    for group, own in groups.items() if several else ():
        yield from score_tables(own, group)
        yield from difference_tables(own, group)
    yield from left_out(results)


def task_tables(results: Sequence[Result], group: Group, *, regret: bool = False) -> Iterable[Table]:
    """One table per task, base and schedule: every fixed rate, then each method and its ratio to the best.

    Args:
        results: Trainings of one group.
        group: For the titles.
        regret: Whether there is a column for the regret per probe.
    """
    found = cells(results)
    for key in dict.fromkeys(_key(cell) for cell in found):
        best = tuned(results, *key)
        assert best is not None
        title = f"{', '.join(key)}, {len(best.losses)} seeds ({group})"
        yield _task(title, best, [cell for cell in found if _key(cell) == key], regret)


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.task, METHODS[cell.method].base, cell.schedule.removeprefix("warmup-")


def _task(title: str, best: Tuned, found: Sequence[Cell], regret: bool) -> Table:
    table = plain_table(
        title,
        (
            "method",
            "validation loss",
            "ratio",
            "gradients",
            "diverged",
            *(["regret per probe"] if regret else []),
        ),
    )
    reference = statistics.fmean(best.losses)
    for rate, loss in best.grid:
        mark = " (edge)" if rate == best.rate and best.at_the_edge else ""
        table.add_row(f"fixed {rate:g}{mark}", f"{loss:.4f}", f"{loss / reference:.3f}")
    for cell in found:
        table.add_row(
            _name(cell.method, cell.equal_gradients)
            + ("" if METHODS[cell.method].rates else f", {cell.rate:g}"),
            f"{statistics.fmean(cell.losses):.4f}",
            f"{cell.ratio:.3f}",
            f"{cell.gradient_evaluations:.0f}",
            str(cell.diverged or ""),
            *([_regret(cell)] if regret else []),
        )
    return table


def _regret(cell: Cell) -> str:
    return "" if cell.regret is None else f"{cell.regret:.3g}"


def score_tables(results: Sequence[Result], group: Group) -> Iterable[Table]:
    """One table per schedule, best score first, of results of one group."""
    found = scores(results)
    for schedule in dict.fromkeys(score.schedule for score in found):
        table = plain_table(
            f"Score, {schedule} ({group}): mean ln(ratio); 0 is as good as tuning (time: of a training "
            "over that at a fixed rate; bytes: of state per parameter)",
            ("method", "score", "95 % interval", "worst", "on", "diverged", "tasks", "time", "bytes"),
            left=("method", "on"),
        )
        for score in found:
            if score.schedule == schedule:
                table.add_row(*_score(score))
        yield table


def _score(score: Score) -> tuple[str, ...]:
    return (
        _name(score.method, score.equal_gradients),
        f"{score.score:+.3f}",
        interval_text(score.interval),
        f"{score.worst[0]:.2f}",
        score.worst[1],
        str(score.diverged),
        str(score.tasks),
        f"{score.time_ratio:.2f}",
        f"{score.state_bytes:.1f}",
    )


def difference_tables(results: Sequence[Result], group: Group) -> Iterable[Table]:
    """One table per schedule: each controlled method against the others, on common tasks and seeds."""
    found = differences(results)
    for schedule in dict.fromkeys(difference.schedule for difference in found):
        table = plain_table(
            f"Ours against each peer, {schedule} ({group}): mean ln(our loss / its loss); below 0 ours is "
            "lower",
            ("ours", "peer", "difference", "95 % interval", "verdict", "tasks"),
            left=("ours", "peer", "verdict"),
        )
        for one in found:
            if one.schedule == schedule:
                table.add_row(
                    _name(one.method, one.equal_gradients),
                    one.peer,
                    f"{one.difference:+.3f}",
                    interval_text(one.interval),
                    VERDICTS[side(one.interval)],
                    str(one.tasks),
                )
        yield table


VERDICTS: dict[Side, str] = {
    "below": "lower",
    "above": "higher",
    "within": "undecided",
    "across": "undecided",
}
"""What it means for our loss that the interval of the difference lies there."""


def invariance_lines(one: Invariance) -> Iterable[str]:
    """A heading, then one line per finding."""
    rates = ", ".join(f"{rate:g}: {loss!r}" for rate, loss in one.initial_rates.items())
    same = "to the last digit" if one.same_to_the_last_digit else "NOT equal"
    yield f"{one.task}, {one.method}, first seed"
    yield f"  loss by the rate the optimizer was built with ({same}): {rates}"
    for dtype, (plain, scaled) in one.scaled.items():
        what = f"training loss, epsilon and coupled decay times 1 and 1e-6, {dtype}"
        yield f"  {what} (equal to {one.digits(dtype)} digits): {plain:.9g}, {scaled:.9g}"


def _name(method: str, equal_gradients: bool) -> str:
    return method + (", equal gradients" if equal_gradients else "")
