"""What is trained, and the trainings: each configuration in every way, with the same seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FixedTrial

import galatune
from galatune.bench.json_lines import JsonLines
from galatune.bench.processes import side_by_side
from galatune.bench.studies.code import code_key
from galatune.bench.studies.controlled_search import known_rates
from galatune.bench.studies.meter import counted_steps
from galatune.bench.studies.objectives.objective import OBJECTIVES, SETTINGS
from galatune.bench.studies.old_study import OldStudy
from galatune.bench.studies.results import Results
from galatune.bench.studies.search import make_old_study
from galatune.bench.studies.testbed import Plan
from galatune.bench.studies.unit import AGAIN
from galatune.bench.studies.ways import WAYS

__all__ = ["ARMS", "FIXED", "TUNED", "Trained", "Training", "run_trainings"]

FIXED = "old rate"
DECADES = (-1.5, -1.0, -0.5, 0.5, 1.0, 1.5)
TUNED = {f"old rate x 10^{power:g}": 10**power for power in DECADES}

ARMS = (FIXED, *TUNED, "controlled", "with the prior")
"""Ways of setting the rate: the old one, six others around it, control from nothing, control with a prior."""

SEEDS = 3_000_000
"""Beginning of the seeds of these trainings, which no search has."""


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        objective: Name.
        setting: "again" or what was changed.
        study: Seed of the old study, whose best configuration it is.
        arm: One of `ARMS`.
        repeat: Its seed is `SEEDS` plus this.
    """

    objective: str
    setting: str
    study: int
    arm: str
    repeat: int


@dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes:
        training: Which.
        loss: On test rows; not finite if it diverged.
        seconds: Processor seconds.
        steps: Optimizer steps.
        gradients: Gradient evaluations, probes included.
    """

    training: Training
    loss: float
    seconds: float
    steps: int
    gradients: int


@dataclass(frozen=True)
class _Job:
    training: Training
    old: Path


def run_trainings(
    plan: Plan, repeats: int, folder: Path, jobs: int, progress: Callable[[int, int], None]
) -> list[Trained]:
    """Train what has no result yet.

    Args:
        plan: Objectives, settings and seeds; its ways do not count.
        repeats: Seeds of each training.
        folder: Of the results; old studies of `galatune bench studies` there are used.
        jobs: Processes side by side, with one thread each.
        progress: Called with (trainings done, trainings in all).

    Raises:
        GalatuneError: The results cannot be read or written.
    """
    results, lines = Results(folder), JsonLines(folder / "trainings.jsonl")
    known = dict(_known(lines))
    wanted = list(_wanted(plan, repeats))
    old = [(name, seed) for name in plan.objectives for seed in plan.seeds]
    missing = [(*one, results.old_study(*one)) for one in old if not results.old_study(*one).exists()]
    for _ in side_by_side(_make_old, missing, jobs):
        pass
    ready = [_Job(one, results.old_study(one.objective, one.study)) for one in wanted if one not in known]
    progress(len(wanted) - len(ready), len(wanted))
    for done, trained in enumerate(side_by_side(_train, ready, jobs), len(wanted) - len(ready) + 1):
        known[trained.training] = trained
        lines.add({"key": _key(trained.training), **asdict(trained)})
        progress(done, len(wanted))
    return [known[one] for one in wanted]


def _wanted(plan: Plan, repeats: int) -> Iterator[Training]:
    for repeat in range(repeats):
        for study in plan.seeds:
            for objective, setting in plan.places():
                for arm in ARMS:
                    yield Training(objective, setting, study, arm, repeat)


def _key(training: Training) -> str:
    ways = {"controlled": "galatune", "with the prior": "galatune-prior"}
    return code_key(WAYS[ways.get(training.arm, "fixed")])


def _known(lines: JsonLines) -> Iterator[tuple[Training, Trained]]:
    for body in lines:
        try:
            training = Training(**body["training"])
            rest = {name: body[name] for name in ("loss", "seconds", "steps", "gradients")}
            if training.arm in ARMS and body["key"] == _key(training):
                yield training, Trained(training, **rest)
        except (TypeError, KeyError) as error:
            raise lines.not_ours(error) from error


def _make_old(place: tuple[str, int, Path]) -> None:
    _quietly()
    name, seed, file = place
    make_old_study(OBJECTIVES[name], SETTINGS[AGAIN], seed, file)


def _quietly() -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _train(job: _Job) -> Trained:
    _quietly()
    training = job.training
    objective, setting = OBJECTIVES[training.objective], SETTINGS[training.setting]
    old = OldStudy.read(job.old, objective.rate)
    rows = objective.rows(training.study, True, setting)
    rate = old.best_rate * TUNED.get(training.arm, 1.0)
    options = _control(training.arm, old)
    torch.manual_seed(SEEDS + training.repeat)
    began = time.process_time()
    with nullcontext() if options is None else galatune.controlled(**options) as capture:
        with counted_steps() as steps:
            trial = _Trial({**old.best, objective.rate: rate})
            loss = _loss(lambda: objective.train(trial, rows, setting).test)
        seconds, taken = time.process_time() - began, steps()
        gradients = sum(one.gradient_evaluations for one in capture.controllers) if capture else taken
    return Trained(training, loss, seconds, taken, gradients)


def _control(arm: str, old: OldStudy) -> dict[str, Any] | None:
    """Options of control; None if the rate is not controlled."""
    if arm == "controlled":
        return {}
    if arm != "with the prior":
        return None
    return {"prior": known_rates(old, old.best)}


def _loss(train: Callable[[], float]) -> float:
    """What a training reaches; one that diverges may end in an error of its own."""
    try:
        return train()
    except (ValueError, FloatingPointError):
        return math.inf


class _Trial(FixedTrial):
    """A trial whose rate may lie outside the range that was searched."""

    def _suggest(self, name: str, distribution: optuna.distributions.BaseDistribution) -> Any:
        return self._params[name]
