"""`run`: the smaller study, under control, resumable."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import ObjectiveError, PlanError
from galatune.report.ledger import STAGE_ATTRIBUTE
from galatune.study.address import printable, redact
from galatune.study.budget import Budget, budget_for
from galatune.study.machine import this_machine, versions
from galatune.study.objective import Objective
from galatune.study.plan import ShrinkPlan
from galatune.study.record import ATTRIBUTE, SCHEMA
from galatune.study.source import open_source
from galatune.study.target import default_target, open_target

if TYPE_CHECKING:
    from galatune.controller.capture import Capture

__all__ = ["RunOptions", "Watcher", "run"]

MOST_FAILURES = 5
"""This many FAILs in a row end the run."""


class Watcher(Protocol):
    """Told how a run goes; see `galatune.cli.progress`."""

    def run_started(self, budget: Budget, study: optuna.Study) -> None:
        """Before the first trial; the study may hold earlier ones."""
        ...

    def trial_started(self, number: int, capture: Capture) -> None:
        """``capture.learning_rate`` is the current rate, at any time."""
        ...

    def trial_finished(self, trial: FrozenTrial) -> None:
        """With its final state."""
        ...


@dataclass(frozen=True)
class RunOptions:
    """What a run is told beside its plan and its objective.

    Attributes:
        trials: Number of trials; None for as many as the old study finished, until its best is matched.
        until_match: End as soon as the old best is matched.
        tolerance: Share of |median - best| of the old values that counts as no difference.
        patience: Trials without a better value that end the search, None for no such bound.
        confirm: A match counts only once its configuration has reached it a second time.
        seed: Of the sampler and, with the trial's number added, of each trial.
        min_lr: Lower bound of the rate before the schedule.
        max_lr: Upper bound of the rate as applied.
        probe: See `galatune.attach`.
        step_scale: See `galatune.attach`.
        per_group: See `galatune.attach`.
    """

    trials: int | None = None
    until_match: bool = False
    tolerance: float = 0.01
    patience: int | None = None
    confirm: bool = False
    seed: int = 0
    min_lr: float = 0.0
    max_lr: float = math.inf
    probe: str = "auto"
    step_scale: float | None = None
    per_group: bool = False

    def control(self) -> dict[str, Any]:
        """The options of `galatune.controlled`."""
        names = ("min_lr", "max_lr", "probe", "step_scale", "per_group")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """For the study's attribute; an infinite bound is None, since JSON has no infinity."""
        body = asdict(self)
        body["max_lr"] = self.max_lr if math.isfinite(self.max_lr) else None
        return body


def run(
    plan: ShrinkPlan,
    objective: Objective,
    *,
    source: str | None = None,
    into: str | None = None,
    name: str | None = None,
    options: RunOptions | None = None,
    watcher: Watcher | None = None,
    **settings: Any,
) -> optuna.Study:
    """Run the smaller study: the dropped dimensions gone, the learning rate under control.

    The same call continues a study that was interrupted. Each finished trial is in the storage at once;
    Ctrl-C loses the running one, whose configuration is tried again.

    Args:
        plan: From `galatune.scan`.
        objective: The old study's objective, unchanged.
        source: Storage of the old study, where the plan's has its password left out.
        into: File or URL of the smaller study; None for ``<study>-gala.db`` in the working directory.
        name: Name of the smaller study; None for ``<study>-gala``.
        options: See `RunOptions`.
        watcher: Told how it goes.
        **settings: Fields of `RunOptions`, where ``options`` is not given.

    Returns:
        The smaller study. Its user attribute ``galatune`` holds the plan, the options and why it stopped.

    Raises:
        PlanError: The plan drops nothing, or the smaller study is another one's.
        StorageError: A storage cannot be opened.
        ObjectiveError: The objective failed five times in a row.

    Example:
        >>> import galatune, optuna
        >>> from galatune.demo.objective import objective
        >>> plan = galatune.scan("old.db")  # doctest: +SKIP
        >>> study = galatune.run(plan, objective, trials=20)  # doctest: +SKIP
    """
    options = options or RunOptions(**settings)
    _check_control(options)
    if not plan.placeholders:
        raise PlanError(
            f"study {printable(plan.study)!r} has no learning rate to remove (its parameters: "
            f"{', '.join(map(printable, plan.kept)) or 'none'}); name one with --lr"
        )
    place = source or plan.storage
    with open_source(place) as opened:
        old = opened.study(plan.study)
        budget = budget_for(
            old,
            trials=options.trials,
            until_match=options.until_match,
            tolerance=options.tolerance,
            patience=options.patience,
            confirm=options.confirm,
        )
        about_old = _about(old, plan)
    storage = open_target(into, plan.study, source=place)
    study = _study(storage, name or default_target(plan.study)[1], plan, options, about_old)
    _search(study, plan, objective, options, budget, watcher)
    return study


