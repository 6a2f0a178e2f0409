"""What the old study tried, and how long that took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.attributes import INTERRUPTED, PROCESS

__all__ = [
    "RunningTrial",
    "TrialCounts",
    "age_in_hours",
    "count_states",
    "hours_of",
    "is_interrupted",
    "never_begun",
    "running_trials",
    "seconds_of",
    "total_hours",
    "unique_configurations",
]

ABANDONED_AFTER = 10.0
"""A running trial this many times older than the longest finished one has lost its process,"""

ABANDONED_HOURS = 24.0
"""but never one younger than this."""


@dataclass(frozen=True)
class TrialCounts:
    """Trials by state."""

    total: int
    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def finished(self) -> int:
        """Complete, pruned and failed."""
        return self.complete + self.pruned + self.failed


@dataclass(frozen=True)
class RunningTrial:
    """A trial without an end: still at work, or left behind by a process that was killed.

    Attributes:
        number: In the study.
        started: ISO time as recorded, None if it was not.
        abandoned: Whether it is so old that its process is certainly gone.
    """

    number: int
    started: str | None
    abandoned: bool


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether a trial was released: its ticket is another trial's now."""
    return trial.state == TrialState.FAIL and bool(trial.user_attrs.get(INTERRUPTED))


def never_begun(trial: FrozenTrial) -> bool:
    """Whether a trial was made by one process too many, and never began.

    It was handed back, since another process had begun the last one of the budget: a larger budget begins it.
    Or it was queued twice, and closed.
    """
    if trial.state == TrialState.WAITING:
        return PROCESS in trial.user_attrs and trial.user_attrs[PROCESS] is None
    return is_interrupted(trial) and trial.datetime_start is None


def count_states(trials: Sequence[FrozenTrial]) -> TrialCounts:
    """Trials by state, without those that never began."""
    trials = [trial for trial in trials if not never_begun(trial)]
    by_state = Counter(trial.state for trial in trials)
    return TrialCounts(
        total=len(trials),
        complete=by_state[TrialState.COMPLETE],
        pruned=by_state[TrialState.PRUNED],
        failed=by_state[TrialState.FAIL],
        running=by_state[TrialState.RUNNING],
        waiting=by_state[TrialState.WAITING],
    )


def seconds_of(trial: FrozenTrial) -> float | None:
    """Duration of a finished trial; None if it was never started, or if it ended before it started.

    `optuna.trial.create_trial` sets both times to the same instant: exactly zero is "added, not run".
    """
    if not trial.state.is_finished() or trial.duration is None or trial.duration.total_seconds() <= 0:
        return None
    return trial.duration.total_seconds()


def hours_of(trial: FrozenTrial) -> float | None:
    """`seconds_of` in hours."""
    seconds = seconds_of(trial)
    return None if seconds is None else seconds / 3600


def total_hours(trials: Sequence[FrozenTrial]) -> float | None:
    """Sum over the finished trials, None if no duration was recorded."""
    durations = [hours for trial in trials if (hours := hours_of(trial)) is not None]
    return sum(durations) if durations else None


def unique_configurations(trials: Sequence[FrozenTrial], dropped: Collection[str]) -> int:
    """Distinct configurations over trials of every state, without the dropped dimensions.

    They are compared by their text: a choice may be a list, which cannot be hashed, or NaN, which equals
    nothing.
    """
    return len(
        {
            frozenset((name, repr(value)) for name, value in trial.params.items() if name not in dropped)
            for trial in trials
            if trial.params
        }
    )


def running_trials(trials: Sequence[FrozenTrial]) -> tuple[RunningTrial, ...]:
    """The trials without an end."""
    longest = max((hours_of(trial) or 0.0 for trial in trials), default=0.0)
    patience = max(ABANDONED_AFTER * longest, ABANDONED_HOURS)
    running = []
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            started = None if trial.datetime_start is None else trial.datetime_start.isoformat()
            age = age_in_hours(started)
            running.append(RunningTrial(trial.number, started, age is not None and age > patience))
    return tuple(running)


def age_in_hours(started: str | None) -> float | None:
    """Hours since an ISO time; one without a zone is local, as Optuna wrote it before 5.0.

    Returns:
        None if there is no time, or it lies in the future.
    """
    if started is None:
        return None
    then = datetime.fromisoformat(started)
    now = datetime.now(timezone.utc) if then.tzinfo else datetime.now()
    hours = (now - then).total_seconds() / 3600
    return hours if hours >= 0 else None
