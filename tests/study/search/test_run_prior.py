"""`run` with what the old study knows of good rates, and without."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import FloatDistribution
from tiny_search import go, make, objective, old_study, recorded, train

from galatune.controller.rule.prior import Prior
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.record import TrialRecord
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan

pytestmark = pytest.mark.usefixtures("folder")

VALUES = (3.0, 2.0, 1.0, 1.5, 1.2)


def known(record: TrialRecord) -> list[tuple[float, float] | None]:
    return [one.prior for one in record.optimizers]


def test_each_trial_records_the_prior_of_its_configuration() -> None:
    old_study("old.log", VALUES)
    plan = scan("old.log")
    for trial in go(plan, trials=3).trials:
        assert known(recorded(trial)) == [pytest.approx(plan.prior[0].at(trial.params))]


def test_no_prior_starts_from_nothing() -> None:
    old_study("old.log", VALUES)
    with_it, without = (go(scan("old.log"), trials=2, prior=p, name=f"p{p}") for p in (True, False))
    assert [known(recorded(trial)) for trial in without.trials] == [[None], [None]]
    begun, cold = (recorded(study.trials[0]) for study in (with_it, without))
    prior = known(begun)[0]
    assert prior is not None
    assert begun.learning_rate[0].rate == pytest.approx(Prior(*prior).first_rate)
    assert cold.learning_rate[0].rate < begun.learning_rate[0].rate / 3


def test_the_same_run_is_repeated_bit_for_bit() -> None:
    old_study("old.log", VALUES)
    values = [[t.value for t in go(scan("old.log"), trials=3, name=f"n{i}").trials] for i in range(2)]
    assert values[0] == values[1]


def test_a_run_goes_on_with_the_prior_that_it_began_with() -> None:
    old = old_study("old.log", VALUES)
    whole = go(scan("old.log"), trials=4, name="whole")
    go(scan("old.log"), trials=2, name="parts")
    space = {"lr": FloatDistribution(1e-5, 1.0, log=True)}
    for _ in range(5):
        old.add_trial(optuna.trial.create_trial(value=1.0, params={"lr": 1e-4}, distributions=space))
    parts = go(scan("old.log"), trials=4, name="parts")
    assert [trial.value for trial in parts.trials] == [trial.value for trial in whole.trials]
    kept = ShrinkPlan.from_json(Provenance.of(parts).plan)
    assert kept.prior == ShrinkPlan.from_json(Provenance.of(whole).plan).prior


def test_what_the_code_makes_of_the_fixed_rate_it_makes_of_a_good_one() -> None:
    old_study("old.log", VALUES)
    plan = scan("old.log")

    def scaled(trial: optuna.trial.Trial) -> float:
        net = make(trial)
        trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        return train(torch.optim.AdamW(net.parameters(), lr=0.25 * lr), net)

    (trial,) = go(plan, scaled, trials=1).trials
    rate, spread = plan.prior[0].at(trial.params)
    assert known(recorded(trial)) == [pytest.approx((0.25 * rate, spread))]


def test_two_dropped_rates_have_a_prior_each() -> None:
    spaces: dict[str, Any] = {
        "lr_body": FloatDistribution(1e-5, 1e-3, log=True),
        "lr_head": FloatDistribution(1e-2, 1.0, log=True),
    }
    old_study("old.log", VALUES, rates=spaces)
    plan = scan("old.log")

    def two(trial: optuna.trial.Trial) -> float:
        net = make(trial)
        trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        low = trial.suggest_float("lr_body", 1e-5, 1e-3, log=True)
        high = trial.suggest_float("lr_head", 1e-2, 1.0, log=True)
        head = torch.optim.SGD(net[-1].parameters(), lr=high)
        body = torch.optim.AdamW(net[0].parameters(), lr=low)
        x = torch.linspace(-1, 1, 128).reshape(32, 4)
        for _ in range(8):
            net.zero_grad()
            loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            body.step()
            head.step()
        return float(loss.item())

    (trial,) = go(plan, two, trials=1).trials
    wanted = {one.name: one.at(trial.params)[0] for one in plan.prior}
    found = {one.name: one.prior for one in recorded(trial).optimizers}
    assert found["AdamW"] is not None
    assert found["SGD"] is not None
    assert found["AdamW"][0] == pytest.approx(wanted["lr_body"])
    assert found["SGD"][0] == pytest.approx(wanted["lr_head"])


def test_a_prior_takes_the_rate_there_in_a_training_of_twelve_steps() -> None:
    old = old_study("old.log", VALUES)
    (trial,) = go(scan("old.log"), objective, trials=1).trials
    record = recorded(trial)
    prior = known(record)[0]
    assert prior is not None
    assert old.best_params
    assert abs(math.log(record.learning_rate[-1].rate / prior[0])) < 2.0
