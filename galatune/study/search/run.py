"""`run`: run the smaller study, or continue it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna

from galatune.controller.options import Options
from galatune.controller.torch_hooks.random_state import restored_afterwards
from galatune.errors import PlanError
from galatune.formatting import listed, printable
from galatune.study.ledger.match import Goal, goal_of
from galatune.study.ledger.rows import ledger
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.projection import MOST_ALIKE
from galatune.study.search.blocks import not_deleted, quiet
from galatune.study.search.carried_pilot import bring
from galatune.study.search.chosen_way import begun_study, with_pilot
from galatune.study.search.control_off import check_control
from galatune.study.search.create import as_begun, create_or_continue
from galatune.study.search.fingerprint import Fingerprint
from galatune.study.search.loop import run_trials
from galatune.study.search.objective import Objective
from galatune.study.search.options import RunOptions, Search, Watcher
from galatune.study.search.polish import check_polish
from galatune.study.search.processes.origin import Importable, Origin
from galatune.study.search.processes.team import run_workers
from galatune.study.search.pruning import OldPruning, Pruning, pruning_for
from galatune.study.search.ranks import check_ranks
from galatune.study.search.rate_bound import RateBound, rate_bound
from galatune.study.search.stopping import Budget, budget_for
from galatune.study.search.warm_start import best_of_storage, queue_enqueued, queue_first
from galatune.study.storage.address import is_url, redact
from galatune.study.storage.reading import open_source
from galatune.study.storage.writing import default_target, open_target, storage_errors

__all__ = ["HIDDEN", "checked", "old_place", "pilot_place", "read_old", "run"]

HIDDEN = ":***@"
"""What a plan's storage shows in place of its password."""

MOST_SEED = 2**32 - 1
"""What numpy takes."""

MOST_WORKERS = 256


def run(
    plan: ShrinkPlan,
    objective: Objective,
    *,
    source: str | None = None,
    into: str | None = None,
    name: str | None = None,
    options: RunOptions | None = None,
    watcher: Watcher | None = None,
    agree: Callable[[str], bool] | None = None,
    enqueued: Sequence[Mapping[str, Any]] = (),
    origin: Origin | None = None,
    **settings: Any,
) -> optuna.Study:
    """Run the smaller study: the dropped dimensions are gone, the learning rate is controlled.

    The same call continues a study that was interrupted, as if it had not been. Each finished trial is in
    the storage at once; Ctrl-C and SIGTERM lose the running one, whose configuration is tried again.

    Args:
        plan: From `galatune.scan`.
        objective: The old study's objective, unchanged.
        source: Storage of the old study, if the plan's has its password left out.
        into: File or URL of the smaller study; None for ``<study>-gala.db`` in the working directory.
        name: Name of the smaller study; None for ``<study>-gala``.
        options: See `RunOptions`.
        watcher: Told how the run proceeds.
        agree: Asked before a study is continued with other options or other code than it was begun with,
            and before trials that differ in their seed alone; None refuses.
        enqueued: Configurations that are tried first, without what is dropped; they are counted.
        origin: Where worker processes get the objective from; None if they can import it by its name, as
            `pickle` does.
        **settings: Fields of `RunOptions`, if ``options`` is not given.

    Returns:
        The smaller study. Its user attribute ``galatune`` holds the plan, the options and why it stopped.

    Raises:
        PlanError: Nothing is dropped, an option contradicts the plan, or the smaller study is another's.
        StorageError: A storage cannot be opened, or is lost on the way.
        ObjectiveError: The objective failed five times in a row, or in every trial.

    Example:
        >>> import galatune
        >>> from galatune.demo.objective import objective
        >>> study = galatune.run(galatune.scan("old.db"), objective, trials=20)  # doctest: +SKIP
    """
    into, name = pilot_place(plan, into, name)
    begun = begun_study(plan, into, name)
    chosen, about_pilot = with_pilot(plan, checked(plan, options, settings), begun, agree)
    check_polish(chosen)
    if not plan.kept and chosen.trials is None:
        chosen = _few_alike(plan, chosen, agree, begun.options)
    place = old_place(plan, source)
    budget, about_old, bound, pruning = read_old(place, plan, chosen, objective)
    about_old |= {} if about_pilot is None else {"pilot": about_pilot}
    chosen, budget = chosen.bounded(bound), _within_grid(budget, plan, chosen)
    warm = best_of_storage(place, plan, chosen.warm_start)
    storage = open_target(into, plan.study, source=place, name=name)
    file, own_name = default_target(plan.study)
    with quiet(), storage_errors(into or file), restored_afterwards():
        code, own_name = Fingerprint.of(objective), name or own_name
        plan = as_begun(plan, storage, own_name)
        study = create_or_continue(storage, own_name, plan, code, chosen, pruning, about_old, agree)
        bring(study, begun.carried)
        budget = budget.begun(study)
        with not_deleted(storage, study):
            queue_first(study, warm)
            queue_enqueued(study, enqueued, len(warm))
            search = Search(study, plan, objective, chosen, budget, watcher, pruning=pruning)
            if chosen.workers == 1:
                run_trials(search)
            else:
                run_workers(search, origin or Importable(objective), into or file)
    return study


