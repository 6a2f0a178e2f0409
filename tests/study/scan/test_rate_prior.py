"""What a scan learns of good rates, and that it is what the old study says."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.rate_prior import RatePrior
from galatune.study.scan.scan import plan_study

BATCH = CategoricalDistribution([16, 64, 256])
KIND = CategoricalDistribution(["SGD", "Adam"])


def study_of(
    best: Callable[[dict[str, Any]], float],
    trials: int = 60,
    *,
    noise: float = 0.3,
    direction: str = "minimize",
    rate: optuna.distributions.BaseDistribution | None = None,
    value_of: Callable[[float], Any] = float,
) -> optuna.Study:
    """A study whose loss is a parabola around ``ln best(params)``, with noise."""
    draw = random.Random(0)
    rate = rate or FloatDistribution(1e-6, 1.0, log=True)
    study = optuna.create_study(direction=direction)
    for _ in range(trials):
        params: dict[str, Any] = {"batch_size": draw.choice(BATCH.choices), "kind": draw.choice(KIND.choices)}
        at = math.exp(draw.uniform(math.log(1e-6), 0.0))
        loss = 0.1 * (math.log(at / best(params))) ** 2 + noise * draw.random()
        study.add_trial(
            create_trial(
                value=loss if direction == "minimize" else -loss,
                params={**params, "lr": value_of(at)},
                distributions={"batch_size": BATCH, "kind": KIND, "lr": rate},
            )
        )
    return study


def prior_of(study: optuna.Study) -> RatePrior:
    (found,) = plan_study(study, "old.db").prior
    return found


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("true", [1e-4, 1e-2])
def test_the_level_is_where_good_trials_are(true: float, direction: str) -> None:
    found = prior_of(study_of(lambda _: true, direction=direction))
    assert abs(math.log(found.rate / true)) < 0.7
    assert 0.4 <= found.spread < 0.8


def test_it_follows_what_the_rate_depends_on() -> None:
    def best(params: dict[str, Any]) -> float:
        return 1e-3 * (20.0 if params["kind"] == "SGD" else 1.0)

    found = prior_of(study_of(best, trials=150, noise=0.1))
    adam, _ = found.at({"batch_size": 64, "kind": "Adam"})
    sgd, _ = found.at({"batch_size": 64, "kind": "SGD"})
    assert 5 < sgd / adam < 40


def test_fewer_trials_are_less_sure() -> None:
    spreads = [prior_of(study_of(lambda _: 1e-3, trials=count)).spread for count in (5, 20, 200)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] > 1.1 * spreads[-1]


def test_a_configuration_far_from_the_old_ones_is_less_sure() -> None:
    found = prior_of(study_of(lambda _: 1e-3))
    _, near = found.at({"batch_size": 64, "kind": "Adam"})
    _, far = found.at({"batch_size": 65536, "kind": "Adam"})
    assert far > 1.1 * near


def test_what_a_configuration_does_not_have_or_nobody_knew_is_no_error() -> None:
    found = prior_of(study_of(lambda _: 1e-3))
    for params in ({}, {"batch_size": None}, {"kind": "Lion"}, {"batch_size": "many"}, {"new": 3}):
        rate, spread = found.at(params)
        assert math.isfinite(rate)
        assert math.isfinite(spread)


def test_exponents_are_rates() -> None:
    study = study_of(lambda _: 1e-3, rate=FloatDistribution(-6.0, 0.0), value_of=math.log10)
    study_with_name = optuna.create_study()
    for trial in study.trials:
        params = {("log10_lr" if name == "lr" else name): value for name, value in trial.params.items()}
        spaces = {("log10_lr" if name == "lr" else name): one for name, one in trial.distributions.items()}
        study_with_name.add_trial(create_trial(value=trial.value, params=params, distributions=spaces))
    found = prior_of(study_with_name)
    assert found.name == "log10_lr"
    assert abs(math.log(found.rate / 1e-3)) < 0.7


def test_a_plan_keeps_it_through_json() -> None:
    plan = plan_study(study_of(lambda _: 1e-3), "old.db")
    again = ShrinkPlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.prior == plan.prior
    assert again.prior[0].at({"kind": "SGD"}) == plan.prior[0].at({"kind": "SGD"})


def test_a_plan_written_before_priors_existed_has_none() -> None:
    body = plan_study(study_of(lambda _: 1e-3), "old.db").to_json()
    del body["prior"]
    assert ShrinkPlan.from_json(body).prior == ()


def test_scan_says_it_in_a_sentence() -> None:
    text = " ".join(plan_study(study_of(lambda _: 1e-3), "old.db").text().split())
    assert "Good values of lr: about" in text
    assert "(60 trials). Control starts there; --no-prior: from nothing." in text


def test_too_few_trials_say_nothing() -> None:
    assert plan_study(study_of(lambda _: 1e-3, trials=2), "old.db").prior == ()
    empty = optuna.create_study()
    empty.add_trial(
        create_trial(state=TrialState.FAIL, params={"lr": 0.1}, distributions={"lr": FloatDistribution(0, 1)})
    )
    assert plan_study(empty, "old.db").prior == ()


def test_equal_values_infinite_ones_and_constant_parameters_do_no_harm() -> None:
    study = optuna.create_study()
    spaces = {"lr": FloatDistribution(1e-5, 1e-1, log=True), "depth": IntDistribution(2, 2)}
    for value, rate in [(1.0, 1e-3), (1.0, 1e-3), (1.0, 2e-3), (math.inf, 1e-1), (math.inf, 1e-5)]:
        study.add_trial(create_trial(value=value, params={"lr": rate, "depth": 2}, distributions=spaces))
    found = prior_of(study)
    assert found.trials == 3
    assert 1e-3 < found.rate < 2e-3


def test_several_objectives_take_the_front() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    space = {"lr": FloatDistribution(1e-5, 1e-1, log=True)}
    for i in range(5):
        study.add_trial(create_trial(values=[i, i], params={"lr": 1e-3}, distributions=space))
        study.add_trial(create_trial(values=[i + 10, i - 10], params={"lr": 1e-1}, distributions=space))
    assert prior_of(study).rate == pytest.approx(1e-3, rel=0.2)
