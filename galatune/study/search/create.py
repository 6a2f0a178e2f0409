"""The smaller study: created, or continued if it is the same one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import TrialState

from galatune.errors import PlanError
from galatune.formatting import printable
from galatune.study.ledger.attributes import RECORD
from galatune.study.ledger.machine import this_machine, versions
from galatune.study.ledger.provenance import Provenance
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.fingerprint import Fingerprint
from galatune.study.search.options import RunOptions
from galatune.study.search.pruning import Pruning
from galatune.study.search.sampler import sampler_for, sampler_name
from galatune.study.search.searched_view import SearchedSampler
from galatune.study.storage.database import Database

__all__ = ["as_begun", "create_or_continue", "study_names"]

DECISIVE = (
    *("seed", "min_lr", "max_lr", "probe", "step_scale", "per_group", "max_growth_per_step", "pruner"),
    *("control", "warm_start", "sampler", "prior"),
)
"""Options that decide what a trial does; the others only say when the search ends."""

EARLIER = {"pace": "max_growth_per_step"}
"""Options under the names that studies begun with an earlier galatune have them."""

NEWER = {"control": "on", "warm_start": 0, "sampler": None}
"""Options that an earlier galatune did not have, and what it did."""


def as_begun(plan: ShrinkPlan, storage: optuna.storages.BaseStorage, name: str) -> ShrinkPlan:
    """The plan with what this smaller study was begun with: the values of its dimensions, the prior.

    Those of a new plan follow the old study's trials, which may have been deleted or surpassed since.
    """
    if name not in study_names(storage):
        return plan
    known = Provenance.of(optuna.load_study(study_name=name, storage=storage)).plan
    if not known:
        return plan
    old = ShrinkPlan.from_json(known)
    begun = old.placeholders
    if set(begun) != set(plan.placeholders):
        return plan
    dimensions = [replace(d, placeholder=begun.get(d.name, d.placeholder)) for d in plan.learning_rate]
    grid = old.grid if "grid" in known else plan.grid
    return replace(plan, learning_rate=tuple(dimensions), grid=grid, prior=old.prior)


def create_or_continue(
    storage: optuna.storages.BaseStorage,
    name: str,
    plan: ShrinkPlan,
    objective: Fingerprint,
    options: RunOptions,
    pruning: Pruning,
    about_old: Mapping[str, Any],
    agree: Callable[[str], bool] | None = None,
) -> optuna.Study:
    """Create the smaller study, or load it if it is there already.

    Args:
        storage: Of the smaller study.
        name: Of the smaller study.
        plan: What is dropped.
        objective: What its trials call.
        options: How its trials run.
        pruning: Its pruner.
        about_old: What its attribute says of the old study.
        agree: See `galatune.run`.

    Raises:
        PlanError: There is a study of this name that is another one's, or that was begun with other options
            or another objective.
    """
    drawing = sampler_for(options.sampler, plan, options.seed)
    sampler, pruner = SearchedSampler(drawing, sampler_name(drawing)), pruning.pruner
    if name in study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
        _check_same(study, plan)
        _check_begun(study, objective, options, agree)
        if isinstance(storage, Database):  # nothing can be deleted from a journal
            storage.fill_gaps(study._study_id)
    else:
        study = _create(storage, name, plan, sampler, pruner)
    Provenance(
        plan=plan.to_json(),
        source=about_old,
        objective=objective.reference,
        objective_sha256=objective.sha256,
        options=options.to_json(),
        sampler=sampler.name,
        pruner=type(pruner).__name__,
        pruner_because=pruning.reason,
        seed=options.seed,
        versions=versions(),
        machine=this_machine(),
    ).write(study)
    return study


def study_names(storage: optuna.storages.BaseStorage) -> set[str]:
    """Names of the studies that a storage holds now."""
    return {study.study_name for study in storage.get_all_studies()}


def _create(
    storage: optuna.storages.BaseStorage,
    name: str,
    plan: ShrinkPlan,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
) -> optuna.Study:
    try:
        return optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[optuna.study.StudyDirection[direction.upper()] for direction in plan.directions],
            sampler=sampler,
            pruner=pruner,
        )
    except optuna.exceptions.DuplicatedStudyError:
        if name not in study_names(storage):
            raise PlanError(
                f"The database takes {printable(name)!r} for the name of another study; choose another with "
                "--name"
            ) from None
        # The same command, elsewhere, at the same time.
        return optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)


def _check_same(study: optuna.Study, plan: ShrinkPlan) -> None:
    known = Provenance.of(study).plan
    name = printable(study.study_name)
    if not known:
        if RECORD not in study.user_attrs and not study.get_trials(deepcopy=False):
            return  # made by a process that was killed before it could say so
        raise PlanError(f"study {name!r} exists and is not galatune's; choose another with --name")
    before = ShrinkPlan.from_json(known)
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


def _check_begun(
    study: optuna.Study, objective: Fingerprint, options: RunOptions, agree: Callable[[str], bool] | None
) -> None:
    """Ask before trials with other options or another objective go into one study."""
    changed = [*_changed_options(study, options), *_changed_objective(study, objective)]
    if not changed:
        return
    words = f"study {printable(study.study_name)!r} was begun with {', '.join(changed)}"
    if agree is None or not agree(f"{words[0].upper()}{words[1:]}. Continue it with what is given now?"):
        raise PlanError(f"{words}; continue it all the same with --yes, or choose another with --name")


def _changed_options(study: optuna.Study, options: RunOptions) -> list[str]:
    known = Provenance.of(study).options
    before = {**NEWER, **{EARLIER.get(name, name): value for name, value in known.items()}}
    now = options.to_json()
    if not any(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)):
        return []
    changed = [key for key in DECISIVE if key in before and before[key] != now[key]]
    return [f"{key} {_shown(before[key])} (now {_shown(now[key])})" for key in changed]


def _changed_objective(study: optuna.Study, objective: Fingerprint) -> list[str]:
    """What the objective was; nothing if it has only failed so far, since it had to be changed."""
    known = Provenance.of(study)
    states = {trial.state for trial in study.get_trials(deepcopy=False)}
    if known.objective is None or states.isdisjoint({TrialState.COMPLETE, TrialState.PRUNED}):
        return []
    change = objective.change(Fingerprint(known.objective, known.objective_sha256))
    return [] if change is None else [printable(change)]


def _shown(value: Any) -> str:
    return "not set" if value is None else printable(str(value))


def _dropped(plan: ShrinkPlan) -> str:
    return ", ".join(f"{printable(k)}={printable(str(v))}" for k, v in plan.placeholders.items())
