"""`run --polish N`: the best configurations once more, with other rates."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from tiny_search import RATE, go, load, make, objective, old_study, recorded, searched, train, yes

from galatune.controller.torch_hooks.random_state import seed_everything
from galatune.errors import ControlError, PlanError
from galatune.report.savings import savings
from galatune.study.ledger.attributes import POLISH, STAGE, TICKET
from galatune.study.ledger.polish import Polish
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import ledger
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.scan.scan import scan
from galatune.study.search.fixed_trial import fixed_trial
from galatune.study.search.lanes import is_on_top
from galatune.study.search.summary import RunSummary

pytestmark = pytest.mark.usefixtures("folder")


def polished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials of the stage that count, in the order of their tickets."""
    found = [t for t in study.trials if t.user_attrs.get(STAGE) == "polish" and not is_interrupted(t)]
    return sorted(found, key=lambda trial: trial.user_attrs[TICKET])


def ways(study: optuna.Study) -> list[Polish | None]:
    return [Polish.from_attribute(trial.user_attrs[POLISH]) for trial in polished(study)]


def goes(**given: Any) -> optuna.Study:
    return go(scan("old.log"), **{"trials": 3, "repeats": 0, **given})


def test_nothing_is_polished_unless_asked_for() -> None:
    old_study("old.log")
    assert polished(goes()) == []


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_configurations_run_again_with_other_rates_on_top(direction: str) -> None:
    old_study("old.log", directions=(direction,))
    study = goes(trials=4, polish=2)
    assert len(searched(study)) == 4
    ranked = sorted(searched(study), key=lambda t: t.value * (1 if direction == "minimize" else -1))
    best = [ranked[0].number, ranked[1].number]
    assert sorted({way.trial for way in ways(study) if way}) == sorted(best)
    for number in best:
        mine = [t for t in polished(study) if t.user_attrs[POLISH]["trial"] == number]
        own = [way for way in ways(study) if way and way.trial == number]
        assert [way.step_scale_factor for way in own] == [0.5, 2.0, 1.0]
        peak = max(point.rate for point in recorded(study.trials[number]).learning_rate)
        assert [dict(way.rates) for way in own] == [{}, {}, {"lr": pytest.approx(min(peak, 1.0))}]
        assert all(trial.params == study.trials[number].params for trial in mine)
        assert all(is_on_top(trial.user_attrs[TICKET]) for trial in mine)
        assert [recorded(trial).controlled for trial in mine] == [True, True, False]
        (rate,) = {point.rate for point in recorded(mine[2]).learning_rate}
        assert rate == pytest.approx(min(peak, 1.0))


def test_the_step_scale_is_halved_and_doubled() -> None:
    old_study("old.log")

    def longer(trial: Any) -> float:
        net = make(trial)
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        torch.manual_seed(0)  # the same net each time, so that nothing but the scale differs
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter)
        return train(torch.optim.SGD(net.parameters(), lr=lr), net, 60)

    study = go(scan("old.log"), longer, trials=1, repeats=0, polish=1, max_growth_per_step=2.0)
    rates = [recorded(t).learning_rate for t in (study.trials[0], *polished(study)[:2])]
    whole, half, twice = (curve[-1].rate for curve in rates)
    assert half < whole < twice


def test_a_factor_multiplies_the_scale_that_is_given_and_one_changes_nothing() -> None:
    import galatune

    def rates(**options: Any) -> list[float]:
        torch.manual_seed(0)
        net = torch.nn.Linear(4, 1)
        with galatune.controlled(**options) as capture:
            train(torch.optim.SGD(net.parameters(), lr=0.1), net, 40)
        return [rate for _, rate in capture.controllers[0].rate_curve.points()]

    assert rates(step_scale=1.0, step_scale_factor=3.0) == rates(step_scale=3.0)
    assert rates(step_scale_factor=1.0) == rates()
    with pytest.raises(ControlError, match="step_scale_factor must be positive and finite, however: step"):
        rates(step_scale_factor=0.0)


def test_a_configuration_that_was_drawn_twice_is_polished_once() -> None:
    rates = {"lr": RATE}
    old_study("old.log", rates=rates)

    def same(trial: Any) -> float:
        trial.suggest_categorical("width", [2])
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        net = torch.nn.Linear(4, 1)
        return train(torch.optim.SGD(net.parameters(), lr=lr), net)

    study = go(scan("old.log"), same, trials=3, repeats=0, polish=5)
    assert len(polished(study)) == 3


def test_more_than_there_are_is_all_that_are_complete() -> None:
    old_study("old.log")

    def some(trial: Any) -> float:
        if trial.number == 1:
            raise ValueError("no")
        if trial.number == 2:
            objective(trial)
            raise optuna.TrialPruned
        return objective(trial)

    study = go(scan("old.log"), some, trials=4, repeats=0, polish=9)
    assert {way.trial for way in ways(study) if way} == {0, 3}


def test_it_follows_a_match_as_well_as_the_end_of_the_budget() -> None:
    old_study("old.log", (1e9, 1e8))
    study = goes(trials=10, until_match=True, polish=1)
    assert len(searched(study)) == 1
    assert len(polished(study)) == 3
    assert str(Provenance.of(study).stopped_because).startswith("the old best was matched after 1 trial")


def test_the_same_command_again_adds_nothing_and_more_trials_go_on_as_without() -> None:
    old_study("old.log")
    assert len(goes(polish=1).trials) == 6
    assert len(goes(polish=1).trials) == 6
    study = goes(trials=6, polish=1)
    plain = goes(trials=6, name="plain")
    assert [t.params for t in searched(study)] == [t.params for t in plain.trials]
    best = min(searched(study), key=lambda trial: trial.value)
    assert best.number in {way.trial for way in ways(study) if way}


