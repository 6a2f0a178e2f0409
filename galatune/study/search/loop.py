"""The trials of the smaller search, until it is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import ObjectiveError
from galatune.formatting import printable
from galatune.study.ledger.attributes import GOAL, OWN_STEP, REASON, UNFINISHED
from galatune.study.ledger.ending import FAILED, OWN_STEPS
from galatune.study.ledger.provenance import note_stop
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.search.confirm import queue_confirmation
from galatune.study.search.options import Search
from galatune.study.search.polish import then_polish
from galatune.study.search.quota import (
    as_stored,
    claim,
    hand_back,
    next_trial,
    release,
    take_over,
)
from galatune.study.search.repeats import queue_repeats, settle
from galatune.study.search.signals import Interruption
from galatune.study.search.stopping import AT_WORK
from galatune.study.search.trial_run import run_trial
from galatune.study.search.workers import Heart, Workers, let_go

__all__ = ["STOPPED", "Overseer", "Streaks", "begin", "conclude", "over", "run_trials", "work"]

LOOK_SECONDS = 0.2
"""Between two looks at what other processes do."""

STOPPED = "the objective stopped the study"
"""The reason if it called ``study.stop()``."""

MOST_FAILURES = 5
"""This many FAILs in a row end the run."""

MOST_OWN_STEPS = 20
"""So do this many trials in a row whose optimizers set their own step, which use no ticket."""


class Overseer(Protocol):
    """Looks over a run, and may end it."""

    def ended(self, trial: FrozenTrial) -> str | None:
        """A trial has ended; why no other follows, None if one may."""
        ...

    def asked(self) -> str | None:
        """Why no other trial follows, whatever the budget says; None if one may."""
        ...


class Streaks:
    """Counts what ends a run if it comes too often in a row; an `Overseer`.

    Attributes:
        failures: FAILed trials in a row.
        own_steps: Trials in a row whose optimizer set its own step.
        last: Why the last one of either kind ended so.
    """

    def __init__(self) -> None:
        self.failures = self.own_steps = 0
        self.last: str | None = None

    def ended(self, trial: FrozenTrial) -> str | None:
        """See `Overseer`."""
        own_step = OWN_STEP in trial.user_attrs
        self.own_steps = self.own_steps + 1 if own_step else 0
        if not own_step and not is_interrupted(trial):
            self.failures = self.failures + 1 if trial.state == TrialState.FAIL else 0
        self.last = str(trial.user_attrs.get(REASON))
        if self.own_steps >= MOST_OWN_STEPS:
            return f"{MOST_OWN_STEPS} {OWN_STEPS}"
        return f"{MOST_FAILURES} {FAILED}" if self.failures >= MOST_FAILURES else None

    def asked(self) -> None:
        """See `Overseer`."""


def run_trials(search: Search) -> None:
    """Run trials until the budget says why no other follows, and note that reason in the study.

    Raises:
        ObjectiveError: The objective failed five times in a row, or in every trial, or the sampler proposes
            nothing but optimizers that set their own step.
        KeyboardInterrupt: Somebody stopped it; the running trial is queued again.
    """
    streaks = Streaks()
    with Interruption() as interruption:
        begin(search, interruption)
        reason = work(search, interruption, streaks)
    conclude(search, reason, streaks)


def begin(search: Search, interruption: Interruption) -> None:
    """Take over what other processes left, say that the run begins, and queue the repeats of the old best."""
    take_over(search.study, Workers())
    if search.watcher is not None:
        search.watcher.run_started(search.budget, search.study)
    with interruption.held():
        queue_repeats(search.study, search.budget.old_best)


def work(search: Search, interruption: Interruption, overseer: Overseer) -> str:
    """Run trials in this process until none follows; the reason."""
    study, workers = search.study, Workers()
    with _as_in_optimize(study), Heart(study) as heart:
        while True:
            reason = _stop_reason(search, workers, interruption, overseer)
            if reason is not None:
                return reason
            trial = _trial(search, interruption, heart)
            if trial is None:
                time.sleep(LOOK_SECONDS)
                continue
            study._stop_flag &= search.budget.obeys_stop
            if search.watcher is not None:
                search.watcher.trial_finished(trial)
            reason = overseer.ended(trial)
            if reason is not None:
                return reason
            if study._stop_flag:
                return STOPPED


def conclude(search: Search, reason: str, streaks: Streaks) -> None:
    """Note why a run ended.

    Raises:
        ObjectiveError: It has no result.
    """
    note_stop(search.study, reason)
    if streaks.own_steps >= MOST_OWN_STEPS:
        raise ObjectiveError(f"{reason}: {printable(str(streaks.last))}")
    _check_outcome(search, reason, streaks.failures)


def _stop_reason(
    search: Search, workers: Workers, interruption: Interruption, overseer: Overseer
) -> str | None:
    """Why no other trial follows, None if one does.

    If the rest is at work in processes of which only their beat can tell whether they are alive, or in
    workers of this run, wait for it.
    """
    study = search.study
    while (asked := overseer.asked()) is None:
        with interruption.held():
            take_over(study, workers)
            let_go()
            reason = over(search)
        if reason is None or not reason.endswith(AT_WORK) or not workers.awaited(study):
            return reason
        time.sleep(LOOK_SECONDS)
    return asked


def over(search: Search) -> str | None:
    """Why the search is over, None while it is not; what comes next is queued."""
    _settle(search)
    search.budget.prepare(search.study)
    return then_polish(search, search.budget.stop_reason(search.study))


def _settle(search: Search) -> None:
    """Fix the goal as soon as the old best was repeated, and say it."""
    study, settled = search.study, GOAL in search.study.user_attrs
    goal = settle(study, search.budget.goal)
    if goal is not None and goal.repeats is not None and not settled and search.watcher is not None:
        search.watcher.goal_set(goal)


def _trial(search: Search, interruption: Interruption, heart: Heart) -> FrozenTrial | None:
    """One trial, which is finished or given up at the end, whatever interrupts it.

    Returns:
        None if other processes have the tickets that are left.
    """
    study, budget = search.study, search.budget
    trial = None
    try:
        with interruption.held():
            again = budget.to_confirm(study)
            if again is not None:
                queue_confirmation(study, again, budget.confirm)
            tickets = budget.open_tickets(study)
            trial = next_trial(study, tickets)
            if trial is None:
                return None
            if not claim(study, trial, tickets):
                hand_back(study, trial)
                return None
        with heart.beating(trial):
            run_trial(search, trial, interruption)
    except KeyboardInterrupt:
        with interruption.held():
            if trial is not None:
                release(study, trial.number, UNFINISHED)
            note_stop(study, UNFINISHED)
        raise
    finally:
        let_go()
    return as_stored(study, trial)


def _check_outcome(search: Search, reason: str, failures: int) -> None:
    """Raise if the objective failed to the end: there is no result."""
    finished = [t for t in search.study.get_trials(deepcopy=False) if t.state.is_finished()]
    trials = [trial for trial in finished if search.budget.counts(trial)]
    every = bool(trials) and all(trial.state == TrialState.FAIL for trial in trials)
    if failures < MOST_FAILURES and not every:
        return
    failed = [trial for trial in finished if trial.state == TrialState.FAIL and not is_interrupted(trial)]
    last = printable(str(failed[-1].user_attrs.get(REASON, "an unknown error")))
    words = reason if failures >= MOST_FAILURES else f"{reason} and every trial failed"
    # An objective that is mended is another one than the good trials had.
    asked = any(trial.state != TrialState.FAIL for trial in trials)
    if search.budget.trials > len(trials):
        cure = f"run the same command again{' with --yes' if asked else ''}"
    else:
        cure = f"ask for more with --trials{' and --yes' if asked else ''}"
    raise ObjectiveError(f"{words}, the last one with: {last}. Mend it and {cure} to continue")


@contextmanager
def _as_in_optimize(study: optuna.Study) -> Iterator[None]:
    """An objective may call ``trial.study.stop()``, which Optuna allows inside `optimize` only."""
    study._stop_flag = False
    study._thread_local.in_optimize_loop = True
    try:
        yield
    finally:
        study._thread_local.in_optimize_loop = False
