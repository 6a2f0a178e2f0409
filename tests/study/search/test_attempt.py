"""Trials whose objective is begun again before it trains: to see whose rate moves, or with plain numbers."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState
from tiny_search import RATE, go, make, old_study, outcome, recorded, train

from galatune.errors import ObjectiveError
from galatune.study.ledger.attributes import REASON
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan

pytestmark = pytest.mark.usefixtures("folder")


class Counted:
    """An objective whose calls are counted.

    Args:
        function: Called with (trial, rate, number of the call from 0).
    """

    def __init__(self, function: Callable[[Any, Any, int], float]) -> None:
        self.function, self.rates, self.draws = function, [], []

    def __call__(self, trial: Any) -> float:
        self.rates.append(trial.suggest_float("lr", 1e-5, 1.0, log=True))
        self.draws.append((random.random(), torch.rand(1).item()))
        return self.function(trial, self.rates[-1], len(self.rates) - 1)


def sgd(trial: Any, rate: Any) -> tuple[torch.optim.Optimizer, torch.nn.Module]:
    net = make(trial)
    return torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9), net


def reasons(trial: optuna.trial.FrozenTrial) -> list[str]:
    return [optimizer.reason for optimizer in recorded(trial).optimizers]


def said(trial: optuna.trial.FrozenTrial) -> str:
    return "; ".join(event.reason for event in recorded(trial).events if event.kind == "lineage")


MOVES = "its initial rate moves with lr"
FIXED = "its initial rate 0.05 does not follow lr"


def test_a_rate_whose_origin_is_lost_is_found_by_beginning_twice(plan: ShrinkPlan) -> None:
    def lost(trial: Any, rate: float, call: int) -> float:
        (one, net), (other, extra) = sgd(trial, 3 * float(rate)), sgd(trial, 0.05)
        return train(one, net) + train(other, extra)

    function = Counted(lost)
    trials = go(plan, function, trials=2).get_trials()
    assert [reasons(trial) for trial in trials] == [[MOVES, FIXED]] * 2
    assert len(function.rates) == 3 + 1, "stopped, stopped, and the two trials"
    first, second, third, last = function.rates
    assert first == third == last != second
    assert RATE.low <= second <= RATE.high
    assert function.draws[0] == function.draws[1] == function.draws[2] != function.draws[3], "the same seed"
    assert said(trials[0]) == (
        "the objective was begun three times, twice up to its first step, with two values of lr, to see "
        "whose rate moves: 1 of 2"
    )
    assert said(trials[1]) == ""
    assert [recorded(trial).steps for trial in trials] == [12, 12]


def test_the_trial_is_as_if_it_had_been_begun_once(plan: ShrinkPlan) -> None:
    def follows(trial: Any) -> float:
        return train(*sgd(trial, 3 * trial.suggest_float("lr", 1e-5, 1.0, log=True)))

    def lost(trial: Any) -> float:
        return train(*sgd(trial, 3 * float(trial.suggest_float("lr", 1e-5, 1.0, log=True))))

    found = [
        outcome(go(plan, function, into=f"{function.__name__}.log", trials=3)) for function in (follows, lost)
    ]
    assert found[0] == found[1]


def test_optimizers_made_later_are_known_by_their_place(plan: ShrinkPlan) -> None:
    def anew(trial: Any, rate: float, call: int) -> float:
        net = make(trial)
        for epoch in range(4):
            rate_now = 2 * float(rate) * 0.8**epoch
            value = train(torch.optim.SGD(net.parameters(), lr=rate_now), net)
        other, extra = sgd(trial, 0.05)
        return value + train(other, extra)

    trials = go(plan, Counted(anew), trials=2).get_trials()
    assert [reasons(trial) for trial in trials] == [[MOVES] * 4 + [FIXED]] * 2


def test_one_that_equals_the_rate_takes_those_of_its_place_with_it(plan: ShrinkPlan) -> None:
    def anew(trial: Any, rate: float, call: int) -> float:
        net = make(trial)
        for epoch in range(3):
            value = train(torch.optim.SGD(net.parameters(), lr=float(rate) * 0.8**epoch), net)
        return value

    function = Counted(anew)
    trial = go(plan, function, trials=1).get_trials()[0]
    assert all(optimizer.controlled for optimizer in recorded(trial).optimizers)
    assert len(function.rates) == 1, "the first is equal: nothing is begun twice"


def test_text_is_answered_with_other_text() -> None:
    def chosen(trial: Any) -> float:
        rate = float(trial.suggest_categorical("lr", ["1e-3", "1e-2", "1e-1"]))
        (one, net), (other, extra) = sgd(trial, 3 * rate), sgd(trial, 0.05)
        return train(one, net) + train(other, extra)

    old_study("old.log", rates={"lr": CategoricalDistribution(["1e-3", "1e-2", "1e-1"])})
    assert reasons(go(scan("old.log"), chosen, trials=1).get_trials()[0]) == [MOVES, FIXED]


def test_a_rate_set_by_hand_before_the_first_step_moves(plan: ShrinkPlan) -> None:
    def by_hand(trial: Any, rate: float, call: int) -> float:
        optimizer, net = sgd(trial, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = float(rate) / 2
        return train(optimizer, net)

    assert reasons(go(plan, Counted(by_hand), trials=1).get_trials()[0]) == [MOVES]


def catches(trial: Any, rate: float, call: int) -> float:
    optimizer, net = sgd(trial, 2 * float(rate))
    for _ in range(200):
        try:
            train(optimizer, net, steps=1)
        except BaseException:  # a script that never gives up
            continue
    return train(optimizer, net)


def gives_up(trial: Any, rate: float, call: int) -> float:
    try:
        return train(*sgd(trial, 2 * float(rate)))
    except BaseException as error:
        raise RuntimeError("my framework stopped") from error


def differs(trial: Any, rate: float, call: int) -> float:
    optimizers = [sgd(trial, 2 * float(rate)) for _ in range(call + 1)]
    return sum(train(*optimizer) for optimizer in optimizers)


def raises(trial: Any, rate: float, call: int) -> float:
    if call == 1:
        raise ValueError("not with this rate")
    return train(*sgd(trial, 2 * float(rate)))


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (catches, "unknown, since the objective caught the stop"),
        (gives_up, "unknown, since the objective caught the stop"),
        (differs, "unknown, since it built other optimizers the second time"),
        (raises, "unknown, since it built other optimizers the second time"),
    ],
)
def test_if_it_cannot_be_seen_it_is_assumed(plan: ShrinkPlan, function: Any, why: str) -> None:
    counted = Counted(function)
    trials = go(plan, counted, trials=2).get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert len(counted.rates) == 4
    assert all("assumed: " in reason for trial in trials for reason in reasons(trial))
    assert all(optimizer.controlled for trial in trials for optimizer in recorded(trial).optimizers)
    assert said(trials[0]).endswith(why)


def test_nothing_is_begun_twice_if_the_rate_is_not_asked_for(plan: ShrinkPlan) -> None:
    calls = []

    def settled(trial: Any) -> float:
        calls.append(trial)
        return train(*sgd(trial, 0.1))

    assert "assumed" in reasons(go(plan, settled, trials=1).get_trials()[0])[0]
    assert len(calls) == 1


def strict(value: Any) -> None:
    """A library in C, such as orjson."""
    if type(value) is not float:
        raise TypeError(f"Type is not JSON serializable: {type(value).__name__}")


def test_a_script_that_refuses_the_class_gets_plain_numbers(plan: ShrinkPlan) -> None:
    def refusing(trial: Any, rate: Any, call: int) -> float:
        strict(rate)
        (one, net), (other, extra) = sgd(trial, rate), sgd(trial, rate / 3)
        return train(one, net) + train(other, extra)

    function = Counted(refusing)
    trials = go(plan, function, trials=2).get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert len(function.rates) == 1 + 3 + 1, "refused; stopped, stopped and the two trials"
    assert all(optimizer.controlled for trial in trials for optimizer in recorded(trial).optimizers)
    assert "the objective refuses numbers that know their origin (TypeError: Type is" in said(trials[0])
    assert said(trials[1]) == ""


@pytest.mark.parametrize("end", [optuna.TrialPruned(), None, SystemExit(1)])
def test_a_script_that_hides_its_refusal_gets_plain_numbers(plan: ShrinkPlan, end: Any) -> None:
    def hiding(trial: Any, rate: Any, call: int) -> float:
        try:
            strict(rate)
        except TypeError:
            if end is None:
                return float("inf")
            raise end from None
        return train(*sgd(trial, rate))

    function = Counted(hiding)
    trials = go(plan, function, trials=2).get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert [type(rate) is float for rate in function.rates] == [False, True, True]
    assert "refuses numbers" in said(trials[0])


def test_one_that_is_pruned_for_its_configuration_is_called_once_more_in_a_run(plan: ShrinkPlan) -> None:
    def impossible(trial: Any, rate: Any, call: int) -> float:
        make(trial)
        raise optuna.TrialPruned

    function = Counted(impossible)
    assert {trial.state for trial in go(plan, function, trials=4).get_trials()} == {TrialState.PRUNED}
    assert [type(rate) is float for rate in function.rates] == [False, True, False, False, False]


def test_what_cannot_be_begun_twice_says_so(plan: ShrinkPlan) -> None:
    open_runs: list[int] = []

    def once_only(trial: Any, rate: Any, call: int) -> float:
        if open_runs:
            raise RuntimeError("a run is active already")
        open_runs.append(call)
        return train(*sgd(trial, 2 * float(rate)))

    with pytest.raises(ObjectiveError, match=r"active already .*it was begun before in this trial"):
        go(plan, Counted(once_only), trials=1)


def test_a_copy_of_an_optimizer_that_follows_is_controlled(plan: ShrinkPlan) -> None:
    def copied(trial: Any, rate: Any, call: int) -> float:
        optimizer, net = sgd(trial, 3 * rate)
        train(optimizer, net, steps=2)
        other, copied_net = copy.deepcopy((optimizer, net))
        return train(other, copied_net)

    found = reasons(go(plan, Counted(copied), trials=1).get_trials()[0])
    assert found == ["its initial rate follows lr", "it is a copy of one that follows lr"]


def test_an_objective_that_fails_by_itself_is_called_once_more_for_each_failure(plan: ShrinkPlan) -> None:
    function = Counted(lambda trial, rate, call: 1 / 0)
    with pytest.raises(ObjectiveError, match="ZeroDivisionError"):
        go(plan, function, trials=2)
    assert [type(rate) is float for rate in function.rates] == [False, True, False]


@pytest.mark.parametrize("error", [FileNotFoundError("data.csv"), ImportError("timm"), MemoryError()])
def test_no_class_of_a_number_is_the_reason_of_such_an_error(plan: ShrinkPlan, error: Exception) -> None:
    def broken(trial: Any, rate: Any, call: int) -> float:
        raise error

    function = Counted(broken)
    with pytest.raises(ObjectiveError):
        go(plan, function, trials=1)
    assert len(function.rates) == 1


def test_a_script_that_refuses_the_class_at_its_end_fails_once(plan: ShrinkPlan) -> None:
    def late(trial: Any, rate: Any, call: int) -> float:
        value = train(*sgd(trial, rate))
        strict(rate)
        return value

    trials = go(plan, Counted(late), trials=2).get_trials()
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "JSON serializable: float" in trials[0].user_attrs[REASON]
    assert trials[0].user_attrs[REASON].endswith("from the next trial on it is a plain number")


def test_a_failure_after_training_leaves_the_origins(plan: ShrinkPlan) -> None:
    def late(trial: Any, rate: Any, call: int) -> float:
        value = train(*sgd(trial, rate))
        if call == 0:
            raise RuntimeError("CUDA out of memory")
        return value

    function = Counted(late)
    go(plan, function, trials=2)
    assert [type(rate) is float for rate in function.rates] == [False, False]


def test_a_training_in_a_thread_is_not_stopped(plan: ShrinkPlan) -> None:
    def in_a_thread(trial: Any, rate: Any, call: int) -> float:
        optimizer, net = sgd(trial, 2 * float(rate))
        thread = threading.Thread(target=lambda: trial.set_user_attr("loss", train(optimizer, net)))
        thread.start()
        thread.join()
        return float(trial.user_attrs["loss"])

    function = Counted(in_a_thread)
    assert "assumed" in reasons(go(plan, function, trials=1).get_trials()[0])[0]
    assert len(function.rates) == 1


def test_what_was_reported_before_the_stop_is_no_second_report(plan: ShrinkPlan) -> None:
    def reporting(trial: Any, rate: Any, call: int) -> float:
        trial.report(1.0, 0)
        trial.set_user_attr("calls", call)
        return train(*sgd(trial, 2 * float(rate)))

    trial = go(plan, Counted(reporting), trials=1).get_trials()[0]
    assert trial.intermediate_values == {0: 1.0}
    assert trial.user_attrs["calls"] == 2
