"""Which steps are probed."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from galatune.controller.probes.schedule import ProbeSchedule, RateStart
from galatune.errors import ControlError


def probed(schedule: ProbeSchedule, steps: int, starts: tuple[int, ...] = (0,)) -> list[int]:
    return [step for step in range(steps) if schedule.due(step, [RateStart(start) for start in starts])]


def test_without_thinning_the_interval_stays() -> None:
    assert probed(ProbeSchedule(first=3, every=10, thinning=0.0), 60) == [1, 2, 3, 10, 20, 30, 40, 50]
    assert len(probed(ProbeSchedule(first=0, every=1, thinning=0.0), 1000)) == 999


def test_the_interval_grows_to_the_share_of_the_steps_taken() -> None:
    steps = probed(ProbeSchedule(first=0, every=10, thinning=0.05), 20_000)
    assert steps[:20] == list(range(10, 201, 10))
    for before, after in pairwise(steps):
        assert after - before <= max(10, 2 * 0.05 * after)
    for start in (250, 500, 1000, 5000):
        assert len([step for step in steps if start <= step < 2 * start]) == pytest.approx(
            20 * math.log(2), abs=1.5
        )


@pytest.mark.parametrize("period", range(2, 12))
def test_probes_do_not_keep_step_with_a_period_of_the_data(period: int) -> None:
    schedule = ProbeSchedule(first=10, every=1, thinning=0.1)
    steps = [step for step in probed(schedule, 100_000) if step > 20]
    found = [sum(step % period == phase for step in steps) for phase in range(period)]
    assert max(found) < 2.5 * len(steps) / period
    assert min(found) > 0


def test_nothing_is_due_before_the_first_gradient_and_each_rate_is_counted_from_its_own() -> None:
    schedule = ProbeSchedule(first=2, every=10, thinning=0.05)
    assert probed(schedule, 50, ()) == []
    assert probed(schedule, 25, (0, 13)) == [1, 2, 10, 14, 15, 20, 23]


@pytest.mark.parametrize(("thinning", "longer"), [(0.05, range(6, 18)), (0.0, [6, 7, 8])])
def test_rate_that_is_far_below_has_four_times_the_first_probes_if_probes_thin_out(thinning, longer):
    schedule = ProbeSchedule(first=3, every=10, thinning=thinning)
    found = [step for step in range(20) if schedule.due(step, [RateStart(0), RateStart(5, far_below=True)])]
    assert found == sorted({1, 2, 3, *longer, 10, 15})


@pytest.mark.parametrize(
    "schedule",
    [
        ProbeSchedule(),
        ProbeSchedule(every=24, first=4, thinning=0.24),
        ProbeSchedule(every=7, first=3, thinning=0.0),
        ProbeSchedule(every=1, first=0, thinning=0.5),
    ],
)
def test_next_due_is_the_first_due_step_from_there_on(schedule):
    starts = [RateStart(3), RateStart(20, far_below=True)]
    for step in [*range(60), *range(990, 1010), 12_345]:
        expected = next(later for later in range(step, 50_000) if schedule.due(later, starts))
        assert schedule.next_due(step, starts) == expected


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"every": 0}, "every must be at least 1"),
        ({"first": -1}, "first at least 0"),
        ({"thinning": -0.1}, "thinning is a share"),
        ({"thinning": 1.0}, "thinning is a share"),
        ({"thinning": math.nan}, "thinning is a share"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(wrong, complaint) -> None:
    with pytest.raises(ControlError, match=complaint) as error:
        ProbeSchedule(**wrong)
    assert "\n" not in str(error.value)
