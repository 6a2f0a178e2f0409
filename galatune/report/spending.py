"""What each study cost in all: trials, hours and gradient evaluations of every stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from galatune.study.ledger.rows import Ledger, TrialRow

__all__ = ["Spent", "StudySummary", "Total", "summary", "total", "untimed"]


@dataclass(frozen=True)
class Spent:
    """What some trials cost.

    Attributes:
        trials: Number of finished trials: complete, pruned and failed.
        hours: Sum of their durations, None if no duration was recorded.
        gradient_evaluations: Sum of what was recorded, None if nothing was.
        untimed: How many of the trials recorded no duration; `hours` is a lower bound then.
        uncounted: How many recorded no gradient evaluations; `gradient_evaluations` is a lower bound then.

    Examples:
        >>> rows = [TrialRow(i, "COMPLETE", (1.0,), seconds=1800.0) for i in range(4)]
        >>> Spent.of(rows)
        Spent(trials=4, hours=2.0, gradient_evaluations=None, untimed=0, uncounted=4)
    """

    trials: int
    hours: float | None
    gradient_evaluations: int | None
    untimed: int
    uncounted: int

    @classmethod
    def of(cls, rows: Sequence[TrialRow]) -> Spent:
        """Add up finished trials."""
        seconds = [row.seconds for row in rows if row.seconds is not None]
        counts = [row.gradient_evaluations for row in rows if row.gradient_evaluations is not None]
        return cls(
            trials=len(rows),
            hours=math.fsum(seconds) / 3600 if seconds else None,
            gradient_evaluations=sum(counts) if counts else None,
            untimed=len(rows) - len(seconds),
            uncounted=len(rows) - len(counts),
        )


@dataclass(frozen=True)
class StudySummary:
    """What one study cost in all and what it reached.

    Attributes:
        study: Study name.
        trials: Number of finished trials: complete, pruned and failed.
        running: Number of trials without an end, which are listed and not counted.
        hours: Sum of the durations of the finished trials, None if no duration was recorded.
        best_value: None if there are several objectives, or if no trial is COMPLETE.
        best_values: Best of each objective on its own, empty if no trial is COMPLETE.
        by_state: Number of trials by state.
        measured: Whether every finished trial recorded its duration.
        why: What is not measured, None if everything is.
        control: "on", or "off" if its rates were fixed; None if galatune did not make it.
        gradient_evaluations: Sum of what the trials recorded, None if none did: an ordinary study records
            none.
        uncounted: Finished trials without such a record; `gradient_evaluations` is a lower bound then.
    """

    study: str
    trials: int
    running: int
    hours: float | None
    best_value: float | None
    best_values: tuple[float, ...]
    by_state: Mapping[str, int]
    measured: bool
    why: str | None
    control: str | None = None
    gradient_evaluations: int | None = None
    uncounted: int = 0


@dataclass(frozen=True)
class Total:
    """All that the smaller search spent, in trials of every stage, beside all that the old one did.

    Attributes:
        trials: Finished trials: search, repeats of the old best, pilot, confirmation and polish.
        trials_percent: Percent of the old study's.
        hours: Of these trials, None if no duration was recorded.
        hours_percent: Percent of the old study's; None unless `hours_measured`.
        gradient_evaluations: Of these trials, None if nothing was recorded.
        gradient_evaluations_percent: Percent of the old study's; None unless both studies recorded all.
        stages: "search", "repeat", "pilot", "confirm", "polish" to what that stage spent; stages that occur.
        measured: Whether hours and gradient evaluations of every finished trial were recorded.
        hours_measured: Whether the hours of both studies can be compared: all recorded, on one machine.
        why: What is not measured or cannot be compared, None if everything can.
    """

    trials: int
    trials_percent: float | None
    hours: float | None
    hours_percent: float | None
    gradient_evaluations: int | None
    gradient_evaluations_percent: float | None
    stages: Mapping[str, Spent]
    measured: bool
    hours_measured: bool
    why: str | None


def summary(study: Ledger) -> StudySummary:
    """Sum up one study."""
    columns = list(zip(*(row.values or () for row in study.complete), strict=True))
    pick = {"minimize": min, "maximize": max}
    bests = tuple(pick[d](column) for d, column in zip(study.directions, columns, strict=False))
    why = untimed(study)
    if not study.finished:
        why = f"no trial of {study.study} is finished"
    spent = Spent.of(study.finished)
    return StudySummary(
        study=study.study,
        trials=spent.trials,
        running=sum(row.state == "RUNNING" for row in study.rows),
        hours=spent.hours,
        best_value=bests[0] if len(bests) == 1 else None,
        best_values=bests,
        by_state=study.by_state,
        measured=why is None,
        why=why,
        control=_control(study),
        gradient_evaluations=spent.gradient_evaluations,
        uncounted=spent.uncounted,
    )


def total(old: StudySummary, shrunk: Ledger, machines: str | None) -> Total:
    """Sum up the smaller search and compare it with the old one.

    Args:
        old: Of the old study.
        shrunk: The smaller study.
        machines: Why hours of the two studies cannot be compared, None if they can.
    """
    spent = Spent.of(shrunk.finished)
    stages = {
        stage: Spent.of([row for row in shrunk.finished if row.stage == stage])
        for stage in dict.fromkeys(row.stage for row in shrunk.finished)
    }
    timed = old.why or untimed(shrunk) or machines
    counted = old.gradient_evaluations if not old.uncounted and not spent.uncounted else None
    return Total(
        trials=spent.trials,
        trials_percent=_percent(spent.trials, old.trials),
        hours=spent.hours,
        hours_percent=None if timed else _percent(spent.hours, old.hours),
        gradient_evaluations=spent.gradient_evaluations,
        gradient_evaluations_percent=_percent(spent.gradient_evaluations, counted),
        stages=stages,
        measured=bool(spent.trials) and not spent.untimed and not spent.uncounted,
        hours_measured=timed is None and spent.hours is not None,
        why=timed or _uncounted(old, spent),
    )


def untimed(study: Ledger) -> str | None:
    """Return why the hours of a study are not known, None if they are."""
    if not study.untimed:
        return None
    return f"{study.untimed} of {len(study.finished)} finished trials of {study.study} recorded no duration"


def _uncounted(old: StudySummary, new: Spent) -> str | None:
    if new.uncounted:
        return f"gradient evaluations: {new.uncounted} of {new.trials} trials recorded none"
    if old.uncounted:
        return f"gradient evaluations: {old.study} recorded none in {old.uncounted} of {old.trials} trials"
    return None


def _control(study: Ledger) -> str | None:
    if not study.provenance.made_by_galatune:
        return None
    return "on" if study.provenance.fixed_rates is None else "off"


def _percent(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else 100 * part / whole
