"""The smaller study from its first trial to its last."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import tiny_search
import torch
from optuna.trial import TrialState
from tiny_search import OBJECTIVE, objective, objective_file, old_study, train

from galatune.errors import ControlError, GalatuneError, ObjectiveError, PlanError, StorageError
from galatune.study import machine
from galatune.study.fingerprint import Fingerprint
from galatune.study.interruption import Interruption
from galatune.study.machine import is_another, is_gone, this_process
from galatune.study.objective import load_objective
from galatune.study.options import RunOptions
from galatune.study.plan import ShrinkPlan, scan
from galatune.study.record import ATTRIBUTE
from galatune.study.run import run
from galatune.study.ticket import INTERRUPTED, PROCESS, REASON


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plan(folder: Path) -> ShrinkPlan:
    old_study("old.log")
    return scan("old.log")


def go(plan: ShrinkPlan, function: Callable[[Any], Any] = objective, **given: Any) -> optuna.Study:
    return run(plan, function, **{"into": "new.log", **given})


def yes(question: str) -> bool:
    return True


def load(file: str = "new.log", name: str = "old-gala") -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(file)
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))


def outcome(study: optuna.Study) -> list[tuple[Any, ...]]:
    """Parameters and values of the trials that count."""
    trials = [trial for trial in study.get_trials() if trial.state == TrialState.COMPLETE]
    return [(trial.params, trial.value) for trial in trials]


def test_a_run_says_what_it_did_and_leaves_the_source_alone(folder: Path) -> None:
    old_study("sqlite:///old.db")
    before = hashlib.sha256((folder / "old.db").read_bytes()).hexdigest()
    study = run(scan("old.db"), objective, trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    attribute = study.user_attrs[ATTRIBUTE]
    json.dumps([attribute, *(trial.user_attrs for trial in study.trials)], allow_nan=False)
    assert attribute["stopped_because"] == "the budget of 2 trials is used up"
    assert attribute["options"]["max_lr"] is None
    assert attribute["source"] == {"storage": "old.db", "study": "old", "sampler": None, "best_value": 1.0}
    assert (attribute["sampler"], attribute["pruner"]) == ("TPESampler", "NopPruner")
    assert ShrinkPlan.from_json(attribute["plan"]) == scan("old.db")
    assert sorted(path.name for path in folder.iterdir()) == ["old-gala.db", "old.db"]
    assert hashlib.sha256((folder / "old.db").read_bytes()).hexdigest() == before


def test_the_budget_is_exact_also_when_continued(plan: ShrinkPlan) -> None:
    assert len(go(plan, trials=2).trials) == 2
    assert len(go(plan, trials=5).trials) == 5
    study = go(plan, trials=5)
    assert len(study.trials) == 5
    assert study.user_attrs[ATTRIBUTE]["stopped_because"] == "the budget of 5 trials is used up"
    fewer = go(plan, trials=3)
    assert len(fewer.trials) == 5
    assert fewer.user_attrs[ATTRIBUTE]["stopped_because"] == "5 trials are done, more than the budget of 3"


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
    assert study.user_attrs[ATTRIBUTE]["stopped_because"] == REST
    study.tell(1, 5.0)
    assert go(plan, trials=3).user_attrs[ATTRIBUTE]["stopped_because"] == "the budget of 3 trials is used up"


@pytest.mark.parametrize("into", ["new.log", pytest.param("new.db", marks=pytest.mark.slow)])
def test_of_two_processes_that_ask_for_the_last_ticket_the_first_has_it(
    plan: ShrinkPlan, another: dict[str, Any], monkeypatch: pytest.MonkeyPatch, into: str
) -> None:
    whole = outcome(go(plan, into="whole.log", trials=4))
    go(plan, into=into, trials=2)
    ask = optuna.Study.ask

    def asked(self: optuna.Study) -> Any:
        monkeypatch.setattr(optuna.Study, "ask", ask)
        ahead = optuna.load_study(study_name="old-gala", storage=self._storage).ask()
        trial = ask(self)  # it comes second, before the first could say whose it is
        threading.Timer(0.1, ahead.set_user_attr, (PROCESS, another)).start()
        return trial

    monkeypatch.setattr(optuna.Study, "ask", asked)
    study = go(plan, into=into, trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2 + ["RUNNING", "WAITING"]
    assert study.user_attrs[ATTRIBUTE]["stopped_because"] == REST
    study.tell(2, 5.0)
    study = go(plan, into=into, trials=4)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
    assert outcome(study)[:2] == whole[:2]


def test_it_stops_at_the_match_by_itself(folder: Path) -> None:
    old_study("old.log", [1e9, 1e8, 1e8 - 1])
    study = go(scan("old.log"))
    assert len(study.trials) == 1
    assert study.user_attrs[ATTRIBUTE]["stopped_because"] == "the old best was matched after 1 trial"


def test_without_a_match_the_old_number_of_trials_is_the_bound(folder: Path) -> None:
    old_study("old.log", [-1.0, TrialState.FAIL, -2.0])
    study = go(scan("old.log"))
    assert len(study.trials) == 3
    assert len(go(scan("old.log"), trials=4, until_match=True).trials) == 4


def test_a_confirmed_match_takes_two_trials(folder: Path) -> None:
    old_study("old.log", [1e9, 1e8, 1e8 - 1])
    study = go(scan("old.log"), confirm=True)
    assert len(study.trials) == 2
    assert study.trials[0].params == study.trials[1].params
    assert study.trials[0].value != study.trials[1].value, "another seed"
    assert study.trials[1].user_attrs["galatune_stage"] == "confirm"


def test_patience_ends_the_search(plan: ShrinkPlan) -> None:
    values = iter([5.0, 4.0, 6.0, 6.0, 6.0])
    study = go(plan, lambda trial: (objective(trial), next(values))[1], trials=30, patience=2)
    assert len(study.trials) == 4


def test_a_maximized_study_stays_one(folder: Path) -> None:
    old_study("old.log", directions=["maximize"])
    study = go(scan("old.log"), lambda trial: -objective(trial), trials=1)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_a_pruner_only_where_the_old_study_had_one(folder: Path) -> None:
    old_study("old.log", [3.0, TrialState.PRUNED])
    study = go(scan("old.log"), trials=1)
    assert study.user_attrs[ATTRIBUTE]["pruner"] == "MedianPruner"
    assert isinstance(study.pruner, optuna.pruners.MedianPruner)


def test_the_objective_may_stop_the_study(plan: ShrinkPlan) -> None:
    def content(trial: Any) -> float:
        if trial.number == 1:
            trial.study.stop()
        return objective(trial)

    study = go(plan, content, trials=9)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert study.user_attrs[ATTRIBUTE]["stopped_because"] == "the objective stopped the study"
    assert len(go(plan, trials=4, agree=yes).trials) == 4


# -- seeds


def test_the_same_command_gives_the_same_study(plan: ShrinkPlan) -> None:
    first = outcome(go(plan, into="one.log", trials=13))
    assert outcome(go(plan, into="two.log", trials=13)) == first
    assert outcome(go(plan, into="three.log", trials=13, seed=1)) != first
    assert len({str(params) for params, _ in first}) == 13


def test_a_continued_run_is_the_one_that_was_never_stopped(plan: ShrinkPlan) -> None:
    whole = outcome(go(plan, into="whole.log", trials=13))
    for trials in (4, 12, 13):
        parts = outcome(go(plan, into="parts.log", trials=trials))
    assert parts == whole


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
    assert stopped.user_attrs[ATTRIBUTE]["stopped_because"] == "interrupted"
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
    assert [trial.state for trial in load().trials] == [TrialState.FAIL]
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


def test_a_running_trial_that_may_be_alive_is_left_and_not_counted(plan: ShrinkPlan) -> None:
    go(plan, trials=1)
    study = load()
    study.ask().set_user_attr(PROCESS, {**this_process(), "machine": "another"})
    study.ask().set_user_attr(PROCESS, this_process())
    study.ask()
    study = go(plan, trials=3)
    assert [trial.state.name for trial in study.trials] == [
        "COMPLETE",
        *["RUNNING"] * 3,
        *["COMPLETE"] * 2,
    ]


def test_a_process_is_known_to_be_gone_only_on_its_own_machine() -> None:
    me = this_process()
    assert not is_gone(me)
    assert is_gone({**me, "pid": 2**22 + 1})
    assert is_gone({**me, "started": "0"}), "its number was given to another"
    assert not is_gone({**me, "machine": "another", "pid": 2**22 + 1})
    assert not is_another(me)
    for nonsense in (None, {}, "text", {**me, "pid": "1"}, {**me, "pid": -1}, {**me, "pid": 0}):
        assert not is_gone(nonsense)
        assert not is_another(nonsense)


def test_python_numpy_and_torch_are_seeded(plan: ShrinkPlan) -> None:
    draws: list[tuple[float, ...]] = []

    def drawing(trial: Any) -> float:
        draws.append((random.random(), float(np.random.rand()), torch.rand(1).item()))
        return objective(trial)

    go(plan, drawing, into="one.log", trials=2)
    go(plan, drawing, into="two.log", trials=2)
    assert draws[:2] == draws[2:]
    assert len(set(draws)) == 2


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


# -- constraints


def test_an_infeasible_trial_is_no_match(folder: Path) -> None:
    old_study("old.log", [1e9, 1e8, 1e8 - 1])

    def constrained(trial: Any) -> float:
        trial.set_constraint("late", 1.0 if trial.number < 2 else -1.0)
        return objective(trial)

    study = go(scan("old.log"), constrained, confirm=False)
    assert study.user_attrs[ATTRIBUTE]["stopped_because"] == "the old best was matched after 3 trials"


# -- failures


def always(trial: Any) -> float:
    raise ZeroDivisionError("by zero")


def test_an_objective_that_always_fails_ends_after_five(plan: ShrinkPlan) -> None:
    with pytest.raises(ObjectiveError) as caught:
        go(plan, always, trials=50)
    words = str(caught.value)
    assert words.startswith(
        "5 trials in a row failed, the last one with: ZeroDivisionError: by zero (test_run"
    )
    assert words.endswith("Mend it and run the same command again to continue")
    assert [trial.state for trial in load().trials] == [TrialState.FAIL] * 5
    assert load().user_attrs[ATTRIBUTE]["stopped_because"] == "5 trials in a row failed"
    assert len(outcome(go(plan, trials=7))) == 2


@pytest.mark.parametrize("trials", [1, 4, 5])
def test_a_search_that_failed_to_the_end_is_no_success(plan: ShrinkPlan, trials: int) -> None:
    for _ in range(2):
        with pytest.raises(ObjectiveError, match=r"by zero \(test_run.*ask for more with --trials"):
            go(plan, always, trials=trials)
    assert len(load().trials) == trials


def test_an_objective_that_fails_after_a_success_is_continued_with_yes(plan: ShrinkPlan) -> None:
    go(plan, trials=1)
    with pytest.raises(ObjectiveError, match="Mend it and run the same command again with --yes to continue"):
        go(plan, always, trials=50, agree=yes)


def test_a_failure_now_and_then_does_not_end_the_search(plan: ShrinkPlan) -> None:
    calls = 0

    def moody(trial: Any) -> float:
        nonlocal calls
        calls += 1
        return objective(trial) if calls % 5 == 0 else always(trial)

    assert len(go(plan, moody, trials=10).trials) == 10


# -- what is refused


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"min_lr": 0.2, "max_lr": 0.1}, ControlError, "min_lr"),
        ({"min_lr": float("inf")}, PlanError, "--min-lr"),
        ({"min_lr": float("nan")}, GalatuneError, "min"),
        ({"max_lr": 0.0}, ControlError, "max_lr"),
        ({"step_scale": -1.0}, ControlError, "step_scale"),
        ({"pace": 0.5}, ControlError, "pace"),
        ({"probe": "none"}, ControlError, "probe"),
        ({"seed": -1}, PlanError, "--seed"),
        ({"seed": 2**32}, PlanError, "--seed"),
        ({"trials": 0}, PlanError, "--trials"),
        ({"into": "old.log"}, PlanError, "--into"),
    ],
)
def test_a_contradiction_is_said_before_anything_is_made(
    plan: ShrinkPlan, folder: Path, given: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        go(plan, **given)
    assert [path.name for path in folder.iterdir()] == ["old.log"]


def test_a_study_without_learning_rates_names_the_way_out(folder: Path) -> None:
    old_study("old.log", rates={})
    with pytest.raises(PlanError, match=r"no learning rate.*width, weight_decay.*--lr"):
        go(scan("old.log"))


def only_the_rate(trial: Any) -> float:
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    net = torch.nn.Linear(4, 1)
    return train(torch.optim.SGD(net.parameters(), lr=lr), net)


def test_where_only_the_rate_was_searched_a_few_seeds_are_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_search, "KEPT", {})
    old_study("old.log", [-3.0, -2.0, -1.0, -1.0, -1.0])
    plan = scan("old.log")
    words = (
        r"^study 'old' searched nothing but lr, so every trial would be .*--trials, or --yes for at most 3$"
    )
    with pytest.raises(PlanError, match=words):
        go(plan, only_the_rate)
    assert [path.name for path in folder.iterdir()] == ["old.log"]
    asked: list[str] = []
    study = go(plan, only_the_rate, agree=lambda question: (asked.append(question), True)[1])
    assert asked[0].endswith("Run it at most 3 times?")
    assert len(study.trials) == 3
    assert len({trial.value for trial in study.trials}) == 3, "the seeds differ"
    assert len(go(plan, only_the_rate, trials=4).trials) == 4
    assert [(way.way, way.trials) for way in plan.projected] == [("replay", 1), ("until-match", 3)]


def test_options_and_settings_exclude_each_other(plan: ShrinkPlan) -> None:
    with pytest.raises(TypeError, match="trials"):
        go(plan, options=RunOptions(), trials=2)
    with pytest.raises(TypeError):
        go(plan, triaels=2)


def test_the_name_of_a_study_of_somebody_else_is_refused(plan: ShrinkPlan, folder: Path) -> None:
    old_study("new.log", name="old-gala")
    with pytest.raises(PlanError, match=r"not galatune's.*--name"):
        go(plan)
    assert len(go(plan, name="mine", trials=1).trials) == 1


def test_a_study_of_another_plan_is_refused(plan: ShrinkPlan, folder: Path) -> None:
    go(plan, trials=1)
    with pytest.raises(PlanError, match=r"was made with lr=.* dropped, now it is .*weight_decay.*--name"):
        go(scan("old.log", lr=["weight_decay"]), trials=2)
    old_study("other.log", name="other")
    with pytest.raises(PlanError, match=r"continues 'old', not 'other'.*--name"):
        go(scan("other.log"), name="old-gala", trials=2)


def test_other_options_are_asked_for(plan: ShrinkPlan) -> None:
    go(plan, trials=1)
    changed = {"seed": 3, "max_lr": 0.5}
    with pytest.raises(PlanError, match=r"seed 0 \(now 3\), max_lr not set \(now 0.5\).*--yes.*--name"):
        go(plan, trials=2, **changed)
    asked: list[str] = []

    def answer(yes: bool) -> Callable[[str], bool]:
        return lambda question: (asked.append(question), yes)[1]

    with pytest.raises(PlanError, match="was begun with"):
        go(plan, trials=2, agree=answer(False), **changed)
    assert len(go(plan, trials=2, agree=answer(True), **changed).trials) == 2
    assert len(asked) == 2
    assert asked[0].startswith("Study 'old-gala' was begun with seed 0")
    assert asked[0].endswith("?")
    assert len(go(plan, trials=3, agree=answer(False), **changed).trials) == 3, "now these are its options"


def written(folder: Path, text: str = OBJECTIVE, name: str = "mine.py") -> Callable[[Any], Any]:
    return load_objective(f"{objective_file(folder, text, name)}:objective")


def test_an_objective_whose_file_has_changed_is_asked_for(plan: ShrinkPlan, folder: Path) -> None:
    go(plan, written(folder), trials=1)
    assert len(go(plan, written(folder / "moved"), trials=2).trials) == 2, "the same text"
    changed = written(folder, OBJECTIVE.replace("AdamW", "Adam"))
    words = r"^study 'old-gala' was begun with another version of mine.py; continue it .* --yes.*--name$"
    with pytest.raises(PlanError, match=words):
        go(plan, changed, trials=3)
    assert len(go(plan, changed, trials=3, agree=yes).trials) == 3
    assert len(go(plan, changed, trials=4).trials) == 4, "now this is its objective"
    words = r"begun with seed 0 \(now 1\), mine.py:objective \(now tiny_search.py:objective\);"
    with pytest.raises(PlanError, match=words):
        go(plan, trials=5, seed=1)


def test_an_objective_that_only_failed_may_change(plan: ShrinkPlan, folder: Path) -> None:
    with pytest.raises(ObjectiveError, match="every trial failed"):
        go(plan, written(folder, "def objective(trial):\n    return None\n"), trials=1)
    assert len(go(plan, written(folder), trials=2).trials) == 2


def test_an_objective_without_a_file_is_never_asked_for(plan: ShrinkPlan) -> None:
    scope: dict[str, Any] = {}
    exec(OBJECTIVE, scope)
    go(plan, scope["objective"], trials=1)
    assert load().user_attrs[ATTRIBUTE]["objective"] == {"reference": "objective", "sha256": None}
    assert len(go(plan, trials=2).trials) == 2


class Wrapped:
    def __call__(self, trial: Any) -> float:
        return objective(trial)


@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (Wrapped(), "test_run.py:Wrapped"),
        (Wrapped().__call__, "test_run.py:Wrapped.__call__"),
        (partial(partial(objective)), "tiny_search.py:objective"),
        (wraps(objective)(lambda trial: objective(trial)), "tiny_search.py:objective"),
        (float, "float"),
    ],
)
def test_the_code_behind_an_objective_is_found(function: Any, reference: str) -> None:
    assert Fingerprint.of(function).reference == reference


def test_another_budget_is_no_other_option(plan: ShrinkPlan) -> None:
    go(plan, trials=1)
    assert len(go(plan, trials=2, patience=9, until_match=True, tolerance=0.0).trials) == 2


@pytest.mark.slow
def test_a_storage_lost_on_the_way_is_one_line(folder: Path) -> None:
    old_study("old.log")
    plan = scan("old.log")

    def breaking(trial: Any) -> float:
        value = objective(trial)
        if trial.number == 1:
            with closing(sqlite3.connect("new.db")) as connection:
                connection.execute("ALTER TABLE trial_user_attributes RENAME TO elsewhere")
                connection.commit()
        return value

    with pytest.raises(StorageError, match=r"Lost .* new.db: no such table.*the same command continues"):
        run(plan, breaking, into="new.db", trials=3)


def test_a_journal_that_cannot_be_written_is_one_line(
    plan: ShrinkPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = optuna.storages.journal.JournalFileBackend
    append = backend.append_logs

    def full(self: Any, logs: Any) -> None:
        if any(log["op_code"] == 6 for log in logs) and len(load().trials) == 2:
            raise OSError(28, "No space left on device")
        append(self, logs)

    monkeypatch.setattr(backend, "append_logs", full)
    with pytest.raises(StorageError, match="No space left on device"):
        go(plan, trials=3)


def test_a_password_left_out_of_a_plan_is_asked_for(plan: ShrinkPlan) -> None:
    hidden = replace(plan, storage="postgresql://ada:***@nowhere/old")
    with pytest.raises(PlanError, match=r"source="):
        go(hidden, trials=1)


def test_a_trial_that_another_process_finished_first_is_left(plan: ShrinkPlan) -> None:
    def twice(trial: Any) -> float:
        value = objective(trial)
        if trial.number == 0:
            load().tell(0, 0.125)
        return value

    study = go(plan, twice, trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert study.trials[0].value == 0.125
