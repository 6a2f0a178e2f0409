"""Whole studies with pruned trials, and the same under control."""

from __future__ import annotations

import optuna
import pytest
from pruned_training import SHORT, TASKS, compare

pytestmark = pytest.mark.slow

SEEDS = {"perceptron": 3, "convolutional": 3, "regression": 3}
"""Seeds that nothing was chosen on."""


@pytest.mark.parametrize("name", TASKS)
def test_control_is_pruned_after_its_rate_arrived_and_costs_no_more(name: str) -> None:
    found = compare(TASKS[name], SEEDS[name])
    assert found.old_share > 0
    assert found.too_early == 0
    assert found.new_share >= found.old_share / 2
    assert found.gradients <= 1.1


def test_a_short_training_is_pruned_about_as_often_as_before() -> None:
    found = compare(SHORT, seed=0, trials=16, sampler=optuna.samplers.RandomSampler(seed=1))
    assert found.too_early == 0
    assert found.old_share / 2 <= found.new_share <= 2 * found.old_share
    assert found.gradients <= 1.1
