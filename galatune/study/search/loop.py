"""The trials of the smaller search, one after another, until it is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import ObjectiveError
from galatune.formatting import printable
from galatune.study.ledger.attributes import OWN_STEP, REASON, STAGE, UNFINISHED
from galatune.study.ledger.provenance import note_stop
from galatune.study.search.options import Search
from galatune.study.search.quota import claim, hand_back, release, take_over, uses_ticket
from galatune.study.search.signals import Interruption
from galatune.study.search.trial_run import run_trial

__all__ = ["run_trials"]

MOST_FAILURES = 5
"""This many FAILs in a row end the run."""

MOST_OWN_STEPS = 20
"""So do this many trials in a row whose optimizers set their own step, which use no ticket."""


def run_trials(search: Search) -> None:
    """Run trials until the budget says why no other follows, and note that reason in the study.

    Raises:
        ObjectiveError: The objective failed five times in a row, or in every trial, or the sampler proposes
            nothing but optimizers that set their own step.
        KeyboardInterrupt: Somebody stopped it; the running trial is queued again.
    """
    study, budget, watcher = search.study, search.budget, search.watcher
    failures = own_steps = 0
    with _as_in_optimize(study), Interruption() as interruption:
        take_over(study)
        if watcher is not None:
            watcher.run_started(budget, study)
        while (reason := budget.stop_reason(study)) is None:
            trial = _trial(search, interruption)
            if trial is None:
                continue
            if watcher is not None:
                watcher.trial_finished(trial)
            own_step = OWN_STEP in trial.user_attrs
            own_steps = own_steps + 1 if own_step else 0
            if own_steps >= MOST_OWN_STEPS:
                reason = f"{MOST_OWN_STEPS} trials in a row had an optimizer that sets its own step"
                note_stop(study, reason)
                raise ObjectiveError(f"{reason}: {printable(str(trial.user_attrs.get(REASON)))}")
            if not own_step:
                failures = failures + 1 if trial.state == TrialState.FAIL else 0
            if failures >= MOST_FAILURES:
                reason = f"{MOST_FAILURES} trials in a row failed"
                break
            if study._stop_flag:
                reason = "the objective stopped the study"
                break
    note_stop(study, reason)
    _check_outcome(study, reason, failures, left=budget.trials - budget.used(study))


def _trial(search: Search, interruption: Interruption) -> FrozenTrial | None:
    """One trial, which is finished or given up at the end, whatever interrupts it.

    Returns:
        None if another process had the last ticket.
    """
    study, budget = search.study, search.budget
    trial = None
    try:
        with interruption.held():
            again = budget.to_confirm(study)
            if again is not None:
                study.enqueue_trial(again.params, user_attrs={STAGE: "confirm"})
            trial = study.ask()
            if not claim(study, trial, budget.trials):
                hand_back(study, trial)
                return None
        run_trial(search, trial, interruption)
    except KeyboardInterrupt:
        with interruption.held():
            if trial is not None:
                release(study, trial.number, UNFINISHED)
            note_stop(study, UNFINISHED)
        raise
    return study.get_trials(deepcopy=False)[trial.number]


def _check_outcome(study: optuna.Study, reason: str, failures: int, left: int) -> None:
    """Raise if the objective failed to the end: there is no result."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if uses_ticket(trial)]
    every = bool(trials) and all(trial.state == TrialState.FAIL for trial in trials)
    if failures < MOST_FAILURES and not every:
        return
    last = printable(str(trials[-1].user_attrs.get(REASON, "an unknown error")))
    words = reason if failures >= MOST_FAILURES else f"{reason} and every trial failed"
    # An objective that is mended is another one than the good trials had.
    asked = any(trial.state != TrialState.FAIL for trial in trials)
    if left > 0:
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
