"""Run one search in one way, and train what it found with new seeds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.trial import FixedTrial

import galatune
from galatune.bench.studies.controlled_search import Call, controlled_search, known_rates
from galatune.bench.studies.meter import Meter, TrialCost
from galatune.bench.studies.objectives.objective import Objective, Rows, Setting
from galatune.bench.studies.old_study import STUDY, OldStudy, open_journal
from galatune.bench.studies.unit import SHARES, Axis, Budget
from galatune.bench.studies.ways import Way

__all__ = ["TRIALS", "Task", "best_at", "make_old_study", "retrain", "search"]

TRIALS = 20
"""Number of trials of the old study, and of the old search run again."""

MOST_TRIALS = 3 * TRIALS
"""Of a way that prunes: it ends when it has spent what the old search costs, or here."""

RETRAININGS = 4
"""New seeds with which a configuration is trained to be judged."""

FIXED = 1e-3
"""A learning rate that many take."""

OLD_SEEDS, NEW_SEEDS, TEST_SEEDS = 0, 1_000_000, 2_000_000
"""Beginnings of the seeds of the trainings: of the old study, of a new search, and of what judges it."""

SEEDS_APART = 1_000
"""Seeds of the trainings of one unit seed."""


def make_old_study(objective: Objective, setting: Setting, seed: int, file: Path) -> tuple[TrialCost, ...]:
    """Search as before, from nothing, into a journal that replaces ``file``."""
    rows = objective.rows(seed, False, setting)
    meter = Meter(float("inf"))
    aside = file.with_suffix(f".{os.getpid()}")
    aside.unlink(missing_ok=True)
    study = optuna.create_study(
        study_name=STUDY,
        storage=open_journal(aside),
        sampler=TPESampler(seed=seed),
        pruner=_pruner("as before", objective),
    )
    call = _metered(objective, rows, setting, meter, OLD_SEEDS + SEEDS_APART * seed)
    study.optimize(call, n_trials=TRIALS, callbacks=[meter.finished])
    aside.replace(file)
    return tuple(meter.trials)


@dataclass(frozen=True)
class Task:
    """What a new search is about.

    Attributes:
        objective: What is trained.
        setting: What was changed since the old study.
        seed: Of the unit.
        rows: Which the old study has not seen.
        old: The old study.
    """

    objective: Objective
    setting: Setting
    seed: int
    rows: Rows
    old: OldStudy

    def metered(self, meter: Meter, first_seed: int | None) -> Call:
        """Its objective as a search calls it, see `_metered`."""
        return _metered(self.objective, self.rows, self.setting, meter, first_seed)


def search(way: Way, task: Task, budget: Budget | None) -> tuple[TrialCost, ...]:
    """Search the objective on rows that the old study has not seen.

    Args:
        way: How.
        task: What.
        budget: What the old search costs in this setting; None runs `TRIALS` trials.

    Returns:
        Its trials with what each cost. Without a search, the old best configuration at no cost.
    """
    if not way.searches:
        return (TrialCost(task.old.trials[0].value, "COMPLETE", task.old.best, 0.0, 0),)
    meter = Meter(float("inf") if budget is None else budget.gradients)
    if way.rate == "controlled":
        seed = NEW_SEEDS + SEEDS_APART * task.seed
        controlled_search(way, task.metered(meter, None), task.old.file, seed, MOST_TRIALS, meter)
    else:
        _plain(way, task, meter, TRIALS if budget is None else MOST_TRIALS)
    return tuple(meter.trials)


def _plain(way: Way, task: Task, meter: Meter, trials: int) -> None:
    """A search by Optuna alone."""
    name, old = task.objective.rate, task.old
    sampler: BaseSampler = TPESampler(seed=NEW_SEEDS + task.seed)
    if way.rate in ("old best", "1e-3"):
        rate = old.best_rate if way.rate == "old best" else FIXED
        sampler = PartialFixedSampler({name: rate}, sampler)
    study = optuna.create_study(sampler=sampler, pruner=_pruner(way.pruner, task.objective))
    for params in old.first(with_rate=way.rate == "searched") if way.warm else ():
        study.enqueue_trial(params)
    call = task.metered(meter, NEW_SEEDS + SEEDS_APART * task.seed)
    if way.rate == "narrowed":
        call = _narrowed(call, name, old.quarter)
    study.optimize(call, n_trials=trials, callbacks=[meter.finished])


def _metered(
    objective: Objective, rows: Rows, setting: Setting, meter: Meter, first_seed: int | None
) -> Call:
    """The objective as its user wrote it, its cost measured.

    Args:
        objective: What is trained.
        rows: On which rows.
        setting: What was changed.
        meter: Measures.
        first_seed: The number of the trial is added; None if somebody else seeds torch.
    """

    def call(trial: optuna.trial.BaseTrial) -> float:
        if first_seed is not None:
            torch.manual_seed(first_seed + trial.number)
        with meter.running():
            return objective.train(trial, rows, setting).validation

    return call


def _pruner(name: str, objective: Objective) -> BasePruner:
    if name == "hyperband":
        return HyperbandPruner()
    return MedianPruner() if name == "median" or objective.prunes else NopPruner()


def _narrowed(call: Call, name: str, bounds: tuple[float, float]) -> Call:
    """The objective with another range of one parameter."""
    return lambda trial: call(_NarrowedTrial(trial, name, bounds))  # type: ignore[arg-type]


class _NarrowedTrial:
    """A trial whose parameter of that name has other bounds; everything else is the trial's own."""

    def __init__(self, trial: optuna.trial.BaseTrial, name: str, bounds: tuple[float, float]) -> None:
        self._trial, self._name, self._bounds = trial, name, bounds

    def suggest_float(self, name: str, low: float, high: float, **options: Any) -> float:
        if name == self._name:
            low, high = self._bounds
        return self._trial.suggest_float(name, low, high, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)


def best_at(trials: Sequence[TrialCost], axis: Axis, budget: Budget) -> tuple[int, ...]:
    """Places of the best trials so far at `SHARES` of a cost.

    As long as no trial is COMPLETE it is the first one that will be: a search that has nothing yet hands out
    what it gets first.

    Args:
        trials: Of a search that has a COMPLETE one.
        axis: In what the cost is counted.
        budget: The whole cost.
    """
    spent = [float(getattr(t, axis)) if axis != "trials" else i + 1.0 for i, t in enumerate(trials)]
    complete = [i for i, trial in enumerate(trials) if trial.value is not None]
    found = []
    for share in SHARES:
        within = [i for i in complete if spent[i] <= share * budget.at(axis) * (1 + 1e-9)]
        found.append(min(within or complete[:1], key=lambda i: (trials[i].value, i)))
    return tuple(found)


def retrain(way: Way, task: Task, params: dict[str, Any]) -> tuple[float, ...]:
    """Test losses of a configuration, trained as its way trains, with `RETRAININGS` new seeds."""
    if way.rate == "controlled":
        params = {**params, task.objective.rate: task.old.best_rate}  # the unit of a prior
    prior = known_rates(task.old, params) if way.prior else None
    losses = []
    for i in range(RETRAININGS):
        torch.manual_seed(TEST_SEEDS + SEEDS_APART * task.seed + i)
        with galatune.controlled(prior=prior) if way.rate == "controlled" else nullcontext():
            losses.append(task.objective.train(FixedTrial(params), task.rows, task.setting).test)
    return tuple(losses)
