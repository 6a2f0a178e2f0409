"""The tickets of a search: each ends in exactly one trial, whoever runs it and whoever is killed.

Tickets are numbered from 0, and a budget of n trials is the first n of them. Several processes may share a
study, on one machine or on many. They need nothing but its storage, and what a storage does at once:

- To make a trial. A new one has the ticket after the highest of the trials before it, so that two processes
  never make the same one. It notes its ticket as soon as it is claimed, which then never changes.
- To make a waiting trial a running one, which only one process can. The lowest ticket that waits goes first.
- To finish a running trial, which only one process can. Whoever *releases* a trial, its own since it was
  interrupted, or that of a process that is gone, makes it FAIL, and then queues its configuration again under
  the same ticket. If it is killed between the two, another process sees a ticket without a trial, and queues
  it. If that happens twice, the trial that was queued first has the ticket, and the other is closed.

Some trials come on top of the budget, with tickets of their own (`galatune.study.search.lanes`): they are
queued under them, and begun before any ticket of the search.

Seeds follow the ticket, so that an interruption changes nothing of what comes after it. Which processes are
gone is told by `galatune.study.search.workers`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from galatune.study.ledger.attributes import (
    ENDS,
    INTERRUPTED,
    OWN_STEP,
    PILOT,
    POLISH,
    PROCESS,
    REASON,
    REPEATS,
    STAGE,
    TICKET,
    WARM_START,
)
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.search.lanes import is_on_top, noted_ticket
from galatune.study.search.workers import Workers, new_claim
from galatune.study.storage.database import note

__all__ = [
    "FIXED",
    "as_stored",
    "claim",
    "hand_back",
    "held_tickets",
    "next_trial",
    "note_end",
    "release",
    "running",
    "take_over",
    "ticket_of",
    "uses_ticket",
]

FIXED = "fixed_params"
"""System attribute in which Optuna keeps the parameters of a trial that was enqueued."""

MOST_ENDS = 3
"""A configuration whose objective ends its process is tried so often; interruptions and kills count not."""

QUEUED_LOOKS, QUEUED_SECONDS = 20, 0.1
"""How long a trial is awaited that another process is about to queue."""

CARRIED = (STAGE, REPEATS, PILOT, POLISH, WARM_START, ENDS)
"""User attributes of a trial that one with the same ticket has too."""


def uses_ticket(trial: FrozenTrial) -> bool:
    """Whether a trial of the smaller study used a ticket of the budget.

    One that was released did not. Nor did one whose optimizer sets its own step: its ticket is spent, since
    the sampler would draw the same configuration with it, and the budget is one ticket larger. Repeats come
    on top of the budget.
    """
    own_step = trial.user_attrs.get(OWN_STEP)
    counts = not is_interrupted(trial) and not own_step and not is_on_top(noted_ticket(trial))
    return trial.state.is_finished() and counts


def running(study: optuna.Study) -> int:
    """Number of trials of the search that are running, in whatever process, as far as they are claimed."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    claimed = (trial for trial in trials if trial.user_attrs.get(PROCESS) is not None)
    return sum(not is_on_top(noted_ticket(trial)) for trial in claimed)


def ticket_of(study: optuna.Study, trial: optuna.trial.Trial | FrozenTrial) -> int:
    """The ticket of a trial: the one it has noted, else the next after those of the trials before it."""
    noted = noted_ticket(trial)
    if noted is not None:
        return noted
    trials = study.get_trials(deepcopy=False)
    return _tickets(one for one in trials if one._trial_id <= trial._trial_id)[trial._trial_id]


def as_stored(study: optuna.Study, trial: optuna.trial.Trial | FrozenTrial) -> FrozenTrial:
    """A trial as the storage has it now; of an SQLite file that nobody wrote to since, without a read."""
    trials = study.get_trials(deepcopy=False)
    return next(one for one in trials if one._trial_id == trial._trial_id)


def held_tickets(study: optuna.Study) -> dict[int, FrozenTrial]:
    """The trial of each ticket, without those that were released."""
    trials = study.get_trials(deepcopy=False)
    numbers = _tickets(trials)
    return {numbers[trial._trial_id]: trial for trial in trials if not is_interrupted(trial)}


