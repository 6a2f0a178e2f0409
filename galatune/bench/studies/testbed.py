"""Run the units of the testbed that have no result yet: old studies, then the null, then all other ways."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch

from galatune.bench.processes import side_by_side
from galatune.bench.studies.objectives.objective import OBJECTIVES, SETTINGS
from galatune.bench.studies.old_study import OldStudy
from galatune.bench.studies.piloted_search import candidates, piloted_search
from galatune.bench.studies.results import Results
from galatune.bench.studies.search import Task, best_at, make_old_study, retrain, search
from galatune.bench.studies.unit import AGAIN, AXES, OLD, Budget, Outcome, Unit
from galatune.bench.studies.ways import CORE, NULL, WAYS, Way
from galatune.formatting import first_line

__all__ = ["Plan", "run_testbed"]


@dataclass(frozen=True)
class Plan:
    """What is to be compared.

    Attributes:
        objectives: Names.
        settings: Names; an objective has those that it lists, and "again".
        ways: The null among them.
        seeds: Of the units.
    """

    objectives: tuple[str, ...]
    settings: tuple[str, ...]
    ways: tuple[Way, ...]
    seeds: tuple[int, ...]

    def places(self) -> list[tuple[str, str]]:
        """Objective and setting, of those that belong together."""
        return [
            (name, setting)
            for setting in self.settings
            for name in self.objectives
            if setting == AGAIN or setting in OBJECTIVES[name].moved
        ]

    def stages(self) -> list[list[Unit]]:
        """Units in the order in which they are run: what the named comparisons need comes first."""
        places = self.places()
        again = [place for place in places if place[1] == AGAIN]
        moved = [place for place in places if place[1] != AGAIN]
        core = [way for way in self.ways if way.name in CORE and way is not NULL]
        rest = [way for way in self.ways if way.name not in CORE]
        return [
            self._units([(name, AGAIN) for name in self.objectives], [OLD]),
            self._units(places, [NULL.name]),
            [
                *self._units(places, [way.name for way in core]),
                *self._units(again, [way.name for way in rest]),
                *self._units(moved, [way.name for way in rest]),
            ],
        ]

    def _units(self, places: Sequence[tuple[str, str]], ways: Sequence[str]) -> list[Unit]:
        return [Unit(*place, way, seed) for way in ways for seed in self.seeds for place in places]


@dataclass(frozen=True)
class _Job:
    unit: Unit
    old: Path
    budget: Budget | None


def run_testbed(plan: Plan, folder: Path, jobs: int, progress: Callable[[int, int], None]) -> list[Outcome]:
    """Run what has no result yet.

    Args:
        plan: What is wanted.
        folder: Of the results.
        jobs: Processes side by side, with one thread each.
        progress: Called with (units done, units in all).

    Returns:
        Outcomes of all units, failed ones too, in the order of the plan.

    Raises:
        GalatuneError: The results cannot be read or written.
    """
    results = Results(folder)
    stages = plan.stages()
    total = sum(map(len, stages))
    done = sum(results.done(unit) for stage in stages for unit in stage)
    progress(done, total)
    for stage in stages:
        missing = [unit for unit in stage if not results.done(unit)]
        ready = [job for unit in missing for job in _job(results, unit)]
        for outcome in side_by_side(_outcome, ready, jobs):
            results.add(outcome)
            done += 1
            progress(done, total)
    return [results.outcomes[unit] for stage in stages for unit in stage if unit in results.outcomes]


def _job(results: Results, unit: Unit) -> Iterator[_Job]:
    """The job of a unit, if what it needs has not failed."""
    old = results.old_study(unit.objective, unit.seed)
    if unit.way in (OLD, NULL.name):
        if unit.way == OLD or old.exists():
            yield _Job(unit, old, None)
        return
    null = results.outcomes.get(Unit(unit.objective, unit.setting, NULL.name, unit.seed))
    if null is not None and null.error is None and old.exists():
        yield _Job(unit, old, null.spent)


def _outcome(job: _Job) -> Outcome:
    """Run one unit; what fails is a result as well, and is tried again by the next command."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return _run(job)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(
            job.unit, error=f"{type(error).__name__}: {first_line(error)} ({place.name}, line {place.lineno})"
        )


def _run(job: _Job) -> Outcome:
    unit = job.unit
    objective, setting = OBJECTIVES[unit.objective], SETTINGS[unit.setting]
    if unit.way == OLD:
        return Outcome(unit, make_old_study(objective, setting, unit.seed, job.old))
    way = WAYS[unit.way]
    known = OldStudy.read(job.old, objective.rate)
    task = Task(objective, setting, unit.seed, objective.rows(unit.seed, True, setting), known)
    note = None
    if way.pilot and job.budget is not None:
        note, trials = piloted_search(task, job.budget)
        way, known_best = WAYS[note.way], candidates(note, trials)
    else:
        known_best = trials = search(way, task, job.budget)
    budget = job.budget or Outcome(unit, trials).spent
    bests = {axis: best_at(known_best, axis, budget) for axis in AXES}
    places = sorted({place for found in bests.values() for place in found})
    retrained = {place: retrain(way, task, trials[place].params) for place in places}
    return Outcome(unit, trials, bests, retrained, pilot=note)
