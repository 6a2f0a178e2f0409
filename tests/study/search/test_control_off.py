"""`run --control off`: the smaller search with its rates fixed at the old best's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from optuna.trial import FixedTrial, TrialState
from tiny_search import (
    RATE,
    STEPS,
    go,
    load,
    make,
    objective,
    old_study,
    outcome,
    recorded,
    train,
    with_rate,
    yes,
)

from galatune.controller.torch_hooks.random_state import seed_everything
from galatune.errors import ObjectiveError, PlanError
from galatune.report.savings import savings
from galatune.study.ledger.attributes import RECORD
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import ledger
from galatune.study.scan.scan import scan
from galatune.study.search.fixed_trial import fixed_trial
from galatune.study.search.summary import RunSummary

pytestmark = pytest.mark.usefixtures("folder")


def off(function: Callable[[Any], Any] = objective, **given: Any) -> optuna.Study:
    return go(scan("old.log"), function, control="off", **{"trials": 3, **given})


def test_each_trial_is_that_of_the_unchanged_objective_at_the_old_best_rate() -> None:
    old = old_study("old.log")
    for ticket, trial in enumerate(off(seed=5).trials):
        seed_everything(5 + ticket)
        alone = objective(FixedTrial({**trial.params, "lr": old.best_params["lr"]}))
        assert trial.value == alone
        assert "lr" not in trial.params


def test_a_trial_records_that_nothing_was_controlled_and_what_it_cost() -> None:
    old = old_study("old.log")
    record = recorded(off(trials=1).trials[0])
    assert not record.controlled
    assert [(one.name, one.controlled, one.probe) for one in record.optimizers] == [("AdamW", False, None)]
    assert record.optimizers[0].reason.startswith("nothing is controlled: lr=")
    assert (record.steps, record.probes, record.gradient_evaluations) == (STEPS, 0, STEPS)
    assert {point.rate for point in record.learning_rate} == {old.best_params["lr"]}
    assert [point.step for point in record.learning_rate] == list(range(1, STEPS + 1))


def test_a_schedule_stays_as_it_is_and_its_rates_are_recorded() -> None:
    old_study("old.log")

    def scheduled(trial: Any) -> float:
        net = make(trial)
        optimizer = torch.optim.SGD(net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        for _ in range(3):
            train(optimizer, net, 1)
            schedule.step()
        return 1.0

    rates = [point.rate for point in recorded(off(scheduled, trials=1).trials[0]).learning_rate]
    assert rates == pytest.approx([rates[0], rates[0] / 2, rates[0] / 4])


def test_a_training_without_torch_is_no_failure_and_its_cost_is_unknown() -> None:
    old_study("old.log")

    def foreign(trial: Any) -> float:
        return float(np.float64(trial.suggest_float("lr", 1e-5, 1.0, log=True)))

    study = off(foreign)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    assert {row.gradient_evaluations for row in ledger(study).rows} == {None}


def test_an_optimizer_that_sets_its_own_step_is_no_failure() -> None:
    old_study("old.log")

    def own(trial: Any) -> float:
        net = make(trial)
        optimizer = torch.optim.Rprop(net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
        return train(optimizer, net)

    study = off(own, trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert recorded(study.trials[0]).optimizers[0].name == "Rprop"


def test_an_optimizer_within_another_is_counted_once() -> None:
    old_study("old.log")

    class Outer(torch.optim.Optimizer):
        def __init__(self, inner: torch.optim.Optimizer) -> None:
            super().__init__([p for group in inner.param_groups for p in group["params"]], {"lr": 1.0})
            self.inner = inner

        def step(self, closure: Any = None) -> None:
            self.inner.step()

    def wrapped(trial: Any) -> float:
        net = make(trial)
        inner = torch.optim.SGD(net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
        return train(Outer(inner), net)

    record = recorded(off(wrapped, trials=1).trials[0])
    assert ([one.name for one in record.optimizers], record.steps) == (["SGD"], STEPS)


def test_the_objective_of_another_study_still_fails() -> None:
    old_study("old.log")
    study = go(scan("old.log"), with_rate(lambda t: 0.1), control="off", trials=1)
    assert study.trials[0].state == TrialState.COMPLETE  # it suggests what the old study has

    def another(trial: Any) -> float:
        return float(trial.suggest_float("height", 0, 1))

    with pytest.raises(ObjectiveError, match="another study"):
        go(scan("old.log"), another, control="off", trials=1, name="two")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("min_lr", 1e-3),
        ("max_lr", 0.1),
        ("probe", "graph"),
        ("step_scale", 2.0),
        ("per_group", True),
        ("max_growth_per_step", 2.0),
    ],
)
def test_an_option_of_the_controller_contradicts_it(option: str, value: Any) -> None:
    old_study("old.log")
    with pytest.raises(PlanError, match=r"--control off fixes the rate, so --[a-z-]+ has no meaning"):
        off(**{option: value})


def test_a_third_setting_is_refused() -> None:
    old_study("old.log")
    with pytest.raises(PlanError, match="--control must be on or off, however: 'maybe'"):
        go(scan("old.log"), control="maybe")


@pytest.mark.parametrize("earlier", [False, True])
def test_a_study_is_not_continued_under_the_other_setting_without_a_question(earlier: bool) -> None:
    old_study("old.log")
    go(scan("old.log"), trials=1)
    if earlier:
        study = load()
        body = dict(study.user_attrs[RECORD])
        body["options"] = {key: value for key, value in body["options"].items() if key != "control"}
        study.set_user_attr(RECORD, body)
    with pytest.raises(PlanError, match=r"begun with control on \(now off\)"):
        off(trials=2)
    assert len(off(trials=2, agree=yes).trials) == 2


def test_the_same_command_continues_as_if_there_had_been_no_end() -> None:
    old_study("old.log")
    whole = outcome(off(trials=4, name="whole"))
    off(trials=2)
    assert outcome(off(trials=4)) == whole


def test_several_objectives_and_two_rates_are_fixed_together() -> None:
    rates = {"lr": RATE, "head_lr": RATE}
    old = old_study("old.log", rates=rates, directions=("minimize", "maximize"))

    def two(trial: Any) -> tuple[float, float]:
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        head = trial.suggest_float("head_lr", 1e-5, 1.0, log=True)
        net = make(trial)
        body, last = list(net.parameters())[:2], list(net.parameters())[2:]
        optimizer = torch.optim.Adam([{"params": body}, {"params": last, "lr": head}], lr=lr)
        return train(optimizer, net), lr / head

    study = off(two, trials=1)
    fixed = scan("old.log").placeholders
    assert fixed in [{name: trial.params[name] for name in rates} for trial in old.best_trials]
    assert study.trials[0].values[1] == fixed["lr"] / fixed["head_lr"]
    assert RunSummary.of(study, "new.log").to_json()["control"] == "off"


def test_a_choice_of_a_list_arrives_as_the_objective_wrote_it() -> None:
    rates = {"lr": CategoricalDistribution(["1e-2", "1e-1"])}
    old = old_study("old.log", rates=rates)

    def written(trial: Any) -> float:
        net = make(trial)
        text = trial.suggest_categorical("lr", ["1e-2", "1e-1"])
        assert text == old.best_params["lr"]
        return train(torch.optim.SGD(net.parameters(), lr=float(text)), net)

    assert off(written, trials=1).trials[0].state == TrialState.COMPLETE


def test_everything_that_is_said_of_it_says_so() -> None:
    old = old_study("old.log", values=(3.0, 2.0, 1e9), directions=("maximize",))
    study = off(trials=2)
    words = f"rate fixed at the old best: lr={old.best_params['lr']!s:.20}; nothing was controlled"
    assert Provenance.of(study).fixed_rates == words
    assert Provenance.of(study).options["control"] == "off"
    assert words in RunSummary.of(study, "new.log").text(width=200)
    report = savings(old, study)
    assert f"With control off: {words}." in report.text(width=200)
    assert "controlled()" not in report.text(width=200)
    assert report.to_json()["shrunk"]["control"] == "off"
    assert report.to_json()["baseline"]["control"] is None


def test_without_a_complete_old_trial_the_middle_of_the_range_is_not_called_the_best() -> None:
    old_study("old.log", values=(TrialState.FAIL, TrialState.FAIL))
    words = Provenance.of(off(trials=1)).fixed_rates
    assert words is not None
    assert words.startswith("rate fixed in the middle of the range: lr=0.003")


def test_the_best_trial_is_trained_again_at_the_rate_that_it_had() -> None:
    old = old_study("old.log")
    study = off(trials=2)
    again = fixed_trial(study)
    assert again.suggest_float("lr", 1e-5, 1.0, log=True) == old.best_params["lr"]
    seed_everything(study.best_trial.number)
    assert objective(fixed_trial(study)) == study.best_value


def test_a_pruner_is_heard_from_the_first_report_on() -> None:
    old_study("old.log")

    def reporting(trial: Any) -> float:
        net = make(trial)
        optimizer = torch.optim.SGD(net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
        for step in range(4):
            trial.report(train(optimizer, net, 1) + trial.number, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(trial.number)

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    study = off(reporting, trials=5, pruner=pruner)
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(len(trial.intermediate_values) == 1 for trial in pruned)
    assert Provenance.of(study).pruner_because == "Pruner: MedianPruner, as given."
