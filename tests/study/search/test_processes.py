"""A search that is interrupted, continued, or shared by several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import tiny_search
from optuna.trial import TrialState
from tiny_search import go, load, objective, outcome, yes

from galatune.study.ledger import machine
from galatune.study.ledger.attributes import BEAT, INTERRUPTED, PROCESS, REASON, RECORD
from galatune.study.ledger.machine import is_alive, this_process
from galatune.study.ledger.rows import ledger
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search import loop, quota, workers
from galatune.study.search.quota import release, ticket_of
from galatune.study.search.signals import Interruption
from galatune.study.search.summary import RunSummary

pytestmark = pytest.mark.usefixtures("folder", "interruptible")


@pytest.fixture
def another() -> Iterator[dict[str, Any]]:
    """Another process at work, as its trials would describe it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield {**this_process(), "pid": process.pid, "started": machine._started(process.pid)}
        process.communicate(b"\n")


REST = "the rest of the budget of 3 trials is at work in another process"


def test_a_trial_of_another_process_has_its_ticket(plan: ShrinkPlan, another: dict[str, Any]) -> None:
    go(plan, trials=1)
    load().ask().set_user_attr(PROCESS, another)
    study = go(plan, trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING", "COMPLETE"]
    assert study.user_attrs[RECORD]["stopped_because"] == REST
    study.tell(1, 5.0)
    assert go(plan, trials=3).user_attrs[RECORD]["stopped_because"] == "the budget of 3 trials is used up"


@pytest.mark.parametrize("into", ["new.log", pytest.param("new.db", marks=pytest.mark.slow)])
def test_of_two_processes_that_begin_the_last_ticket_the_first_has_it(
    plan: ShrinkPlan, another: dict[str, Any], monkeypatch: pytest.MonkeyPatch, into: str
) -> None:
    whole = outcome(go(plan, into="whole.log", trials=4))
    go(plan, into=into, trials=2)

    def raced(study: optuna.Study, tickets: int) -> Any:
        monkeypatch.setattr(loop, "next_trial", quota.next_trial)
        ahead = optuna.load_study(study_name="old-gala", storage=study._storage).ask()
        ahead.set_user_attr(PROCESS, another)
        return study.ask()  # it looked before the other was there

    monkeypatch.setattr(loop, "next_trial", raced)
    study = go(plan, into=into, trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2 + ["RUNNING", "WAITING"]
    assert study.user_attrs[RECORD]["stopped_because"] == REST
    study.tell(2, 5.0)
    study = go(plan, into=into, trials=3)
    assert len(study.trials) == 4
    assert [row.number for row in ledger(study).rows] == [0, 1, 2]
    assert RunSummary.of(study, into).to_json()["by_state"] == {"COMPLETE": 3}
    assert scan(into).trials.total == 3
    study = go(plan, into=into, trials=4)
    assert ledger(study).by_state == {"COMPLETE": 4}
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
    assert outcome(study)[:2] == whole[:2]


def interrupting(at: int, how: Callable[[], None]) -> Callable[[Any], float]:
    """Interrupts itself in one of its calls, after the training."""
    calls = 0

    def one(trial: Any) -> float:
        nonlocal calls
        calls += 1
        value = objective(trial)
        if calls == at:
            how()
        return value

    return one


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def swallow_interrupt() -> None:
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "how",
    [
        raise_interrupt,
        swallow_interrupt,
        lambda: signal.raise_signal(signal.SIGINT),
        lambda: signal.raise_signal(signal.SIGTERM),
    ],
)
def test_an_interruption_changes_nothing_of_the_result(plan: ShrinkPlan, how: Callable[[], None]) -> None:
    whole = outcome(go(plan, into="whole.log", trials=5))
    with pytest.raises(KeyboardInterrupt):
        go(plan, interrupting(3, how), trials=5)
    stopped = load()
    states = [trial.state for trial in stopped.trials]
    assert states == [TrialState.COMPLETE] * 2 + [TrialState.FAIL, TrialState.WAITING]
    assert stopped.trials[2].user_attrs[INTERRUPTED] is True
    assert stopped.trials[2].user_attrs[REASON] == "interrupted; its configuration is tried again"
    assert stopped.user_attrs[RECORD]["stopped_because"] == "interrupted"
    study = go(plan, trials=5, agree=yes)
    assert study.trials[3].params == study.trials[2].params
    assert outcome(study) == whole
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_twice_in_one_configuration(plan: ShrinkPlan) -> None:
    whole = outcome(go(plan, into="whole.log", trials=4))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            go(plan, interrupting(2, raise_interrupt), trials=4)
    assert outcome(go(plan, trials=4, agree=yes)) == whole


def test_an_interruption_before_anything_was_suggested(plan: ShrinkPlan) -> None:
    whole = outcome(go(plan, into="whole.log", trials=3))

    def at_once(trial: Any) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(plan, at_once, trials=3)
    assert [trial.state for trial in load().trials] == [TrialState.FAIL, TrialState.WAITING]
    assert outcome(go(plan, trials=3)) == whole


def test_an_interruption_while_a_trial_is_written_down_loses_nothing(
    plan: ShrinkPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = optuna.Study.tell

    def told(self: optuna.Study, *args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return tell(self, *args, **kwargs)

    monkeypatch.setattr(optuna.Study, "tell", told)
    with pytest.raises(KeyboardInterrupt):
        go(plan, trials=3)
    assert [trial.state for trial in load().trials] == [TrialState.COMPLETE]


def test_a_trial_whose_process_is_gone_is_tried_again(plan: ShrinkPlan) -> None:
    whole = outcome(go(plan, into="whole.log", trials=3))
    go(plan, trials=1)
    study = optuna.load_study(
        study_name="old-gala", storage=load()._storage, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    third = outcome(load("whole.log"))[1][0]
    study.enqueue_trial(third)
    zombie = study.ask()
    zombie.suggest_categorical("width", [2, 4, 8])
    zombie.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    zombie.set_user_attr(PROCESS, {**this_process(), "pid": 2**22 + 1})
    study = go(plan, trials=3)
    assert study.trials[1].state == TrialState.FAIL
    assert study.trials[1].user_attrs[REASON] == "its process is gone; its configuration is tried again"
    assert outcome(study) == whole


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that beat twenty times a second."""
    monkeypatch.setattr(workers, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(workers, "CLAIM_SECONDS", 0.2)
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.02)


def away(beat: float = 0.1) -> dict[str, Any]:
    """A process of another machine."""
    return {**this_process(), "machine": "another", "claim": "1", "beat": beat}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("process", [away(), None, {"machine": 5}, this_process()])
def test_a_running_trial_whose_process_gives_no_sign_is_tried_again(plan: ShrinkPlan, process: Any) -> None:
    go(plan, trials=1)
    load().ask().set_user_attr(PROCESS, process)
    study = go(plan, trials=3)
    states = [trial.state.name for trial in study.trials]
    assert sorted(states) == ["COMPLETE"] * 3 + ["FAIL"]
    assert sorted(ticket_of(study, trial) for trial in study.trials) == [0, 1, 1, 2]
    assert study.trials[1].user_attrs[INTERRUPTED] is True


@pytest.mark.usefixtures("quick")
def test_a_trial_of_another_machine_is_left_while_it_beats(plan: ShrinkPlan) -> None:
    go(plan, trials=1)
    there = load().ask()
    there.set_user_attr(PROCESS, away())
    end = threading.Event()

    def beat() -> None:
        count = 0
        while not end.wait(0.05):
            there.set_user_attr(BEAT, count := count + 1)

    thread = threading.Thread(target=beat)
    thread.start()
    study = go(plan, trials=3)
    end.set()
    thread.join()
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING", "COMPLETE"]
    assert study.user_attrs[RECORD]["stopped_because"] == REST


ELSEWHERE = """
import time
from tiny_search import go, objective, scan
from galatune.study.ledger import machine
from galatune.study.search import workers

machine._place = lambda: "elsewhere"
workers.BEAT_SECONDS = 0.05


def endless(trial):
    objective(trial)
    time.sleep(600)


go(scan("old.log"), endless, trials=3)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_process_of_another_machine_that_is_killed_is_replaced(plan: ShrinkPlan) -> None:
    tests = str(Path(tiny_search.__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE], env={**os.environ, "PYTHONPATH": tests}
    ) as process:
        while not (Path("new.log").exists() and BEAT in Path("new.log").read_text()):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    study = go(plan, trials=3, agree=yes)
    assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE"] * 3 + ["FAIL"]
    assert study.trials[0].user_attrs[REASON] == "its process is gone; its configuration is tried again"
    assert study.trials[0].params in [trial.params for trial in study.trials[1:]]


@pytest.mark.usefixtures("quick")
def test_a_process_beats_while_it_runs_a_trial_and_not_afterwards(plan: ShrinkPlan) -> None:
    def one(trial: Any) -> float:
        value = objective(trial)
        while not load().trials[trial.number].user_attrs.get(BEAT, 0) > 1:
            time.sleep(0.01)
        return value

    before = set(threading.enumerate())
    assert go(plan, one, trials=1).trials[0].user_attrs[BEAT] > 1
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fails", [False, True])
def test_a_trial_that_was_released_while_it_ran_is_no_result(plan: ShrinkPlan, fails: bool) -> None:
    whole = outcome(go(plan, into="whole.log", trials=3))
    calls = 0

    def late(trial: Any) -> float:
        nonlocal calls
        calls += 1
        value = objective(trial)
        if calls == 2:
            assert release(load(), 1, "its process is gone")
            if fails:
                raise ValueError
        return value

    study = go(plan, late, trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[1].user_attrs[REASON] == "its process is gone; its configuration is tried again"
    assert outcome(study) == whole


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    me = this_process()
    assert is_alive(me)
    assert is_alive({**me, "pid": 2**22 + 1}) is False
    assert is_alive({**me, "pid": 2**80}) is False
    assert is_alive({**me, "started": "0"}) is False, "its number was given to another"
    assert is_alive({**me, "machine": "another", "pid": 2**22 + 1}) is None
    assert is_alive({**me, "started": None}) is None
    for nonsense in (None, {}, "text", {**me, "pid": "1"}, {**me, "pid": -1}, {**me, "pid": 0}):
        assert is_alive(nonsense) is None


def test_a_run_beside_the_main_thread_works(plan: ShrinkPlan) -> None:
    thread = threading.Thread(target=lambda: go(plan, trials=2))
    thread.start()
    thread.join()
    assert len(load().trials) == 2


def test_signals_are_held_back_and_handlers_given_back() -> None:
    written = []

    def write(interruption: Interruption) -> None:
        with interruption.held():
            signal.raise_signal(signal.SIGTERM)
            with interruption.held():
                signal.raise_signal(signal.SIGINT)
            written.append("everything")

    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt):
            write(interruption)
        assert written
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_program_around_is_left_alone() -> None:
    mine = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        own = signal.getsignal(signal.SIGTERM)
        with Interruption():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, mine)


def test_a_trial_that_another_process_finished_first_is_left(plan: ShrinkPlan) -> None:
    def twice(trial: Any) -> float:
        value = objective(trial)
        if trial.number == 0:
            load().tell(0, 0.125)
        return value

    study = go(plan, twice, trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert study.trials[0].value == 0.125