def checked(plan: ShrinkPlan, options: RunOptions | None, settings: Mapping[str, Any]) -> RunOptions:
    """The options, checked: what contradicts itself or the plan is said before anything is made."""
    if options is not None and settings:
        raise TypeError(f"give options or settings, not both; however: options and {', '.join(settings)}")
    options = options or RunOptions(**settings)
    check_ranks()
    if not 0 <= options.seed <= MOST_SEED:
        raise PlanError(f"--seed must lie between 0 and {MOST_SEED}, however: {options.seed}")
    if not 1 <= options.workers <= MOST_WORKERS:
        raise PlanError(f"--workers must lie between 1 and {MOST_WORKERS}, however: {options.workers}")
    if not math.isfinite(options.min_lr):
        raise PlanError(f"--min-lr must be finite, however: {options.min_lr}")
    check_control(options)
    check_polish(options)
    Options.of(options.controller_options())
    if not plan.placeholders:
        raise PlanError(
            f"study {printable(plan.study)!r} has no learning rate to remove (its parameters: "
            f"{listed(plan.kept) or 'none'}); name one with --lr"
        )
    return options


def pilot_place(plan: ShrinkPlan, into: str | None, name: str | None) -> tuple[str | None, str | None]:
    """The study of the pilot that a plan carries, unless another place or name is given."""
    found = plan.pilot
    if found is None or into is not None or name is not None:
        return into, name
    if found.storage is not None and is_url(found.storage) and HIDDEN in found.storage:
        raise PlanError(f"the pilot's {redact(found.storage)} has its password left out; give it with --into")
    return found.storage, found.study


def _few_alike(
    plan: ShrinkPlan, options: RunOptions, agree: Callable[[str], bool] | None, begun: Mapping[str, Any]
) -> RunOptions:
    """If nothing but rates was searched, trials differ in their seed alone: ask once, and run few."""
    few = replace(options, trials=MOST_ALIKE, until_match=True)
    if begun.get("trials") == few.trials and begun.get("until_match") == few.until_match:
        return few
    words = (
        f"study {printable(plan.study)!r} searched nothing but {listed(plan.placeholders)}, so every trial "
        "would be the same configuration with another seed"
    )
    question = f"{words[0].upper()}{words[1:]}. Run it at most {MOST_ALIKE} times?"
    if agree is None or not agree(question):
        raise PlanError(f"{words}; say how many with --trials, or --yes for at most {MOST_ALIKE}")
    return few


def old_place(plan: ShrinkPlan, source: str | None) -> str:
    """Where the old study is."""
    if source is None and is_url(plan.storage) and HIDDEN in plan.storage:
        raise PlanError(f"the plan's {redact(plan.storage)} has its password left out; give it with source=")
    return source or plan.storage


def read_old(
    place: str, plan: ShrinkPlan, options: RunOptions, objective: Objective
) -> tuple[Budget, dict[str, Any], RateBound | None, Pruning]:
    """What follows from the old study: budget, what the smaller one says of it, bounds, pruner."""
    with open_source(place) as opened:
        old = opened.study(plan.study)
        budget = budget_for(
            old,
            plan.placeholders,
            trials=options.trials,
            until_match=options.until_match,
            tolerance=options.tolerance,
            patience=options.patience,
            confirm=options.confirm,
            repeats=options.repeats,
        )
        rows = ledger(old)
        goal = goal_of(rows, 0.0)
        controls = options.control == "on"
        pruning = pruning_for(OldPruning.of(old), options.pruner, controls=controls)
        bound = rate_bound(plan, rows, objective) if controls and options.max_lr is None else None
    about = {"storage": redact(plan.storage), "study": plan.study, "sampler": None, **_best(goal)}
    if bound is not None:
        about["bounds"] = bound.reason
    return budget, about, bound, pruning


def _within_grid(budget: Budget, plan: ShrinkPlan, options: RunOptions) -> Budget:
    """Without ``--trials``, each cell of a grid is tried once."""
    drawn = options.sampler in (None, "grid") and plan.grid is not None
    if not drawn or options.trials is not None or plan.grid is None:
        return budget
    if plan.grid.cells > budget.trials:
        return budget
    return replace(budget, trials=plan.grid.cells, whole_grid=True)


def _best(goal: Goal | None) -> dict[str, Any]:
    """The old best, as `galatune.study.ledger.ending` reads it."""
    if goal is None or goal.reference_point is None:
        return {"best_value": None if goal is None else goal.best}
    volume = {"hypervolume": goal.best, "reference_point": list(goal.reference_point)}
    return {"best_value": None, **volume}
