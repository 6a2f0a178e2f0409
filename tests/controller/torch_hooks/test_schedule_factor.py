"""Schedule factors, and the curve of applied rates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD

from galatune.controller.groups.controlled_groups import ControlledGroups
from galatune.controller.options import Options
from galatune.controller.torch_hooks.lr_schedule import RateCurve

few = settings(max_examples=40, deadline=None, derandomize=True)
positive = st.floats(1e-6, 1e6)


def started(optimizer):
    groups = ControlledGroups(optimizer, Options(), lambda kind, reason: None)
    groups.initialize(optimizer)
    return groups


@given(rates=st.lists(st.one_of(st.just(0.0), positive), min_size=1, max_size=20))
@few
def test_schedule_factor_lies_between_zero_and_one(rates):
    optimizer = SGD([torch.nn.Parameter(torch.ones(1))], lr=rates[0])
    groups = started(optimizer)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        (factor,) = groups.factors(optimizer)
        peak = groups.states[0].group.peak
        assert 0 <= factor <= 1
        assert (factor == 0) == (rate == 0 and peak > 0)
        # The first fall has to be looked at: the schedule decays.
        assert groups.keep_rates(optimizer) == (rate >= peak)
        groups.restore()


@pytest.mark.parametrize("base", [1e-6, 3e-4, 0.1, 10.0])
def test_schedule_factor_of_a_cosine_does_not_depend_on_the_base_rate(base):
    def factors(base):
        optimizer = SGD([torch.nn.Parameter(torch.ones(1))], lr=base)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
        optimizer.step()
        groups, found = started(optimizer), []
        for _ in range(50):
            found += groups.factors(optimizer)
            schedule.step()
        return found

    assert factors(base) == factors(1.0)


@given(count=st.integers(1, 3000), capacity=st.integers(2, 40))
@few
def test_rate_curve_is_bounded_and_ends_with_the_last_step(count, capacity):
    curve = RateCurve(capacity)
    assert curve.points() == []
    for step in range(1, count + 1):
        curve.add(step, float(step))
    points = curve.points()
    assert len(points) <= capacity + 1
    assert points[0] == (1, 1.0)
    assert points[-1] == (count, float(count))
    assert points == sorted(points)
