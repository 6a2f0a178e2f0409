from __future__ import annotations

import itertools

import numpy as np
import pytest
from fake_studies import fake_study

from galatune.study.ledger.match import best_so_far, goal_of, hypervolume, trials_to_reach
from galatune.study.ledger.rows import ledger


def reach(
    old: list, new: list, tolerance: float = 0.1, direction: str = "minimize", **options: object
) -> int | None:
    goal = goal_of(ledger(fake_study(old, directions=(direction,))), tolerance)
    assert goal is not None
    confirmed = bool(options)
    search = ledger(fake_study(new, directions=(direction,), **options))  # type: ignore[arg-type]
    return trials_to_reach(search, goal, confirmed=confirmed)


def test_threshold_is_the_best_and_a_part_of_the_way_to_the_median() -> None:
    goal = goal_of(ledger(fake_study([5.0, 3.0, 1.0])), 0.1)
    assert goal is not None
    assert goal.threshold == pytest.approx(1.2)
    assert goal.margin == pytest.approx(0.2)


@pytest.mark.parametrize("shift", [0.0, -3.0, -1.0, 100.0])
def test_match_does_not_depend_on_where_zero_lies(shift: float) -> None:
    old, new = np.array([5.0, 3.0, 1.0]) + shift, np.array([4.0, 1.3, 1.19, 1.0]) + shift
    assert reach(list(old), list(new)) == 3


def test_match_follows_the_direction() -> None:
    assert reach([1.0, 3.0, 5.0], [1.0, 4.7, 4.9], direction="maximize") == 3
    assert reach([1.0, 3.0, 5.0], [1.0, 4.7, 4.6], direction="maximize") is None


def test_pruned_and_failed_trials_never_match_and_always_count() -> None:
    assert reach([5.0, 3.0, 1.0], ["failed", "pruned", "pruned", 1.0]) == 4
    assert reach([5.0, 3.0, 1.0], ["failed", "pruned"]) is None


def test_running_trials_do_not_count() -> None:
    assert reach([5.0, 3.0, 1.0], ["running", 4.0, "running", 1.0]) == 2


def test_an_infinite_value_is_not_a_match() -> None:
    assert reach([5.0, 3.0, 1.0], [float("-inf"), 1.0]) == 2


def test_the_same_line_holds_for_the_old_study() -> None:
    old = [5.0, 3.0, 1.1, 4.0, 1.0]
    assert reach(old, old) == 3


def test_a_match_counts_from_its_confirmation_where_there_is_one() -> None:
    stages = {2: "confirm", 4: "confirm"}
    assert reach([5.0, 3.0, 1.0], [4.0, 1.0, 2.0, 1.0, 1.1], stages=stages) == 5
    assert reach([5.0, 3.0, 1.0], [4.0, 1.0, 2.0], stages={2: "confirm"}) is None


def test_polish_can_match_and_is_counted() -> None:
    assert reach([5.0, 3.0, 1.0], [4.0, 2.0, 1.0], stages={2: "polish"}) == 3


def test_nothing_to_match_without_a_complete_trial() -> None:
    assert goal_of(ledger(fake_study(["failed", "pruned"])), 0.01) is None


def test_a_study_of_one_trial_is_matched_by_its_own_value_only() -> None:
    assert reach([2.0], [2.1, 2.0]) == 2


def test_best_so_far_starts_with_the_first_complete_trial() -> None:
    goal = goal_of(ledger(fake_study([1.0])), 0.0)
    assert goal is not None
    assert best_so_far(ledger(fake_study(["failed", 3.0, 4.0, 2.0])), goal) == (None, 3.0, 3.0, 2.0)


def test_several_objectives_are_matched_by_hypervolume() -> None:
    both = ("minimize", "maximize")
    old = ledger(fake_study([(3.0, 1.0), (1.0, 2.0), (2.0, 3.0)], directions=both))
    goal = goal_of(old, 0.01)
    assert goal is not None
    assert goal.reference_point == pytest.approx((3.2, 0.8))
    assert trials_to_reach(old, goal) == 3
    less = ledger(fake_study([(2.0, 3.0), (3.0, 1.0)], directions=both))
    assert trials_to_reach(less, goal) is None
    same = ledger(fake_study([(2.0, 3.0), (1.0, 2.0)], directions=both))
    assert trials_to_reach(same, goal) == 2


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
def test_hypervolume_is_what_counting_cells_gives(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    points = [tuple(map(float, p)) for p in rng.integers(0, 6, size=(6, dimensions))]
    cells = itertools.product(range(6), repeat=dimensions)
    covered = sum(any(all(x <= c for x, c in zip(p, cell, strict=True)) for p in points) for cell in cells)
    assert hypervolume(points, (6.0,) * dimensions) == covered
