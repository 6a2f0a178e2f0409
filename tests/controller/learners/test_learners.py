"""Every learner beside its naive twin, round by round; and what does not depend on units."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from galatune.controller.learners import (
    FTRL,
    PUBLISHED,
    CoinBetting,
    DiscountedFTRL,
    Learner,
    LogScale,
    OnlineGradientDescent,
    OptimisticFTRL,
    Proximal,
    Quadratic,
    Surrogate,
    Unregularized,
)
from galatune.controller.learners.interval import Interval
from galatune.controller.learners.surrogate import RoundLoss
from galatune.controller.rule.estimate import Observation
from galatune.controller.rule.rate import RateState
from galatune.controller.state import ControlState
from galatune.errors import ControlError

few = settings(max_examples=40, deadline=None, derandomize=True)
sizes = st.floats(1e-4, 1e4)
observations = st.lists(
    st.builds(
        Observation,
        alignment=st.floats(-1.5, 1.5).map(lambda a: round(a, 6)),
        lipschitz=sizes,
        curvature=st.floats(-1e3, 1e3),
        gradient_norm_squared=sizes,
    ),
    min_size=1,
    max_size=25,
)
Rounds = list[Observation]


def weighed(one: Observation, power: float) -> float:
    return one.gradient_norm_squared**power


def effective(one: Observation) -> float:
    return math.sqrt(one.lipschitz * max(one.curvature, 0.01 * one.lipschitz))


def published_twin(seen: Rounds, delta: float, low: float, high: float) -> list[float]:
    """eta = sum <g1, g0> / (delta + sum L ||g0||^2), every sum anew."""
    rates = []
    for t in range(1, len(seen) + 1):
        gain = math.fsum(one.alignment * one.gradient_norm_squared for one in seen[:t])
        cost = math.fsum(one.lipschitz * one.gradient_norm_squared for one in seen[:t])
        rates.append(float(np.clip(gain / (delta + cost), low, high)))
    return rates


def discounted_twin(seen: Rounds) -> list[float]:
    rates = []
    for t in range(1, len(seen) + 1):
        w = np.array([weighed(one, 0.5) for one in seen[:t]])
        a = np.array([one.alignment for one in seen[:t]])
        c = np.array([effective(one) for one in seen[:t]])
        fade = 0.9 ** np.arange(t)[::-1]
        rates.append(min((fade * w * a).sum() / (fade * w * c).sum(), 4 * (w * a).sum() / (w * c).sum()))
    return rates


def optimistic_twin(seen: Rounds, delta: float, low: float, high: float) -> list[float]:
    """The published leader of a list in which the last round stands twice."""
    return [published_twin([*seen[:t], seen[t - 1]], delta, low, high)[-1] for t in range(1, len(seen) + 1)]


def descent_twin(seen: Rounds, discount: float, low: float, high: float) -> list[float]:
    rate, rates = 0.0, []
    for t, one in enumerate(seen, start=1):
        costs = [
            discount ** (t - s) * weighed(past, 0.5) * effective(past) for s, past in enumerate(seen[:t], 1)
        ]
        w = weighed(one, 0.5)
        slope = -w * one.alignment + w * effective(one) * rate
        rate = float(np.clip(rate - slope / math.fsum(costs), low, high))
        rates.append(rate)
    return rates


def betting_twin(seen: Rounds, low: float, high: float) -> list[float]:
    """Wealth is what was there at first and every coin's win since."""
    first = abs(seen[0].alignment) / effective(seen[0])
    bets, coins, slopes, rates = [0.0], [], [], []
    for one in seen:
        w, played = weighed(one, 0.5), float(np.clip(bets[-1], low, high))
        slope = w * (effective(one) * played - one.alignment)
        slopes.append(abs(slope))
        pushes_out = (bets[-1] > high and slope < 0) or (bets[-1] < low and slope > 0)
        coins.append(0.0 if pushes_out or not max(slopes) else -slope / max(slopes))
        if first == 0:
            first = abs(one.alignment) / effective(one)  # nothing to bet with yet
        wealth = first + math.fsum(c * x for c, x in zip(coins, bets, strict=True))
        bets.append(math.fsum(coins) / (len(coins) + 1) * wealth)
        rates.append(float(np.clip(bets[-1], low, high)))
    return rates