def next_trial(study: optuna.Study, tickets: int) -> optuna.trial.Trial | None:
    """Begin the trial of the lowest ticket that nobody has; of one on top of the budget, if any waits.

    Args:
        study: The smaller study.
        tickets: How many the search has; 0 if only those on top may begin.

    Returns:
        It is `claim` that makes it this process's own. None if there is none, now.
    """
    storage, trials = study._storage, study.get_trials(deepcopy=False)
    numbers = _tickets(trials)
    waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
    for trial in sorted(waiting, key=lambda one: _turn(numbers[one._trial_id], one._trial_id)):
        if _is_surplus(trial, trials, numbers):
            _close(study, trial, "it was queued twice")
        elif _in_budget(trials, numbers, numbers[trial._trial_id], tickets) and _begin(study, trial):
            return _made(study, trial._trial_id)
    drawn = [ticket for ticket in numbers.values() if not is_on_top(ticket)]
    if not _in_budget(trials, numbers, max(drawn, default=-1) + 1, tickets):
        return None
    new = create_trial(state=TrialState.RUNNING, user_attrs={PROCESS: new_claim()})
    return _made(study, storage.create_new_trial(study._study_id, new))


def claim(study: optuna.Study, trial: optuna.trial.Trial, tickets: int) -> bool:
    """Note in a running trial that this process runs it, and its ticket.

    Args:
        study: The smaller study.
        trial: From `next_trial` or `study.ask`.
        tickets: How many there are.

    Returns:
        Whether it may begin. If not, its ticket lies beyond the budget, since others began trials
        meanwhile, it was queued twice, or it was released before this process could say that it is alive:
        `hand_back`.
    """
    key = trial._trial_id
    trials = study.get_trials(deepcopy=False)
    numbers = _tickets(trials)
    try:
        note(trial, {PROCESS: new_claim(), TICKET: numbers[key]})
    except RuntimeError:  # it is finished
        return False
    now = as_stored(study, trial)
    if now.state != TrialState.RUNNING or bool(now.user_attrs.get(INTERRUPTED)):
        return False
    if is_on_top(numbers[key]) and _is_surplus(now, *_now(study)):
        return False
    return _in_budget(trials, numbers, numbers[key], tickets)


def hand_back(study: optuna.Study, trial: optuna.trial.Trial) -> None:
    """Make a trial that has not begun WAITING again, unless somebody has released it."""
    storage, key = study._storage, trial._trial_id
    try:
        if storage.get_trial(key).user_attrs.get(INTERRUPTED):
            return
        storage.set_trial_user_attr(key, PROCESS, None)
        storage.set_trial_state_values(key, TrialState.WAITING)
    except RuntimeError:  # it is finished
        return


def release(study: optuna.Study, number: int, reason: str) -> bool:
    """Give up a running trial: it becomes FAIL, and its configuration is queued again under its ticket.

    Args:
        study: The smaller study.
        number: Of the trial.
        reason: Why it was given up.

    Returns:
        Whether this call gave it up; a finished trial, or another process's claim since, is left as it is.
    """
    found = [trial for trial in study.get_trials(deepcopy=False) if trial.number == number]
    return any(_release(study, trial, reason) for trial in found)


def note_end(study: optuna.Study, number: int, how: str) -> FrozenTrial | None:
    """A process ended by itself while it ran a trial, whose ticket is tried again: not without limit.

    Args:
        study: The smaller study.
        number: Of the trial.
        how: The process ended, in words.

    Returns:
        The trial that has its ticket if it is not tried once more, but FAIL; None if it is tried.
    """
    ran = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
    trial = _noted_end(study, ticket_of(study, ran))
    if trial is None or trial.user_attrs[ENDS] < MOST_ENDS:
        return None
    reason = f"the objective has ended its process {trial.user_attrs[ENDS]} times: it {how}"
    return as_stored(study, trial) if _close(study, trial, reason, released=False) else None


def _noted_end(study: optuna.Study, ticket: int) -> FrozenTrial | None:
    """The unfinished trial that has a ticket, after one more end was noted in it; None if there is none.

    Another process may be about to release it: then the next one that has the ticket comes soon.
    """
    for _ in range(QUEUED_LOOKS):
        trial = held_tickets(study).get(ticket)
        if trial is not None and trial.state.is_finished():
            return None
        if trial is not None:
            with suppress(RuntimeError):  # it was finished meanwhile
                study._storage.set_trial_user_attr(trial._trial_id, ENDS, trial.user_attrs.get(ENDS, 0) + 1)
                return as_stored(study, trial)
        time.sleep(QUEUED_SECONDS)
    return None


def take_over(study: optuna.Study, workers: Workers) -> int:
    """Release every running trial whose process is gone, and queue tickets that have no trial.

    Returns:
        How many trials it released.
    """
    running_now = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    gone = [trial for trial in running_now if workers.is_gone(trial)]
    count = sum(_release(study, trial, "its process is gone") for trial in gone)
    trials = study.get_trials(deepcopy=False)
    numbers = _tickets(trials)
    kept = {numbers[trial._trial_id] for trial in trials if not is_interrupted(trial)}
    lost = {numbers[trial._trial_id]: trial for trial in trials if numbers[trial._trial_id] not in kept}
    for ticket, trial in sorted(lost.items()):
        if workers.has_left(trial):
            _queue(study, trial, ticket)
    return count