def test_an_interrupted_polish_goes_on(interruptible: None) -> None:
    old_study("old.log")
    calls: list[int] = []

    def interrupted(trial: Any) -> float:
        calls.append(trial.number)
        value = objective(trial)
        if len(calls) in (2, 5, 6):
            raise KeyboardInterrupt
        return value

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            go(scan("old.log"), interrupted, trials=3, repeats=0, polish=1)
    go(scan("old.log"), interrupted, trials=3, repeats=0, polish=1)
    study, whole = load(), goes(polish=1, name="whole")
    assert [t.value for t in polished(study)] == [t.value for t in polished(whole)]
    assert [t.state for t in polished(study)] == [TrialState.COMPLETE] * 3


def _work(folder: str) -> None:
    os.chdir(folder)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    goes(trials=6, polish=2)


def test_two_processes_share_it() -> None:
    old_study("old.log")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(str(Path.cwd()),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    study = load()
    assert len(searched(study)) == 6
    assert [t.state for t in polished(study)] == [TrialState.COMPLETE] * 6


def test_two_rates_keep_their_ratio() -> None:
    old_study("old.log", rates={"lr": RATE, "head_lr": RATE})

    def two(trial: Any) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        head = trial.suggest_float("head_lr", 1e-5, 1.0, log=True)
        net = make(trial)
        groups = [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": head}]
        return train(torch.optim.Adam(groups, lr=lr), net)

    study = go(scan("old.log"), two, trials=1, repeats=0, polish=1)
    before, now = scan("old.log").placeholders, polished(study)[2].user_attrs[POLISH]["rates"]
    peak = max(point.rate for point in recorded(study.trials[0]).learning_rate)
    assert max(now.values()) == pytest.approx(peak)
    assert now["lr"] / now["head_lr"] == pytest.approx(float(before["lr"]) / float(before["head_lr"]))


def test_an_exponent_stays_one() -> None:
    rates = {"log10_lr": FloatDistribution(-5.0, 0.0)}
    old_study("old.log", rates=rates)

    def exponent(trial: Any) -> float:
        net = make(trial)
        return train(torch.optim.Adam(net.parameters(), lr=10 ** trial.suggest_float("log10_lr", -5, 0)), net)

    study = go(scan("old.log"), exponent, trials=1, repeats=0, polish=1)
    peak = max(point.rate for point in recorded(study.trials[0]).learning_rate)
    fixed = [point.rate for point in recorded(polished(study)[2]).learning_rate]
    assert fixed == pytest.approx([min(peak, 1.0)] * len(fixed))


def test_several_objectives_polish_the_front() -> None:
    old_study("old.log", directions=("minimize", "minimize"))
    study = go(scan("old.log"), lambda t: (objective(t), float(t.number)), trials=3, polish=1)
    assert len(polished(study)) == 3


def test_what_cannot_be_polished_is_refused() -> None:
    old_study("old.log")
    with pytest.raises(PlanError, match="--polish varies what the controller does, however: --control off"):
        goes(polish=1, control="off")
    with pytest.raises(PlanError, match="--polish must lie between 0 and 1000, however: -1"):
        goes(polish=-1)


def test_the_best_of_all_is_reported_with_what_it_had_and_can_be_trained_again() -> None:
    old = old_study("old.log")

    def likes_fixed(trial: Any) -> float:
        value = objective(trial)
        return value / 1000 if _kind(trial) == "of_a_trial_that_is_fixed" else value

    study = go(scan("old.log"), likes_fixed, trials=2, repeats=0, polish=1)
    best = polished(study)[2]
    assert study.best_trial.number == best.number
    summary = RunSummary.of(study, "new.log")
    lr = best.user_attrs[POLISH]["rates"]["lr"]
    assert summary.best_polish == Polish(best.user_attrs[POLISH]["trial"], rates={"lr": lr})
    assert f"with lr={lr!s:.20} fixed" in summary.text(width=200)
    assert summary.to_json()["best_polish"]["rates"] == {"lr": lr}
    assert fixed_trial(study).suggest_float("lr", 1e-5, 1.0, log=True) == lr
    assert "polish" in list(ledger(study).frame()["stage"])
    assert savings(old, study).shrunk.trials == 5


def _kind(trial: Any) -> str:
    rates = trial.user_attrs.get(POLISH, {}).get("rates")
    return "of_a_trial_that_is_fixed" if rates else "of_another"


def test_a_polished_trial_is_trained_again_bit_for_bit() -> None:
    old_study("old.log")
    study = goes(trials=1, polish=1)
    fixed = polished(study)[2]
    seed_everything(fixed.user_attrs[TICKET])
    rates = fixed.user_attrs[POLISH]["rates"]
    assert objective(optuna.trial.FixedTrial({**fixed.params, **rates})) == fixed.value


def test_a_broken_attribute_is_no_polish() -> None:
    assert Polish.from_attribute(None) is None
    assert Polish.from_attribute({"trial": "x", "step_scale_factor": 1, "rates": {}}) is None
    assert Polish.from_attribute({"trial": 1, "step_scale_factor": -1, "rates": {}}) is None
    assert Polish.from_attribute(Polish(1, 2.0).to_attribute()) == Polish(1, 2.0)


def test_it_may_be_asked_for_later() -> None:
    old_study("old.log")
    goes()
    assert len(polished(goes(polish=1, agree=yes))) == 3
