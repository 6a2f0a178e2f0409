"""Train what a search found with new seeds, in its own way: also where good rates are known beforehand."""

from __future__ import annotations

from typing import Any

import torch
from optuna.trial import FixedTrial

import galatune
from galatune.bench.studies.old_study import STUDY
from galatune.bench.studies.search import RETRAININGS, SEEDS_APART, TEST_SEEDS, Task, retrain
from galatune.bench.studies.ways import Way
from galatune.study.search.prior_of_optimizer import StudyPriors

__all__ = ["retrain_its_way"]


def retrain_its_way(way: Way, task: Task, params: dict[str, Any]) -> tuple[float, ...]:
    """Test losses of a configuration, with `RETRAININGS` new seeds."""
    if not way.prior:
        return retrain(way, task, params)
    plan = galatune.scan(str(task.old.file), STUDY)
    fixed = task.old.best_rate  # what the objective builds its optimizer with
    prior = StudyPriors.of(plan).of_optimizer([fixed], (), params)
    losses = []
    for i in range(RETRAININGS):
        torch.manual_seed(TEST_SEEDS + SEEDS_APART * task.seed + i)
        with galatune.controlled(prior=prior):
            trial = FixedTrial({**params, task.objective.rate: fixed})
            losses.append(task.objective.train(trial, task.rows, task.setting).test)
    return tuple(losses)