LEARNERS: dict[str, tuple[Learner, Callable[[Rounds], list[float]]]] = {
    "discounted": (DiscountedFTRL(), discounted_twin),
    "published": (
        FTRL(min_rate=1e-3, max_rate=2.0, regularizer=Quadratic(0.5)),
        lambda seen: published_twin(seen, 0.5, 1e-3, 2.0),
    ),
    "optimistic": (
        OptimisticFTRL(FTRL(min_rate=1e-3, max_rate=2.0, regularizer=Quadratic(0.5))),
        lambda seen: optimistic_twin(seen, 0.5, 1e-3, 2.0),
    ),
    "descent": (
        OnlineGradientDescent(min_rate=1e-3, max_rate=2.0),
        lambda seen: descent_twin(seen, 1.0, 1e-3, 2.0),
    ),
    "descent that forgets": (
        OnlineGradientDescent(discount=0.8),
        lambda seen: descent_twin(seen, 0.8, 0.0, math.inf),
    ),
    "betting": (CoinBetting(), lambda seen: betting_twin(seen, 0.0, math.inf)),
    "betting on an interval": (
        CoinBetting(min_rate=1e-3, max_rate=0.2),
        lambda seen: betting_twin(seen, 1e-3, 0.2),
    ),
}
UNITLESS: dict[str, Learner] = {
    "discounted": DiscountedFTRL(),
    "leader": FTRL(regularizer=Unregularized()),
    "proximal": FTRL(regularizer=Proximal(2.0)),
    "log scale": FTRL(regularizer=LogScale(2.0)),
    "optimistic": OptimisticFTRL(FTRL(regularizer=Unregularized(), surrogate=Surrogate())),
    "descent": OnlineGradientDescent(discount=0.9),
    "betting": CoinBetting(),
}
EVERY: dict[str, Learner] = {
    **{name: learner for name, (learner, _) in LEARNERS.items()},
    **{name + ", no interval": learner for name, learner in UNITLESS.items()},
    "initial rate": FTRL(initial_rate=0.1),
}


def follow(learner: Learner, seen: Rounds) -> list[float]:
    """Rates after each round; nan where there is none."""
    state, rates = learner.init(), []
    for one in seen:
        state = learner.update(state, one)
        rate = learner.rate(state)
        rates.append(math.nan if rate is None else rate)
    return rates


def scaled(one: Observation, c: float = 1.0, g: float = 1.0) -> Observation:
    return Observation(
        one.alignment, c * one.lipschitz, c * one.curvature, g * one.gradient_norm_squared, one.confidence
    )


@pytest.mark.parametrize("name", LEARNERS)
@given(seen=observations)
@few
def test_learner_is_its_naive_twin(name, seen):
    learner, twin = LEARNERS[name]
    expected = twin(seen)
    found = follow(learner, seen)
    if name.startswith("betting"):  # with nothing won or lost yet there is nothing to bet
        expected = [math.nan if math.isnan(rate) else w for rate, w in zip(found, expected, strict=True)]
        assert sum(map(math.isnan, found)) == sum(
            1 for _ in itertools.takewhile(lambda o: not o.alignment, seen)
        )
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", UNITLESS)
@given(seen=observations, exponent=st.integers(-20, 20))
@few
def test_rate_is_inverse_to_the_curvature(name, seen, exponent):
    plain = follow(UNITLESS[name], seen)
    sharper = follow(UNITLESS[name], [scaled(one, c=2.0**exponent) for one in seen])
    back = [rate * 2.0**exponent for rate in sharper]
    assert back == pytest.approx(plain, rel=1e-9, abs=1e-300, nan_ok=True)


@pytest.mark.parametrize("name", UNITLESS)
@given(seen=observations, exponent=st.integers(-20, 20))
@few
def test_rate_does_not_depend_on_the_size_of_the_gradients(name, seen, exponent):
    plain = follow(UNITLESS[name], seen)
    larger = follow(UNITLESS[name], [scaled(one, g=4.0**exponent) for one in seen])
    assert larger == pytest.approx(plain, rel=1e-9, abs=1e-300, nan_ok=True)


@pytest.mark.parametrize("name", EVERY)
def test_state_is_a_few_numbers_and_updates_leave_the_old_one(name):
    learner = EVERY[name]
    first = learner.update(learner.init(), Observation(0.5, 2.0, 1.0, 3.0))
    assert type(first) is type(learner.init())
    assert all(type(value) is float for value in dataclasses.astuple(first))
    kept = dataclasses.replace(first)
    learner.update(first, Observation(-0.5, 1.0, 1.0, 3.0))
    assert first == kept
    assert pickle.loads(pickle.dumps(learner)) == learner


@pytest.mark.parametrize("name", EVERY)
def test_before_any_round_there_is_no_rate_but_the_one_given(name):
    assert EVERY[name].rate(EVERY[name].init()) == (0.1 if name == "initial rate" else None)


@pytest.mark.parametrize("name", EVERY)
def test_state_returns_from_plain_types_to_its_own_learner_only(name):
    learner = EVERY[name]
    state = learner.update(learner.init(), Observation(0.5, 2.0, 1.0, 3.0))
    plain = ControlState(rate=RateState(rate=0.5, learner=state)).plain()
    restored = ControlState.of(plain, learner).rate
    assert (restored.rate, restored.learner) == (0.5, state)
    other = CoinBetting() if isinstance(learner, DiscountedFTRL) else DiscountedFTRL()
    assert ControlState.of(plain, other).rate.learner is None


