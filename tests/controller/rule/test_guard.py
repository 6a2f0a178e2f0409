"""What the guard does to a rate, an observation and a run that goes wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galatune.controller.rule.estimate import (
    Observation,
)
from galatune.controller.rule.guard import Accident, Guard, RunningWindow
from galatune.errors import ControlError

few = settings(max_examples=40, deadline=None, derandomize=True)
positive = st.floats(1e-6, 1e6)


def seen(curvature: float) -> Observation:
    return Observation(1.0, curvature, curvature, 1.0)


@given(previous=positive, limited=positive, smoothing=st.floats(0.01, 0.99))
@few
def test_smoothing_is_an_average_of_logarithms(previous, limited, smoothing):
    smoothed = Guard(smoothing=smoothing).smooth(previous, limited)
    expected = smoothing * math.log(previous) + (1 - smoothing) * math.log(limited)
    assert math.log(smoothed) == pytest.approx(expected, abs=1e-9)
    assert min(previous, limited) * (1 - 1e-9) <= smoothed <= max(previous, limited) * (1 + 1e-9)
    assert Guard().smooth(previous, limited) == limited


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=40), length=st.integers(1, 9))
@few
def test_window_is_the_median_of_the_last_values(values, length):
    window, kept = RunningWindow(length, fewest=1), ()
    for value in values:
        kept = window.add(kept, value)
    last = sorted(values[-length:])
    assert window.median(kept) == (last[(len(last) - 1) // 2] + last[len(last) // 2]) / 2
    assert len(kept) <= length
    assert all(isinstance(value, (int, float)) for value in kept)


@given(distance=st.floats(0.0, 20), sign=st.sampled_from([-1, 1]))
@few
def test_confidence_falls_with_the_distance_from_the_median(distance, sign):
    guard, sharpness = Guard(confidence=2.0), ()
    for _ in range(5):
        sharpness, usual = guard.weigh(sharpness, seen(1.0))
        assert usual.confidence == 1.0
    _, weighed = guard.weigh(sharpness, seen(math.exp(sign * distance)))
    assert weighed.confidence == pytest.approx(min(1.0, 2.0 / distance) if distance else 1.0, rel=1e-6)
    assert weighed.alignment == 1.0


def test_without_confidence_nothing_is_remembered():
    one = seen(3.0)
    sharpness, weighed = Guard().weigh((), one)
    assert weighed is one
    assert sharpness == ()


def accidents(guard, losses):
    """What each of these losses is to the guard, one after the other."""
    found, last = [], ()
    for loss in losses:
        last, accident = guard.accident(last, True, loss)
        found.append(accident)
    return found


def test_accidents_are_told_apart():
    guard = Guard(spike=3.0)
    *usual, spike, unknown = accidents(guard, [1.0] * 5 + [2.9, 3.1, None])
    assert usual == [None] * 6
    assert spike.kind == "spike"
    assert unknown is None
    for finite, loss in ((False, 1.0), (False, None), (True, math.nan), (True, math.inf)):
        losses, accident = guard.accident((1.0,) * 5, finite, loss)
        assert accident == Accident("non-finite", "loss or gradient not finite")
        assert losses == (1.0,) * 5
    assert Guard().accident((), True, 1e9) == ((), None)


def test_losses_that_stay_high_are_no_spike_for_ever():
    found = accidents(Guard(spike=3.0), [1.0] * 15 + [10.0] * 15)
    assert found[:15] == [None] * 15
    assert found[15].kind == "spike"
    assert found[-1] is None


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_losses_that_are_not_positive_have_no_spikes(level):
    assert accidents(Guard(spike=3.0), [level] * 9 + [50.0]) == [None] * 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"growth": 0.5},
        {"shrink": math.nan},
        {"smoothing": 1.0},
        {"smoothing": -0.1},
        {"confidence": 0.0},
        {"spike": 1.0},
        {"reaction": "panic"},
        {"rollbacks": 0},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ControlError, match=next(iter(wrong))):
        Guard(**wrong)


@given(previous=positive, proposed=st.floats(-1e9, 1e9), growth=st.floats(1, 10), shrink=st.floats(1, 10))
@few
def test_guard_keeps_the_rate_within_its_limits(previous, proposed, growth, shrink):
    guard = Guard(growth, shrink)
    limited = guard.limit(previous, proposed)
    assert previous / shrink <= limited <= previous * growth
    if previous / shrink <= proposed <= previous * growth:
        assert limited == proposed
    assert 0 < guard.retreat(previous) <= previous


@given(steps=st.integers(1, 10**6), growth=st.floats(1, 10), max_growth_per_step=st.floats(1, 2))
@few
def test_growth_is_limited_per_step_and_per_probe(steps, growth, max_growth_per_step):
    guard = Guard(growth, max_growth_per_step=max_growth_per_step)
    assert guard.most_growth(steps) == pytest.approx(min(growth, max_growth_per_step ** min(steps, 1000)))
    assert guard.limit(1.0, 1e12, steps) == guard.most_growth(steps)
    assert guard.limit(1.0, 0.5, steps) == 0.5
