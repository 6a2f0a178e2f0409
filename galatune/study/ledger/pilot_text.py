"""How a pilot is said: its choice, a table of its pairs, and what they cost."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from galatune.formatting import duration, number, plural, printable

if TYPE_CHECKING:
    from rich.console import Console

    from galatune.study.ledger.pilot import PilotReport

__all__ = ["as_text", "show"]


def as_text(report: PilotReport, width: int) -> str:
    """`show` as plain text, so many characters wide."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as capture:
        show(report, console)
    return capture.get()


def show(report: PilotReport, console: Console) -> None:
    """Print the choice, a table of the pairs, and a table of what they say."""
    from rich.table import Table

    sentence = report.sentence()
    style = {"go": "green", "no-go": "yellow"}.get(report.verdict)
    console.print(f"{sentence[0].upper()}{sentence[1:]}.", style=style if report.over else None)
    if report.values:
        table = Table(box=None, pad_edge=False)
        for heading in ("old trial", "controlled", "fixed", "difference", "at its own old rate"):
            table.add_column(heading, justify="right")
        for pair in report.values:
            table.add_row(
                "" if pair.old_trial is None else str(pair.old_trial),
                number(pair.controlled) or "none",
                number(pair.fixed) or "none",
                number(pair.difference),
                number(pair.own) or "not repeated",
            )
        console.print(table)
    lines = Table(show_header=False, box=None, pad_edge=False)
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for label, value in _lines(report):
        lines.add_row(label, printable(value))
    console.print(lines)


def _lines(report: PilotReport) -> list[tuple[str, str]]:
    failed = [f"old trial {p.old_trial}: {p.why}" for p in report.values if p.why is not None]
    return [
        ("study", report.study if report.storage is None else f"{report.study} in {report.storage}"),
        ("verdict", f"{report.verdict}, {plural(report.pairs, 'pair')} of at most {report.most}"),
        ("difference", _difference(report)),
        ("margin", f"{report.margin:.4g}, set before the first pair"),
        *([] if report.detectable is None else [("detectable", _detectable(report))]),
        *[("not complete", words) for words in failed],
        ("cost", _cost(report)),
        ("before it", _repeats(report)),
    ]


def _difference(report: PilotReport) -> str:
    if report.difference is None:
        return "unknown: no pair is complete"
    better = "better" if report.difference < 0 else "worse"
    words = f"control is {abs(report.difference):.4g} {better} than the fixed rate"
    if report.relative is not None:
        words += f" ({abs(report.relative):.1f} margins)"
    if report.interval is None:
        return f"{words}; one pair shows no spread"
    low, high = report.interval
    level = f"{100 * report.confidence:.4g} %"
    return f"{words}; {level} interval {low:.4g} to {high:.4g}, positive is worse for control"


def _detectable(report: PilotReport) -> str:
    return (
        f"{report.detectable:.4g}: a true difference of this size is told from none in 4 of 5 pilots with as "
        "many pairs"
    )


def _cost(report: PilotReport) -> str:
    cost = report.cost
    parts = [plural(cost.trainings, "training")]
    if cost.trainings_percent is not None:
        parts[0] += f" ({cost.trainings_percent:.0f} % of the old study's)"
    if cost.gradient_evaluations is not None:
        parts.append(f"{cost.gradient_evaluations} gradient evaluations{_each(report)}")
    if cost.hours is not None:
        parts.append(duration(cost.hours))
    return ", ".join(parts)


def _each(report: PilotReport) -> str:
    controlled, fixed = (report.cost.per_training.get(arm) for arm in ("controlled", "fixed"))
    if controlled is None or fixed is None:
        return ""
    return f" ({controlled:.0f} per controlled training, {fixed:.0f} per fixed one)"


def _repeats(report: PilotReport) -> str:
    cost = report.cost
    if not report.goal_repeats:
        return f"the old best was not repeated: {report.goal:.6g}, one value, which may be a lucky one"
    parts = [plural(cost.repeats, "repeat") + f" of the old best at its own rate, mean {report.goal:.6g}"]
    if cost.repeats_gradient_evaluations is not None:
        parts.append(f"{cost.repeats_gradient_evaluations} gradient evaluations")
    if cost.repeats_hours is not None:
        parts.append(duration(cost.repeats_hours))
    return f"{', '.join(parts)}; a run does not repeat it again"