@pytest.mark.parametrize("name", [n for n in EVERY if n != "published"])
def test_equal_rounds_are_learned(name):
    rates = follow(EVERY[name], [Observation(0.5, 4.0, 4.0, 2.0)] * 200)
    assert rates[-1] == pytest.approx(0.125, rel=0.05 if name.startswith("betting") else 0.01)


@pytest.mark.parametrize("name", EVERY)
def test_observation_without_confidence_is_no_evidence(name):
    """A round that counts for little moves the rate little."""
    seen = [Observation(1.0, 4.0, 4.0, 2.0)] * 20
    strange = Observation(1.0, 4e4, 4e4, 2.0)
    trusted = follow(EVERY[name], [*seen, strange])[-1]
    doubted = follow(EVERY[name], [*seen, Observation(1.0, 4e4, 4e4, 2.0, confidence=1e-6)])[-1]
    before = follow(EVERY[name], seen)[-1]
    assert abs(math.log(doubted / before)) < 0.2
    assert trusted < 0.8 * doubted


@given(seen=observations)
@few
def test_descent_without_an_interval_follows_the_leader(seen):
    leader = FTRL(min_rate=0.0, regularizer=Unregularized(), surrogate=Surrogate())
    positive = [
        Observation(abs(o.alignment), o.lipschitz, o.curvature, o.gradient_norm_squared) for o in seen
    ]
    assert follow(OnlineGradientDescent(), positive) == pytest.approx(follow(leader, positive), rel=1e-7)


@given(seen=observations, low=st.floats(0, 0.1), width=st.floats(0.01, 10))
@few
def test_rates_stay_in_their_interval(seen, low, width):
    bounds = {"min_rate": low, "max_rate": low + width}
    for learner in (FTRL(**bounds), OnlineGradientDescent(**bounds), CoinBetting(**bounds)):
        assert all(math.isnan(rate) or low <= rate <= low + width for rate in follow(learner, seen))


@given(gain=st.floats(-10, 10), cost=st.floats(0.1, 10), last=st.floats(0.01, 10), strength=st.floats(0, 10))
@few
def test_regularizers_minimize_what_they_say(gain, cost, last, strength):
    total = RoundLoss(gain, cost)
    penalties = {
        Quadratic(strength, center=0.3): lambda x: 0.5 * strength * (x - 0.3) ** 2,
        Proximal(strength): lambda x: 0.5 * strength * cost * (x - last) ** 2,
    }
    for regularizer, penalty in penalties.items():
        best = minimize_scalar(lambda x, more=penalty: total.at(x) + more(x)).x
        assert regularizer.minimizer(total, last) == pytest.approx(best, abs=1e-5)
    chosen = LogScale(strength).minimizer(total, last)
    if strength > 0.01:  # in the logarithm, where the minimum is neither at 0 nor beside it
        best = minimize_scalar(
            lambda z: total.at(last * math.exp(z)) + 0.5 * strength * cost * last**2 * z**2,
            bounds=(-20, 20),
            method="bounded",
            options={"xatol": 1e-10},
        ).x
        assert math.log(chosen / last) == pytest.approx(best, abs=1e-4)


@given(gain=st.floats(-10, 10), cost=st.floats(0.1, 10), last=st.floats(0.01, 10))
@few
def test_stronger_regularizers_stay_nearer_to_the_last_rate(gain, cost, last):
    total = RoundLoss(gain, cost)
    for kind in (Proximal, LogScale):
        moved = [abs(kind(strength).minimizer(total, last) - last) for strength in (0.1, 1.0, 10.0)]
        assert moved == sorted(moved, reverse=True) or max(moved) < 1e-9
    assert Unregularized().minimizer(total, None) == Proximal(3.0).minimizer(total, None) == gain / cost


def test_optimistic_learner_is_ahead_of_a_drift():
    drift = [Observation(1.0, c, c, 1.0) for c in np.geomspace(1, 100, 30)]
    plain = FTRL(regularizer=Unregularized())
    ahead, behind = follow(OptimisticFTRL(plain), drift), follow(plain, drift)
    assert all(a < b for a, b in zip(ahead[1:], behind[1:], strict=True))


def test_published_loss_is_the_published_one():
    loss = PUBLISHED(Observation(alignment=0.5, lipschitz=3.0, curvature=-1.0, gradient_norm_squared=4.0))
    assert (loss.gain, loss.cost) == (2.0, 12.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: FTRL(min_rate=2.0, max_rate=1.0),
        lambda: FTRL(min_rate=-1.0),
        lambda: FTRL(max_rate=0.0),
        lambda: FTRL(initial_rate=3.0, max_rate=1.0),
        lambda: OnlineGradientDescent(initial_rate=0.0),
        lambda: OnlineGradientDescent(discount=1.5),
        lambda: CoinBetting(initial_wealth=-1.0),
        lambda: Quadratic(-1.0),
        lambda: Proximal(math.nan),
        lambda: LogScale(41.0),
        lambda: Interval(math.nan),
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ControlError, match="however"):
        wrong()
