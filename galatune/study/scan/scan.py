"""`scan`: from a study to a `ShrinkPlan`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import PlanError
from galatune.formatting import listed, printable
from galatune.study.ledger.constraints import known_to_the_sampler_alone
from galatune.study.ledger.provenance import old_names, old_study
from galatune.study.ledger.trial_counts import (
    count_states,
    running_trials,
    total_hours,
    unique_configurations,
)
from galatune.study.scan.dimensions import find_dimensions
from galatune.study.scan.grid import grid_of
from galatune.study.scan.next_command import options_said
from galatune.study.scan.plan import ShrinkPlan, StoragePlans
from galatune.study.scan.projection import hours_per_trial, project
from galatune.study.scan.rate_prior import rate_priors
from galatune.study.storage.reading import open_source, quiet

__all__ = ["plan_study", "scan", "scan_storage"]


def scan(
    storage: str,
    study: str | None = None,
    *,
    lr: Collection[str] = (),
    keep: Collection[str] = (),
    drop_schedule: bool = False,
) -> ShrinkPlan:
    """Find what can be left out of a study. Read-only.

    Args:
        storage: Optuna storage URL, SQLite file or journal file.
        study: Study name; may be left out if the storage holds one.
        lr: Parameters that are learning rates in any case.
        keep: Parameters that stay in any case.
        drop_schedule: Drop schedules and multipliers as well.

    Raises:
        StorageError: The study cannot be opened, found or read.
        PlanError: ``lr`` or ``keep`` name a parameter that the study does not have.
    """
    with open_source(storage) as source:
        old = old_study(source, study)
        plan = plan_study(old, source.label, lr=lr, keep=keep, drop_schedule=drop_schedule)
        return replace(plan, note=source.note_of(old))


def scan_storage(
    storage: str,
    study: str | None = None,
    *,
    lr: Collection[str] = (),
    keep: Collection[str] = (),
    drop_schedule: bool = False,
) -> StoragePlans:
    """`scan` the study that is named, or every study of a storage that `galatune run` has not made.

    They come oldest first. A parameter that ``lr`` or ``keep`` name has to exist in one of the studies only.

    Raises:
        StorageError: The storage cannot be opened, or holds no study or none of that name.
        PlanError: ``lr`` or ``keep`` name a parameter that no study has.
    """
    with open_source(storage) as source:
        names = old_names(source) if study is None else [study]
        studies = [source.study(name) for name in names] or [source.study()]  # none: it says so
        wishes = _wishes_by_study(studies, lr, keep) if len(studies) > 1 else [(lr, keep)]
        plans = [
            replace(
                plan_study(study, source.label, lr=own_lr, keep=own_keep, drop_schedule=drop_schedule),
                note=source.note_of(study),
            )
            for study, (own_lr, own_keep) in zip(studies, wishes, strict=True)
        ]
        return StoragePlans(tuple(plans))


def _wishes_by_study(
    studies: Sequence[optuna.Study], lr: Collection[str], keep: Collection[str]
) -> list[tuple[Collection[str], Collection[str]]]:
    """Of ``lr`` and ``keep``, for each study the parameters that it has."""
    known = [_parameters(study) for study in studies]
    everywhere = set().union(*known)
    for name in (*lr, *keep):
        if name not in everywhere:
            known_names = listed(sorted(everywhere)) or "none at all"
            raise PlanError(f"No study has a parameter '{printable(name)}'; they have: {known_names}")
    return [([name for name in lr if name in own], [name for name in keep if name in own]) for own in known]


def _parameters(study: optuna.Study) -> set[str]:
    return {name for trial in study.get_trials(deepcopy=False) for name in trial.params}


def plan_study(
    study: optuna.Study,
    storage: str,
    *,
    lr: Collection[str] = (),
    keep: Collection[str] = (),
    drop_schedule: bool = False,
) -> ShrinkPlan:
    """`scan` for a study that is open already.

    Args:
        study: The old study; only read.
        storage: Its URL or path, without a password.
        lr: Parameters that are learning rates in any case.
        keep: Parameters that stay in any case.
        drop_schedule: Drop schedules and multipliers as well.

    Raises:
        PlanError: ``lr`` or ``keep`` name a parameter that the study does not have.
    """
    with quiet():
        trials = study.get_trials(deepcopy=False)
    best_first = _best_first(study)
    found = find_dimensions(trials, best_first, lr=lr, keep=keep, drop_schedule=drop_schedule)
    dropped = {dimension.name for dimension in found.learning_rate if dimension.dropped}
    counts = count_states(trials)
    grid = grid_of(trials, dropped)
    tried = sum(1 for trial in trials if trial.params)
    return ShrinkPlan(
        storage=storage,
        study=study.study_name,
        directions=tuple(direction.name.lower() for direction in study.directions),
        trials=counts,
        hours=total_hours(trials),
        learning_rate=found.learning_rate,
        kept=found.kept,
        refused=found.refused,
        unique_configurations=unique_configurations(trials, dropped),
        projected=project(counts, hours_per_trial(trials), found.kept, grid) if dropped else (),
        grid=grid,
        tried=tried,
        repeated=tried - unique_configurations(trials, ()),
        running=running_trials(trials),
        constrained=known_to_the_sampler_alone(trials),
        options=options_said(lr, keep, drop_schedule),
        prior=rate_priors(found.learning_rate, best_first, minimize=_minimizes(study)),
    )


def _minimizes(study: optuna.Study) -> bool | None:
    """Whether small values are good; None if there are several objectives."""
    if len(study.directions) > 1:
        return None
    return study.direction != optuna.study.StudyDirection.MAXIMIZE


def _best_first(study: optuna.Study) -> list[FrozenTrial]:
    """Trials whose values the dropped dimensions are fixed at: the best first, or the middle of the front."""
    if len(study.directions) > 1:
        front = sorted(study.best_trials, key=lambda trial: trial.values)
        middle = len(front) // 2
        return front[middle:] + front[:middle]
    try:
        best = [study.best_trial]
    except ValueError:  # no complete trial, or none that meets the constraints
        return []
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return best + sorted(complete, key=lambda trial: sign * trial.values[0])
