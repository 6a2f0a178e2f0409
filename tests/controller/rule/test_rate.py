"""The rule as a function of numbers: what a pair that shows nothing does to the rate."""

from __future__ import annotations

import math

import pytest

from galatune.controller.rule.estimate import InnerProducts
from galatune.controller.rule.guard import Guard
from galatune.controller.rule.rate import EstimateSettings, ProbedStep, RateState, Rule

ROUNDED_AWAY = InnerProducts(1.0, 1.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("growth", "factor"), [(2.0, 2.0), (1.5, 1.5), (math.inf, 2.0)])
def test_a_step_that_rounds_away_grows_by_a_finite_factor(growth: float, factor: float) -> None:
    rule = Rule(guard=Guard(growth=growth))
    state = RateState(rate=1e-8, first_rate=1e-8, learner=rule.learner.init())
    outcome = rule.next_rate(state, ProbedStep(ROUNDED_AWAY, played_rate=1e-8), EstimateSettings(1.0))
    assert outcome.observation is None
    assert outcome.state.rate == pytest.approx(factor * 1e-8)


def test_no_gradient_says_nothing_at_all() -> None:
    rule = Rule()
    state = RateState(rate=0.1, first_rate=1e-8, learner=rule.learner.init())
    nothing = InnerProducts(0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert rule.next_rate(state, ProbedStep(nothing, played_rate=0.1), EstimateSettings(1.0)).state == state
