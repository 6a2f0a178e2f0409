"""Which steps are probed."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from galatune.controller.probes.schedule import Begun, Rhythm


def probed(rhythm: Rhythm, steps: int, began: tuple[int, ...] = (0,)) -> list[int]:
    return [step for step in range(steps) if rhythm.due(step, [Begun(start) for start in began])]


def test_without_thinning_the_interval_stays() -> None:
    assert probed(Rhythm(3, 10, 0.0), 60) == [1, 2, 3, 10, 20, 30, 40, 50]
    assert len(probed(Rhythm(0, 1, 0.0), 1000)) == 999


def test_the_interval_grows_to_the_share_of_the_steps_taken() -> None:
    steps = probed(Rhythm(0, 10, 0.05), 20_000)
    assert steps[:20] == list(range(10, 201, 10))
    for before, after in pairwise(steps):
        assert after - before <= max(10, 2 * 0.05 * after)
    for start in (250, 500, 1000, 5000):
        assert len([step for step in steps if start <= step < 2 * start]) == pytest.approx(
            20 * math.log(2), abs=1.5
        )


@pytest.mark.parametrize("period", range(2, 12))
def test_probes_do_not_keep_step_with_a_period_of_the_data(period: int) -> None:
    steps = [step for step in probed(Rhythm(10, 1, 0.1), 100_000) if step > 20]
    found = [sum(step % period == phase for step in steps) for phase in range(period)]
    assert max(found) < 2.5 * len(steps) / period
    assert min(found) > 0


def test_nothing_is_due_before_the_first_gradient_and_each_slot_begins_for_itself() -> None:
    rhythm = Rhythm(2, 10, 0.05)
    assert probed(rhythm, 50, ()) == []
    assert probed(rhythm, 25, (0, 13)) == [1, 2, 10, 14, 15, 20, 23]


@pytest.mark.parametrize(("thinning", "longer"), [(0.05, range(6, 18)), (0.0, [6, 7, 8])])
def test_where_probes_thin_out_a_rate_that_is_far_below_has_four_times_the_first_ones(thinning, longer):
    rhythm = Rhythm(3, 10, thinning)
    found = [step for step in range(20) if rhythm.due(step, [Begun(0), Begun(5, far_below=True)])]
    assert found == sorted({1, 2, 3, *longer, 10, 15})
