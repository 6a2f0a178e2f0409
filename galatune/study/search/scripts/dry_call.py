"""The space of a script that has stored nothing: its objective is called once, up to its first step."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.controller.torch_hooks.optimizer_watch import watched_by
from galatune.controller.torch_hooks.random_state import restored_afterwards
from galatune.errors import ObjectiveError
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import plan_study
from galatune.study.search.objective import in_one_line
from galatune.study.search.scripts.handed_over import HandedOver
from galatune.study.search.scripts.running import Script
from galatune.study.search.scripts.serve import serve
from galatune.study.search.second_construction import StoppedAtFirstStep

__all__ = ["scan_script"]

NOTE = "Read from one call of the objective, up to its first optimizer step; no old study was read"


class _Stopping:
    """Ends the objective at the first step of any optimizer."""

    def made(self, optimizer: Any) -> None:
        """Nothing to do."""

    def loaded(self, optimizer: Any) -> None:
        """Nothing to do."""

    def stepping(self, optimizer: Any) -> None:
        """It would train now."""
        raise StoppedAtFirstStep


def scan_script(
    script: Script,
    *,
    study: str | None = None,
    lr: Collection[str] = (),
    keep: Collection[str] = (),
    drop_schedule: bool = False,
    say: Callable[[str], None],
) -> ShrinkPlan:
    """What can be left out of the search of a script. It trains nothing, and its storage is not opened.

    Args:
        script: Runs until it searches, and is ended there.
        study: Name of the study in the script, if it has several.
        lr: See `galatune.scan`, like the following.
        keep: Parameters that stay in any case.
        drop_schedule: Drop schedules and multipliers as well.
        say: Says a line about what happens.

    Raises:
        ObjectiveError: It does not search, or its objective suggests nothing before it trains.
        PlanError: ``lr`` or ``keep`` name a parameter that it does not have.
    """
    found: list[optuna.Study] = []
    with restored_afterwards():
        serve(script, lambda handed: _read(handed, found), study=study, say=say)
    plan = plan_study(found[0], script.name, lr=lr, keep=keep, drop_schedule=drop_schedule)
    return replace(
        plan,
        trials=replace(plan.trials, total=0, failed=0),
        hours=0.0,
        unique_configurations=0,
        projected=(),
        tried=0,
        note=NOTE,
    )


def _read(handed: HandedOver, found: list[optuna.Study]) -> None:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(study_name=handed.study, directions=_directions(handed))
        found.append(study)
        error = _called(study, handed)
    finally:
        optuna.logging.set_verbosity(level)
    if not study.get_trials(deepcopy=False)[0].params:
        why = "" if error is None else f" ({in_one_line(error)})"
        raise ObjectiveError(f"the objective suggests no parameter before its first optimizer step{why}")


def _directions(handed: HandedOver) -> list[optuna.study.StudyDirection]:
    return [optuna.study.StudyDirection[name.upper()] for name in handed.directions]


def _called(study: optuna.Study, handed: HandedOver) -> BaseException | None:
    trial = study.ask()
    try:
        with watched_by(_Stopping()):
            handed.objective(trial)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also that it was stopped
        ended: BaseException | None = error
    else:
        ended = None
    _end(study, trial)
    return ended


def _end(study: optuna.Study, trial: optuna.trial.Trial) -> FrozenTrial:
    return study.tell(trial, state=TrialState.FAIL)
