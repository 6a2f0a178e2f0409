"""The rows of a report's table, for the terminal and the page."""

from __future__ import annotations

from galatune.formatting import duration, number
from galatune.report.comparison import Comparison
from galatune.report.spending import StudySummary

__all__ = ["MEASURED", "NOT_MEASURED", "rows"]

MEASURED, NOT_MEASURED = "measured", "not measured"

Cells = tuple[str, str, str, str, str]
"""Label, old study, smaller study, difference, and "measured" or that it is not."""


def rows(report: Comparison) -> list[Cells]:
    """The table that every form of the report shows."""
    old, new, match = report.baseline, report.shrunk, report.to_match
    timed = old.measured and new.measured and match.same_machine
    return [
        *_to_match_rows(report),
        *_random_order_rows(report),
        *_best_rows(report),
        *_repeat_rows(report),
        ("finished trials", number(old.trials), number(new.trials), "", MEASURED),
        *_stage_rows(report),
        *_pruned_rows(report),
        _gradient_row(report),
        ("time in all", duration(old.hours), duration(new.hours), "", _mark(timed)),
    ]


def _to_match_rows(report: Comparison) -> list[Cells]:
    """What each study needed to reach the old best."""
    match, saved = report.to_match, report.saved
    reachable = match.baseline_trials is not None
    missed = "not reached" if reachable else NOT_MEASURED
    timed = _mark(_timed(report))
    trials: Cells = (
        f"trials to the {_goal(report)}",
        number(match.baseline_trials),
        number(match.shrunk_trials) if match.matched else missed,
        _minus_trials(saved.trials, saved.trials_percent),
        _mark(reachable),
    )
    time: Cells = (
        "time to it",
        duration(match.baseline_hours),
        duration(match.shrunk_hours) if match.matched else missed,
        _minus_hours(saved.hours, saved.hours_percent),
        timed,
    )
    if saved.cost is None:
        return [trials, time]
    return [trials, time, ("cost of it", "", "", f"{_signed(-saved.cost, '.2f')} {saved.currency}", timed)]


def _best_rows(report: Comparison) -> list[Cells]:
    """How good the best of each study is."""
    old, new, quality = report.baseline, report.shrunk, report.quality
    mark = _mark(quality.measured)
    difference = "" if quality.of_repeats else _worse(quality.difference)
    if not report.to_match.reference_point:
        return [("best value", _best(old), _best(new), difference, mark)]
    volumes = [number(volume) for volume in quality.volumes or (None, None)]
    return [
        ("hypervolume", volumes[0], volumes[1], difference, mark),
        ("best of each objective", _best(old), _best(new), "", mark),
    ]


def _goal(report: Comparison) -> str:
    match = report.to_match
    if not match.goal_repeats or match.margin is None:
        return f"old best, within {100 * match.tolerance:g} %"
    return f"repeated old best, within {match.margin:.3g}"


def _random_order_rows(report: Comparison) -> list[Cells]:
    """How early a random order of the old trials would have been there."""
    order = report.random_order
    if not order.measured:
        return []
    rows: list[Cells] = [
        ("  in a random order of the old trials, median", number(order.median_trials), "", "", MEASURED)
    ]
    if order.probability is not None:
        label = f"  probability of such an order within {order.trials}"
        rows.append((label, f"{order.probability:.2f}", "", "", MEASURED))
    return rows


def _repeat_rows(report: Comparison) -> list[Cells]:
    """Means of repeats: of the old best, and of the match."""
    match, quality = report.to_match, report.quality
    if not match.goal_repeats and not quality.repeats:
        return []
    old = number(match.goal) if match.goal_repeats else ""
    new = number(quality.reached) if quality.repeats else "not confirmed"
    difference = _worse(quality.difference) if quality.of_repeats else ""
    return [("mean of its repeats", old, new, difference, _mark(quality.of_repeats))]


def _stage_rows(report: Comparison) -> list[Cells]:
    """How many of the finished trials were no search."""
    stages = report.total.stages
    words = {"repeat": "repeats of the old best", "pilot": "pilot"}
    words |= {"confirm": "confirmation", "polish": "polish"}
    return [
        (f"  of these {word}", "", number(stages[stage].trials), "", MEASURED)
        for stage, word in words.items()
        if stage in stages
    ]


def _gradient_row(report: Comparison) -> Cells:
    """Gradient evaluations of all finished trials."""
    old, new = (_gradients(study) for study in (report.baseline, report.shrunk))
    known = all(
        study.gradient_evaluations is not None and not study.uncounted
        for study in (report.baseline, report.shrunk)
    )
    return ("gradient evaluations in all", old, new, "", _mark(known))


def _gradients(study: StudySummary) -> str:
    if study.gradient_evaluations is None:
        return "not recorded"
    text = number(study.gradient_evaluations)
    return f"at least {text}" if study.uncounted else text


def _pruned_rows(report: Comparison) -> list[Cells]:
    """How many of the finished trials were pruned, if any was."""
    old, new = (study.by_state.get("PRUNED", 0) for study in (report.baseline, report.shrunk))
    return [("  of these pruned", number(old), number(new), "", MEASURED)] if old or new else []


def _mark(measured: bool) -> str:
    return MEASURED if measured else NOT_MEASURED


def _timed(report: Comparison) -> bool:
    """Whether the hours to the match rest on recorded durations that can be compared."""
    match = report.to_match
    return match.hours_measured or (
        match.same_machine and not match.matched and match.baseline_hours is not None
    )


def _best(study: StudySummary) -> str:
    return ", ".join(number(value) for value in study.best_values)


def _minus_trials(saved: int | None, percent: float | None) -> str:
    return "" if saved is None else f"{_signed(-saved, 'd')}{_share(percent)}"


def _minus_hours(saved: float | None, percent: float | None) -> str:
    """The change from the old study to the smaller one: a saving is negative."""
    if saved is None:
        return ""
    sign = "-" if saved > 0 else "+" if saved < 0 else ""
    return f"{sign}{duration(abs(saved))}{_share(percent)}"


def _share(percent: float | None) -> str:
    return "" if percent is None else f" ({_signed(-percent, '.0f')} %)"


def _signed(value: float, how: str) -> str:
    """A number with its sign; a number that is shown as zero has none."""
    text = f"{value:+{how}}"
    return text if any(digit in text for digit in "123456789") else text.lstrip("+-")


def _worse(difference: float | None) -> str:
    if not difference:
        return "" if difference is None else "0"
    return f"{abs(difference):.3g} {'worse' if difference > 0 else 'better'}"