def _release(study: optuna.Study, trial: FrozenTrial, reason: str) -> bool:
    """Give up a trial, as it was when it was read."""
    if trial.state != TrialState.RUNNING:
        return False
    ticket = ticket_of(study, trial)
    if not _close(study, trial, f"{reason}; its configuration is tried again"):
        return False
    _queue(study, as_stored(study, trial), ticket)  # with what was noted meanwhile
    return True


def _tickets(trials: Iterable[FrozenTrial]) -> dict[int, int]:
    """Ticket of each trial, by its identity in the storage."""
    found: dict[int, int] = {}
    highest = -1
    for trial in sorted(trials, key=lambda one: one._trial_id):
        noted = noted_ticket(trial)
        found[trial._trial_id] = highest + 1 if noted is None else noted
        if not is_on_top(noted):
            highest = max(highest, found[trial._trial_id])
    return found


def _turn(ticket: int, key: int) -> tuple[bool, int, int]:
    """What waits is begun in this order."""
    return not is_on_top(ticket), ticket, key


def _in_budget(trials: Sequence[FrozenTrial], numbers: dict[int, int], ticket: int, tickets: int) -> bool:
    """Whether a ticket is one of the first, not counting those that optimizers with an own step spent.

    One on top of the budget always is.
    """
    if is_on_top(ticket):
        return True
    lower = {number for number in numbers.values() if number < ticket}
    spent = sum(trial.state.is_finished() and OWN_STEP in trial.user_attrs for trial in trials)
    return len(lower) < tickets + spent


def _is_surplus(trial: FrozenTrial, trials: Sequence[FrozenTrial], numbers: dict[int, int]) -> bool:
    """Whether a waiting trial was released already, or an earlier one has its ticket."""
    ticket, key = numbers[trial._trial_id], trial._trial_id
    same = [one for one in trials if numbers[one._trial_id] == ticket and one._trial_id != key]
    earlier = all(is_interrupted(one) for one in same if one._trial_id < key)
    begun = is_on_top(ticket) and any(_is_ahead(one, trial) for one in same)
    return bool(trial.user_attrs.get(INTERRUPTED)) or not earlier or begun


def _is_ahead(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Whether a trial is done, or at work while the other waits."""
    at_work = one.state == TrialState.RUNNING and one.user_attrs.get(PROCESS) is not None
    done = one.state.is_finished() and not is_interrupted(one)
    return done or (at_work and other.state == TrialState.WAITING)


def _now(study: optuna.Study) -> tuple[list[FrozenTrial], dict[int, int]]:
    """The trials and their tickets."""
    trials = study.get_trials(deepcopy=False)
    return trials, _tickets(trials)


def _begin(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Make a waiting trial a running one; False if another process did."""
    try:
        return study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    except RuntimeError:  # it is finished
        return False


def _made(study: optuna.Study, key: int) -> optuna.trial.Trial:
    study._thread_local.cached_all_trials = None  # as in `study.ask`
    study.get_trials(deepcopy=False)  # read once: what follows asks for the others, too
    return optuna.trial.Trial(study, key)


def _close(study: optuna.Study, trial: FrozenTrial, reason: str, *, released: bool = True) -> bool:
    """Make an unfinished trial FAIL, and released unless it stays so for good.

    Returns:
        False if it is finished, or claimed since it was read.
    """
    storage, key = study._storage, trial._trial_id
    try:
        storage.set_trial_user_attr(key, INTERRUPTED, True)
        if storage.get_trial(key).user_attrs.get(PROCESS) != trial.user_attrs.get(PROCESS):
            return False
        storage.set_trial_user_attr(key, PROCESS, new_claim())
        storage.set_trial_user_attr(key, REASON, reason)
        if not released:
            storage.set_trial_user_attr(key, INTERRUPTED, False)
        return storage.set_trial_state_values(key, TrialState.FAIL)
    except RuntimeError:  # it is finished: another process was quicker
        return False


def _queue(study: optuna.Study, trial: FrozenTrial, ticket: int) -> None:
    """Queue the configuration of a released trial, as far as it is known."""
    params = {**trial.system_attrs.get(FIXED, {}), **trial.params}
    kept = {name: trial.user_attrs[name] for name in CARRIED if name in trial.user_attrs}
    study.enqueue_trial(params, user_attrs={**kept, TICKET: ticket})