def _check_control(options: RunOptions) -> None:
    """Bounds that contradict each other are said before anything is made."""
    from galatune.controller.options import Options

    Options.of(options.control())


def _about(old: optuna.Study, plan: ShrinkPlan) -> dict[str, Any]:
    best = old.best_value if len(old.directions) == 1 and plan.trials.complete else None
    return {"storage": redact(plan.storage), "study": plan.study, "sampler": None, "best_value": best}


def _study(
    storage: optuna.storages.BaseStorage,
    name: str,
    plan: ShrinkPlan,
    options: RunOptions,
    about_old: dict[str, Any],
) -> optuna.Study:
    """Create the smaller study, or continue it."""
    sampler = optuna.samplers.TPESampler(seed=options.seed)
    # A pruner on one side only would be counted as our saving.
    pruner = optuna.pruners.MedianPruner() if plan.trials.pruned else optuna.pruners.NopPruner()
    known = {study.study_name for study in storage.get_all_studies()}
    if name in known:
        study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
        _check_same(study, plan)
        # Sampling goes on where it was rather than with the first draws again.
        sampler.reseed_rng()
    else:
        study = optuna.create_study(
            study_name=name, storage=storage, directions=list(plan.directions), sampler=sampler, pruner=pruner
        )
    study.set_user_attr(
        ATTRIBUTE,
        {
            "schema": SCHEMA,
            "plan": plan.to_json(),
            "source": about_old,
            "options": options.to_json(),
            "sampler": type(sampler).__name__,
            "pruner": type(pruner).__name__,
            "seed": options.seed,
            "versions": versions(),
            "machine": this_machine(),
        },
    )
    return study


def _check_same(study: optuna.Study, plan: ShrinkPlan) -> None:
    attribute = study.user_attrs.get(ATTRIBUTE)
    name = printable(study.study_name)
    if not isinstance(attribute, dict) or "plan" not in attribute:
        raise PlanError(f"study {name!r} exists and is not galatune's; choose another with --name")
    before = ShrinkPlan.from_json(attribute["plan"])
    if before.study != plan.study:
        raise PlanError(
            f"study {name!r} continues {printable(before.study)!r}, not {printable(plan.study)!r}; "
            "choose another with --name"
        )
    if before.placeholders != plan.placeholders or before.directions != plan.directions:
        raise PlanError(
            f"study {name!r} was made with {_dropped(before)} dropped, now it is {_dropped(plan)}; "
            "choose another with --name"
        )


def _dropped(plan: ShrinkPlan) -> str:
    return ", ".join(f"{printable(k)}={printable(str(v))}" for k, v in plan.placeholders.items())


def _search(
    study: optuna.Study,
    plan: ShrinkPlan,
    objective: Objective,
    options: RunOptions,
    budget: Budget,
    watcher: Watcher | None,
) -> None:
    from galatune.study.attempt import Attempt, attempt  # loads torch

    if watcher is not None:
        watcher.run_started(budget, study)
    failures = 0
    with _quiet():
        while (reason := budget.over(study)) is None:
            again = budget.to_confirm(study)
            if again is not None:
                study.enqueue_trial(again.params, user_attrs={STAGE_ATTRIBUTE: "confirm"})
            trial = study.ask()
            done: Attempt = attempt(study, trial, plan, objective, options, watcher)
            finished = study.get_trials(deepcopy=False)[trial.number]
            if watcher is not None:
                watcher.trial_finished(finished)
            failures = failures + 1 if finished.state == TrialState.FAIL else 0
            if failures >= MOST_FAILURES:
                _stop(study, f"{MOST_FAILURES} trials in a row failed")
                raise ObjectiveError(
                    f"the last {MOST_FAILURES} trials failed, the last one with: {done.reason}; mend it and "
                    "run the same command again to continue"
                )
    _stop(study, reason)


def _stop(study: optuna.Study, reason: str) -> None:
    study.set_user_attr(ATTRIBUTE, {**study.user_attrs[ATTRIBUTE], "stopped_because": reason})


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says a line a trial; the watcher says it better."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
