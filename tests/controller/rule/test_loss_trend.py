"""Which rises of the loss are accidents."""

from __future__ import annotations

import math
import random

import pytest

from galatune.controller.rule.loss_trend import LossTrend, Rise


def rises(losses):
    trend, found = LossTrend(), []
    for loss in losses:
        trend, rise = trend.add(loss)
        found.append(rise)
    return found


def falling(count=40, start=1.0, rate=0.9):
    return [start * rate**i for i in range(count)]


def test_growing_oscillation_is_an_accident_at_its_second_high_loss():
    low = falling()
    found = rises([*low, low[-1] * 1.3, 0.08, 0.5, 3.0])
    assert found[:-3] == [Rise.NONE] * (len(low) + 1)
    assert found[-3:] == [Rise.ONCE, Rise.ACCIDENT, Rise.ACCIDENT]


def test_one_hard_minibatch_is_none():
    low = falling()
    found = rises([*low, 0.9, *low[-3:], 0.7, *low[-3:]])
    assert Rise.ACCIDENT not in found
    assert found.count(Rise.ONCE) == 2


@pytest.mark.parametrize("noise", ["normal", "heavy"])
def test_noise_is_none(noise):
    draw = random.Random(3)
    tail = {"normal": lambda: abs(draw.gauss(1.0, 0.3)), "heavy": lambda: draw.paretovariate(2.5) - 0.9}[
        noise
    ]
    assert Rise.ACCIDENT not in rises([math.exp(-i / 500) * tail() for i in range(3000)])


@pytest.mark.parametrize("shift", [-5.0, 0.0, 0.3])
def test_losses_may_be_negative_or_have_an_offset(shift):
    found = rises([loss + shift for loss in [*falling(), 6.0, 20.0]])
    assert found[-1] is Rise.ACCIDENT


def test_rounding_is_none():
    assert set(rises([0.5] * 30 + [0.5 + 2e-9, 0.5 + 4e-9] * 20)) == {Rise.NONE}


def test_another_accident_of_a_row_needs_twice_the_rise():
    found = rises([*falling(), 0.5, 2.0, 2.5, 3.0, 4.5])
    assert [rise is Rise.ACCIDENT for rise in found[-4:]] == [True, False, False, True]


def test_higher_level_is_accepted_after_some_steps():
    found = rises([*falling(), *([0.5] * 30)])
    assert found.count(Rise.ACCIDENT) == 1
    assert set(found[-20:]) == {Rise.NONE}


def test_loss_that_is_not_finite_is_left_to_the_guard():
    trend, _ = LossTrend().add(1.0)
    assert trend.add(math.nan) == (trend, Rise.NONE)
