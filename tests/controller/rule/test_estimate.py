"""The estimates of one gradient pair, and the default learner that sums them up."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galatune.controller.gradient_pair import PairEntry, inner_products
from galatune.controller.rule.estimate import (
    AlignmentMean,
    InnerProducts,
    Observation,
    alignment_mean,
    direction_alignment,
    norm_power,
    same_minibatch,
)
from galatune.controller.rule.learner import DiscountedFTRL

few = settings(max_examples=40, deadline=None, derandomize=True)
positive = st.floats(1e-6, 1e6)
observations = st.lists(
    st.builds(
        Observation,
        alignment=st.floats(-1.5, 1.5),
        lipschitz=positive,
        curvature=st.floats(-1e3, 1e3),
        gradient_norm_squared=positive,
    ),
    min_size=1,
    max_size=30,
)


def entries(seed, scale=1.0, metric=True):
    draw = np.random.default_rng(seed)
    g0, g1, d, p = draw.standard_normal((4, 11))
    p = np.exp(p)
    made = [scale * g0, scale * g1, d]
    parts = [
        PairEntry(
            *(torch.tensor(a[where]) for a in made),
            metric=torch.tensor(p[where] / scale) if metric else None,
            ratio=ratio,
        )
        for where, ratio in ((slice(0, 6), 1.0), (slice(6, None), 0.1))
    ]
    full = (np.concatenate([p[:6], 0.1 * p[6:]]) / scale) if metric else np.r_[np.ones(6), np.full(5, 0.1)]
    return parts, (scale * g0, scale * g1, d, full)


@pytest.mark.parametrize("metric", [True, False])
def test_inner_products_are_those_of_the_equations(metric):
    parts, (g0, g1, d, p) = entries(0, metric=metric)
    expected = InnerProducts(
        (g1 * g0 * p).sum(),
        (g0 * g0 * p).sum(),
        ((g1 - g0) ** 2 * p).sum(),
        ((g1 - g0) * d).sum(),
        (d * d / p).sum(),
        (g0 * d).sum(),
    )
    products = inner_products(parts)
    for name in InnerProducts.__dataclass_fields__:
        assert getattr(products, name) == pytest.approx(getattr(expected, name), rel=1e-12)


@pytest.mark.parametrize("metric", [True, False])
def test_inner_products_do_not_depend_on_how_tensors_are_cut(metric):
    whole, _ = entries(1, metric=metric)
    cut = [
        PairEntry(
            *(getattr(one, name)[i : i + 1] for name in ("before", "after", "step")),
            metric=one.metric[i : i + 1] if metric else None,
            ratio=one.ratio,
        )
        for one in whole
        for i in range(len(one.before))
    ]
    for order in (cut, cut[::2] + cut[1::2]):
        assert astuple(inner_products(order)) == pytest.approx(astuple(inner_products(whole)), rel=1e-12)


def test_estimates_of_a_quadratic_are_its_curvature():
    curvature, start = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([1.0, 1.0, 1.0]).double()
    g0 = curvature * start
    d = -0.1 * torch.tensor([0.0, 1.0, 0.0]).double()
    seen = same_minibatch(inner_products([PairEntry(g0, g0 + curvature * d, d)]))
    assert seen.lipschitz == pytest.approx(4.0)
    assert seen.curvature == pytest.approx(4.0)
    assert seen.effective_curvature == pytest.approx(4.0)


def test_negative_curvature_counts_for_a_tenth_of_the_lipschitz_constant():
    seen = Observation(1.0, lipschitz=3.0, curvature=-5.0, gradient_norm_squared=1.0)
    assert seen.effective_curvature == pytest.approx(0.3)


@given(seed=st.integers(0, 99), exponent=st.integers(-40, 40))
@few
def test_alignment_does_not_depend_on_the_scale_of_the_gradients(seed, exponent):
    plain = same_minibatch(inner_products(entries(seed, metric=False)[0]))
    scaled = same_minibatch(inner_products(entries(seed, 2.0**exponent, metric=False)[0]))
    assert scaled.alignment == plain.alignment
    assert scaled.lipschitz == pytest.approx(2.0**exponent * plain.lipschitz, rel=1e-12)
    assert scaled.curvature == pytest.approx(2.0**exponent * plain.curvature, rel=1e-12)


@given(seed=st.integers(0, 99), exponent=st.integers(-40, 40))
@few
def test_estimates_in_an_adaptive_metric_do_not_depend_on_the_scale_of_the_gradients(seed, exponent):
    plain = same_minibatch(inner_products(entries(seed)[0]))
    scaled = same_minibatch(inner_products(entries(seed, 2.0**exponent)[0]))
    assert scaled.alignment == pytest.approx(plain.alignment, rel=1e-12)
    assert scaled.lipschitz == pytest.approx(plain.lipschitz, rel=1e-12)
    assert scaled.curvature == pytest.approx(plain.curvature, rel=1e-12)


@given(seed=st.integers(0, 99), exponent=st.integers(-30, 30))
@few
def test_direction_alignment_does_not_depend_on_the_rate_that_made_the_step(seed, exponent):
    draw = np.random.default_rng(seed)
    g0, g1, u = (torch.tensor(a) for a in draw.standard_normal((3, 5)))

    def alignment(rate):
        return direction_alignment(inner_products([PairEntry(g0, g1, -rate * u)]), rate).alignment

    assert alignment(2.0**exponent) == pytest.approx(alignment(1.0), rel=1e-12)
    assert alignment(1.0) == pytest.approx(float(g0 @ u / (u @ u)), rel=1e-12)


@pytest.mark.parametrize("nothing", ["before_before", "step_step", "change_change"])
def test_nothing_is_seen_if_a_norm_is_zero(nothing):
    products = dict.fromkeys(InnerProducts.__dataclass_fields__, 1.0) | {nothing: 0.0}
    assert same_minibatch(InnerProducts(**products)) is None
    assert direction_alignment(InnerProducts(**products), 1.0) is None
    assert direction_alignment(InnerProducts(1, 1, 1, 1, 1, 1), 0.0) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_overflow_is_noticed(bad):
    assert InnerProducts(1, 1, 1, 1, 1, 1).finite
    assert not InnerProducts(1, 1, bad, 1, 1, 1).finite


def test_squares_of_tiny_gradient_changes_do_not_vanish():
    tiny = torch.full((3,), 1e-30)
    products = inner_products([PairEntry(tiny, 2 * tiny, torch.full((3,), 1e-25))])
    assert products.change_change == pytest.approx(3e-60)


def chosen(learner, seen):
    state = learner.init()
    for observation in seen:
        state = learner.update(state, observation)
    return learner.rate(state)


def scaled(observation, a=1.0, c=1.0, g=1.0):
    return Observation(
        a * observation.alignment,
        c * observation.lipschitz,
        c * observation.curvature,
        g * observation.gradient_norm_squared,
    )


@given(seen=observations, exponent=st.integers(-20, 20))
@few
def test_learner_does_not_depend_on_the_size_of_the_gradients(seen, exponent):
    learner = DiscountedFTRL()
    everything = [scaled(one, g=4.0**exponent) for one in seen]
    assert chosen(learner, everything) == pytest.approx(chosen(learner, seen), rel=1e-9, abs=1e-300)


@given(seen=observations, exponent=st.integers(-20, 20))
@few
def test_learner_is_inverse_to_the_curvature(seen, exponent):
    learner = DiscountedFTRL()
    sharper = [scaled(one, c=2.0**exponent) for one in seen]
    assert chosen(learner, sharper) * 2.0**exponent == pytest.approx(
        chosen(learner, seen), rel=1e-9, abs=1e-300
    )


@given(seen=observations)
@few
def test_learner_is_the_closed_form(seen):
    fast = slow = fast_cost = slow_cost = 0.0
    for one in seen:
        w = one.gradient_norm_squared**0.5
        c = math.sqrt(one.lipschitz * max(one.curvature, 0.01 * one.lipschitz))
        fast, fast_cost = 0.9 * fast + w * one.alignment, 0.9 * fast_cost + w * c
        slow, slow_cost = slow + w * one.alignment, slow_cost + w * c
    expected = min(fast / fast_cost, 4 * slow / slow_cost)
    assert chosen(DiscountedFTRL(), seen) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_learner_leaves_the_old_state_as_it_was():
    learner, seen = DiscountedFTRL(), Observation(1.0, 2.0, 2.0, 1.0)
    first = learner.update(learner.init(), seen)
    kept = replace(first)
    learner.update(first, seen)
    assert first == kept
    assert learner.rate(learner.init()) is None


def test_slow_bound_holds_quiet_rounds():
    learner = DiscountedFTRL()
    loud = [Observation(1.0, 10.0, 10.0, 1.0)] * 50
    quiet = [Observation(1.0, 1e-4, 1e-4, 1e-6)] * 150
    free = DiscountedFTRL(slow_bound=math.inf)
    assert chosen(learner, loud + quiet) == pytest.approx(4 * 0.1, rel=0.02)
    assert chosen(free, loud + quiet) > 100


def after(norms):
    """The sums of the alignment's running mean after gradients of these norms."""
    mean = AlignmentMean()
    for norm in norms:
        mean, _ = alignment_mean(mean, Observation(1.0, 1.0, 1.0, norm**2))
    return mean


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_gradients_that_fade_are_seen_at_every_scale(size):
    steady, faded = [3.0 * size] * 40, [0.03 * size] * 40
    recent, usual = 0.03 + 2.97 * 0.9**40, (18 * 3.0 + 40 * 0.03) / 58  # 22 probes are not counted
    assert after([*steady, *faded]).norm_ratio == pytest.approx(recent / usual, rel=0.01)
    assert after(steady).norm_ratio == pytest.approx(1.0)
    assert after([*faded, *steady]).norm_ratio == 1.0


def test_large_gradients_of_the_first_steps_do_not_count_as_usual():
    assert after([1000.0] * 8 + [1.0] * 60).norm_ratio > 0.8
    assert after([1.0] * 22).norm_ratio == after([]).norm_ratio == 1.0


def test_fading_counts_in_long_trainings_alone():
    powers = [norm_power(steps) for steps in range(4000)]
    assert powers[:601] == [0.0] * 601
    assert powers == sorted(powers)
    assert powers[1900] == powers[-1] == 2.0
