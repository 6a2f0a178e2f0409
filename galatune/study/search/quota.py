"""The ticket that a trial runs on: claimed by a process, issued again if that process was stopped.

A trial that was stopped is FAIL, uses no ticket, and its configuration is queued under the number it had.
Seeds follow the ticket, so that an interruption changes nothing of what comes after it.

Several processes may run one study. On one machine they never run more trials than there are tickets; a
trial of another machine uses its ticket only once it is finished.
"""

from __future__ import annotations

import time

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.attributes import INTERRUPTED, OWN_STEP, PROCESS, REASON, STAGE, TICKET
from galatune.study.ledger.machine import is_another, is_gone, this_process

__all__ = [
    "claim",
    "hand_back",
    "release",
    "running_elsewhere",
    "take_over",
    "ticket_of",
    "uses_ticket",
]

CLAIM_SECONDS = 1.0
"""Longer than any process takes from asking for a trial to claiming it."""


def uses_ticket(trial: FrozenTrial) -> bool:
    """Whether a trial of the smaller study used a ticket.

    One that was stopped did not, nor did one whose optimizer sets its own step: the number of the second is
    not issued again, since the sampler would draw the same configuration with it.
    """
    free = trial.user_attrs.get(INTERRUPTED) or trial.user_attrs.get(OWN_STEP)
    return trial.state.is_finished() and not free


def running_elsewhere(study: optuna.Study) -> int:
    """Number of trials that other processes of this machine are running."""
    return sum(map(_elsewhere, study.get_trials(deepcopy=False)))


def claim(study: optuna.Study, trial: optuna.trial.Trial, tickets: int) -> bool:
    """Note that this process runs the trial, unless the tickets went to trials before it.

    Two processes may ask at the same moment, each seeing one ticket left: the lower number has it.

    Args:
        study: The smaller study.
        trial: From `study.ask`.
        tickets: How many there are.

    Returns:
        Whether it has a ticket; `hand_back` one that has none.
    """
    trial.set_user_attr(PROCESS, this_process())
    patience = time.monotonic() + CLAIM_SECONDS
    while True:
        before = study.get_trials(deepcopy=False)[: trial.number]
        taken = sum(uses_ticket(other) or _elsewhere(other) for other in before)
        unclaimed = sum(
            other.state == TrialState.RUNNING and PROCESS not in other.user_attrs for other in before
        )
        if taken >= tickets or taken + unclaimed < tickets or time.monotonic() > patience:
            return taken < tickets
        time.sleep(0.01)


def hand_back(study: optuna.Study, trial: optuna.trial.Trial) -> None:
    """Make a trial that has not begun WAITING again."""
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def ticket_of(study: optuna.Study, trial: optuna.trial.Trial | FrozenTrial) -> int:
    """The ticket of a trial: its own number, less the trials before it whose tickets were issued again."""
    given = trial.user_attrs.get(TICKET)
    if isinstance(given, int):
        return given
    before = study.get_trials(deepcopy=False)[: trial.number]
    return trial.number - sum(bool(other.user_attrs.get(INTERRUPTED)) for other in before)


def release(study: optuna.Study, number: int, reason: str) -> bool:
    """Give up a running trial: it becomes FAIL, and its configuration is queued again.

    Args:
        study: The smaller study.
        number: Of the trial.
        reason: Why it was given up.

    Returns:
        Whether it was running; a finished one is left as it is.
    """
    trial = study.get_trials(deepcopy=False)[number]
    if trial.state != TrialState.RUNNING:
        return False
    kept = {STAGE: trial.user_attrs[STAGE]} if STAGE in trial.user_attrs else {}
    ticket = ticket_of(study, trial)
    try:
        _note(study, trial, INTERRUPTED, True)
        _note(study, trial, REASON, f"{reason}; its configuration is tried again")
        study.tell(number, state=TrialState.FAIL)
    except (RuntimeError, ValueError):  # it is finished: another process was quicker
        return False
    if trial.params:
        study.enqueue_trial(trial.params, user_attrs={**kept, TICKET: ticket})
    return True


def take_over(study: optuna.Study) -> int:
    """Release every running trial whose process is gone; how many there were.

    Only processes of this machine can be looked up; a trial of another one stays RUNNING and uses no
    ticket.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    gone = [trial.number for trial in running if is_gone(trial.user_attrs.get(PROCESS))]
    return sum(release(study, number, "its process is gone") for number in gone)


def _elsewhere(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.RUNNING and is_another(trial.user_attrs.get(PROCESS))


def _note(study: optuna.Study, trial: FrozenTrial, name: str, value: object) -> None:
    study._storage.set_trial_user_attr(trial._trial_id, name, value)
