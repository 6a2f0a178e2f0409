"""Which steps are probed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from galatune.controller.rhythm import Rhythm


def probed(rhythm: Rhythm, steps: int, began: tuple[int, ...] = (0,)) -> list[int]:
    return [step for step in range(steps) if rhythm.due(step, began)]


def test_without_thinning_the_interval_stays() -> None:
    assert probed(Rhythm(3, 10, 0.0), 60) == [1, 2, 3, 10, 20, 30, 40, 50]
    assert len(probed(Rhythm(0, 1, 0.0), 1000)) == 999


def test_the_interval_grows_to_the_share_of_the_steps_taken() -> None:
    steps = probed(Rhythm(0, 10, 0.05), 20_000)
    assert steps[:20] == list(range(10, 201, 10))
    for before, after in pairwise(steps):
        assert after - before == pytest.approx(max(10, 0.05 * before), rel=0.05, abs=2)


def test_nothing_is_due_before_the_first_gradient_and_each_slot_begins_for_itself() -> None:
    rhythm = Rhythm(2, 10, 0.05)
    assert probed(rhythm, 50, ()) == []
    assert probed(rhythm, 25, (0, 13)) == [1, 2, 10, 14, 15, 20]
