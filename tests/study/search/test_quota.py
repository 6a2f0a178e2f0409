"""Tickets: noted once, queued once, and never lost, at whatever line a process dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from galatune.study.ledger.attributes import INTERRUPTED, OWN_STEP, PROCESS, STAGE, TICKET
from galatune.study.ledger.machine import this_process
from galatune.study.ledger.rows import ledger
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.search import workers
from galatune.study.search.quota import (
    claim,
    hand_back,
    next_trial,
    release,
    take_over,
    ticket_of,
    uses_ticket,
)
from galatune.study.search.sampler import SeededSampler
from galatune.study.search.workers import Workers, let_go

GONE = {**this_process(), "pid": 2**22 + 1}
TRIALS = 4


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CLAIM_SECONDS", 0.05)


def suggest(trial: optuna.trial.Trial) -> None:
    trial.suggest_categorical("width", [2, 4, 8])
    trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)


def asked(study: optuna.Study, count: int) -> list[optuna.trial.Trial]:
    trials = [study.ask() for _ in range(count)]
    for trial in trials:
        assert claim(study, trial, 8)
        suggest(trial)
    return trials


def study_in_memory() -> optuna.Study:
    return optuna.create_study(sampler=SeededSampler(0))


def study_in(journal: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.create_study(study_name="s", storage=storage, sampler=SeededSampler(0), load_if_exists=True)


def tickets(study: optuna.Study) -> list[int]:
    return [ticket_of(study, trial) for trial in study.trials]


def test_released_trials_keep_three_tickets_and_their_configurations() -> None:
    study = study_in_memory()
    before = asked(study, 3)
    for trial in before:
        assert release(study, trial.number, "interrupted")
        assert not release(study, trial.number, "interrupted"), "it is released already"
    again = [study.ask() for _ in before]
    assert [ticket_of(study, trial) for trial in again] == [0, 1, 2]
    for trial, known in zip(again, before, strict=True):
        suggest(trial)
        assert trial.params == known.params


def test_a_release_changes_no_ticket_of_a_running_trial() -> None:
    study = study_in_memory()
    trials = asked(study, 3)
    release(study, 0, "interrupted")
    assert [ticket_of(study, trial) for trial in trials] == [0, 1, 2]
    assert trials[2].user_attrs[TICKET] == 2
    assert ticket_of(study, study.ask()) == 0
    assert ticket_of(study, study.ask()) == 3


def test_a_configuration_that_was_queued_is_known_before_it_is_suggested() -> None:
    study = study_in_memory()
    (first,) = asked(study, 1)
    first.set_user_attr(STAGE, "confirm")
    for number in range(3):
        release(study, number, "interrupted")
        again = next_trial(study, 8)
        assert again is not None
        assert again.user_attrs[STAGE] == "confirm"
    suggest(again)
    assert again.params == first.params


def test_the_lowest_ticket_goes_first_and_those_beyond_the_budget_wait() -> None:
    study = study_in_memory()
    trials = [study.ask() for _ in range(4)]
    assert [claim(study, trial, 3) for trial in trials] == [True, True, True, False]
    hand_back(study, trials[3])
    release(study, 1, "interrupted")
    again = next_trial(study, 3)
    assert again is not None
    assert ticket_of(study, again) == 1
    assert next_trial(study, 3) is None
    last = next_trial(study, 4)
    assert last is not None
    assert last.number == 3
    assert next_trial(study, 4) is None


def test_an_optimizer_with_an_own_step_makes_the_budget_one_larger() -> None:
    study = study_in_memory()
    first, _ = asked(study, 2)
    assert next_trial(study, 2) is None
    first.set_user_attr(OWN_STEP, "optimizer=Prodigy")
    study.tell(first, state=TrialState.FAIL)
    third = next_trial(study, 2)
    assert third is not None
    assert claim(study, third, 2)
    assert ticket_of(study, third) == 2
    assert next_trial(study, 2) is None


@pytest.mark.parametrize("noted", [True, -1, "1", 1.0, None, [], 10**30])
def test_a_ticket_that_is_none_is_not_believed(noted: Any) -> None:
    study = study_in_memory()
    asked(study, 3)[1].set_user_attr(TICKET, noted)
    assert tickets(study) == [0, 1, 2]


def test_a_trial_that_was_released_before_it_was_claimed_is_left() -> None:
    study = study_in_memory()
    trial = study.ask()
    assert release(study, 0, "its process is gone")
    assert not claim(study, trial, 8)
    hand_back(study, trial)
    assert is_interrupted(study.trials[0])
    other = study.ask()
    other.set_user_attr(INTERRUPTED, True)  # somebody is about to
    assert not claim(study, other, 8)
    hand_back(study, other)
    assert study.trials[1].state == TrialState.RUNNING


def test_a_claim_that_comes_while_a_trial_is_released_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study, there = study_in(tmp_path / "new.log"), study_in(tmp_path / "new.log")
    trial = there.ask()
    write = study._storage.set_trial_user_attr

    def between(key: int, name: str, value: Any) -> None:
        monkeypatch.undo()
        assert claim(there, trial, 8)
        write(key, name, value)

    monkeypatch.setattr(study._storage, "set_trial_user_attr", between)
    assert not release(study, 0, "its process is gone")
    assert study.trials[0].state == TrialState.RUNNING


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_a_result_that_comes_while_a_trial_is_released_counts(state: TrialState) -> None:
    study = study_in_memory()
    (trial,) = asked(study, 1)
    trial.set_user_attr(INTERRUPTED, True)
    study.tell(trial, 1.0 if state == TrialState.COMPLETE else None, state=state)
    assert not release(study, 0, "its process is gone")
    assert uses_ticket(study.trials[0])


def test_of_two_that_queued_a_ticket_the_first_has_it() -> None:
    study = study_in_memory()
    asked(study, 1)
    release(study, 0, "interrupted")
    study.enqueue_trial({}, user_attrs={TICKET: 0})
    first = next_trial(study, 2)
    assert first is not None
    assert first.number == 1
    assert claim(study, first, 2)
    second = next_trial(study, 2)
    assert second is not None
    assert (second.number, ticket_of(study, second)) == (3, 1)
    assert is_interrupted(study.trials[2])
    assert [row.number for row in ledger(study).rows] == [0, 1, 3], "one that was queued twice never began"


def test_of_many_that_release_a_trial_one_queues_it(tmp_path: Path) -> None:
    def opened() -> optuna.Study:
        return study_in(tmp_path / "new.log")

    for trial in asked(opened(), 3):
        trial.set_user_attr(PROCESS, GONE)
    count, barrier, released = 6, threading.Barrier(6), []

    def one() -> None:
        study = opened()
        barrier.wait()
        released.append(take_over(study, Workers()))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(released) == 3
    assert sorted(tickets(opened())) == [0, 0, 1, 1, 2, 2]


# -- a process that dies at any of its writes


class DiedError(BaseException):
    """Stands for kill -9."""


def dying(study: optuna.Study, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies when it would write to the storage for the ``at``-th time."""
    left = at

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def one(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise DiedError
            return method(*args, **kwargs)

        return one

    for name in ("set_trial_user_attr", "set_trial_state_values", "create_new_trial", "set_trial_param"):
        monkeypatch.setattr(study._storage, name, counting(getattr(study._storage, name)))


def work(study: optuna.Study) -> None:
    """What a process does until nothing is left."""
    here = Workers()
    until = 50
    while sum(map(uses_ticket, study.trials)) < TRIALS and until:
        take_over(study, here)
        trial = next_trial(study, TRIALS)
        if trial is None:
            until -= 1
            time.sleep(0.01)
            continue
        if not claim(study, trial, TRIALS):
            hand_back(study, trial)
            continue
        suggest(trial)
        study.tell(trial, float(trial.number))


@pytest.mark.parametrize("queued", [False, True])
def test_at_whatever_write_a_process_dies_nothing_is_lost(
    queued: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = 0
    for at in range(30):
        study = study_in_memory()
        (first, second) = asked(study, 2)
        known = first.params
        first.set_user_attr(PROCESS, GONE)
        study.tell(second, 1.0)
        if queued:
            release(study, 0, "interrupted")
        let_go()
        with monkeypatch.context() as patched:
            dying(study, at, patched)
            try:
                work(study)
            except DiedError:
                died += 1
        let_go()
        work(study)
        done = [trial for trial in study.trials if uses_ticket(trial)]
        assert sorted(ticket_of(study, trial) for trial in done) == list(range(TRIALS)), at
        assert [t.params for t in done if ticket_of(study, t) == 0] == [known], at
        assert all(trial.state.is_finished() for trial in study.trials), at
    assert died > 15
