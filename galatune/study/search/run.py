"""`run`: the smaller study, under control, resumable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.controller.options import Options
from galatune.errors import ObjectiveError, PlanError
from galatune.formatting import printable
from galatune.study.ledger.attributes import REASON, STAGE, UNFINISHED
from galatune.study.ledger.match import goal_of
from galatune.study.ledger.provenance import note_stop
from galatune.study.ledger.rows import ledger
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.projection import MOST_ALIKE
from galatune.study.search.create import create_or_continue
from galatune.study.search.fingerprint import Fingerprint
from galatune.study.search.objective import Objective
from galatune.study.search.options import RunOptions, Search, Watcher
from galatune.study.search.quota import claim, hand_back, release, take_over, uses_ticket
from galatune.study.search.signals import Interruption
from galatune.study.search.stopping import budget_for
from galatune.study.storage.address import is_url, redact
from galatune.study.storage.reading import open_source
from galatune.study.storage.writing import default_target, open_target, storage_errors

__all__ = ["run"]

MOST_FAILURES = 5
"""This many FAILs in a row end the run."""

HIDDEN = ":***@"
"""Where a plan's storage had its password."""

MOST_SEED = 2**32 - 1
"""What numpy takes."""


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
    **settings: Any,
) -> optuna.Study:
    """Run the smaller study: the dropped dimensions gone, the learning rate under control.

    The same call continues a study that was interrupted, as if it had not been. Each finished trial is in
    the storage at once; Ctrl-C and SIGTERM lose the running one, whose configuration is tried again.

    Args:
        plan: From `galatune.scan`.
        objective: The old study's objective, unchanged.
        source: Storage of the old study, where the plan's has its password left out.
        into: File or URL of the smaller study; None for ``<study>-gala.db`` in the working directory.
        name: Name of the smaller study; None for ``<study>-gala``.
        options: See `RunOptions`.
        watcher: Told how it goes.
        agree: Asked, with the question, before a study is continued with other options or another version
            of the objective's file than it was begun with, and before trials that differ in their seed
            alone; None refuses.
        **settings: Fields of `RunOptions`, where ``options`` is not given.

    Returns:
        The smaller study. Its user attribute ``galatune`` holds the plan, the options and why it stopped.

    Raises:
        PlanError: The plan drops nothing or leaves nothing, an option contradicts it, or the smaller study
            is another one's.
        StorageError: A storage cannot be opened, or is lost on the way.
        ObjectiveError: The objective failed five times in a row, or in every trial.
        KeyboardInterrupt: Somebody stopped it.

    Example:
        >>> import galatune, optuna
        >>> from galatune.demo.objective import objective
        >>> plan = galatune.scan("old.db")  # doctest: +SKIP
        >>> study = galatune.run(plan, objective, trials=20)  # doctest: +SKIP
    """
    if options is not None and settings:
        raise TypeError(f"give options or settings, not both; however: options and {', '.join(settings)}")
    options = options or RunOptions(**settings)
    _check(options)
    if not plan.placeholders:
        raise PlanError(
            f"study {printable(plan.study)!r} has no learning rate to remove (its parameters: "
            f"{', '.join(map(printable, plan.kept)) or 'none'}); name one with --lr"
        )
    options = _alike(plan, options, agree)
    place = source or plan.storage
    if source is None and is_url(place) and HIDDEN in place:
        raise PlanError(f"the plan's {redact(place)} has its password left out; give it with source=")
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
    from galatune.controller.torch_hooks.random_state import restored_afterwards  # loads torch

    storage = open_target(into, plan.study, source=place)
    with _quiet(), storage_errors(into or default_target(plan.study)[0]):
        study = create_or_continue(
            storage,
            name or default_target(plan.study)[1],
            plan,
            Fingerprint.of(objective),
            options,
            about_old,
            agree,
        )
        with restored_afterwards():  # each trial seeds all that an objective may draw from
            _search(Search(study, plan, objective, options, budget, watcher))
    return study


def _check(options: RunOptions) -> None:
    """What contradicts itself is said before anything is made."""
    if not 0 <= options.seed <= MOST_SEED:
        raise PlanError(f"--seed must lie between 0 and {MOST_SEED}, however: {options.seed}")
    if not math.isfinite(options.min_lr):
        raise PlanError(f"--min-lr must be finite, however: {options.min_lr}")
    Options.of(options.control())


def _alike(plan: ShrinkPlan, options: RunOptions, agree: Callable[[str], bool] | None) -> RunOptions:
    """Where nothing but rates was searched, trials differ in their seed alone: few of them, if any."""
    if plan.kept or options.trials is not None:
        return options
    searched = ", ".join(map(printable, plan.placeholders))
    words = (
        f"study {printable(plan.study)!r} searched nothing but {searched}, so every trial would be the same "
        "configuration with another seed"
    )
    question = f"{words[0].upper()}{words[1:]}. Run it at most {MOST_ALIKE} times?"
    if agree is None or not agree(question):
        raise PlanError(f"{words}; say how many with --trials, or --yes for at most {MOST_ALIKE}")
    return replace(options, trials=MOST_ALIKE, until_match=True)


def _about(old: optuna.Study, plan: ShrinkPlan) -> dict[str, Any]:
    goal = goal_of(ledger(old), 0.0) if len(old.directions) == 1 else None
    best = None if goal is None else goal.best
    return {"storage": redact(plan.storage), "study": plan.study, "sampler": None, "best_value": best}


def _search(search: Search) -> None:
    study, budget, watcher = search.study, search.budget, search.watcher
    failures = 0
    with _as_in_optimize(study), Interruption() as interruption:
        take_over(study)
        if watcher is not None:
            watcher.run_started(budget, study)
        while (reason := budget.stop_reason(study)) is None:
            trial = _trial(search, interruption)
            if trial is None:
                continue
            if watcher is not None:
                watcher.trial_finished(trial)
            failures = failures + 1 if trial.state == TrialState.FAIL else 0
            if failures >= MOST_FAILURES:
                reason = f"{MOST_FAILURES} trials in a row failed"
                break
            if study._stop_flag:
                reason = "the objective stopped the study"
                break
    note_stop(study, reason)
    _check_outcome(study, reason, failures, left=budget.trials - budget.used(study))


def _trial(search: Search, interruption: Interruption) -> FrozenTrial | None:
    """One trial, which is finished or given up at the end, whatever interrupts it.

    Returns:
        None where another process had the last ticket.
    """
    from galatune.study.search.trial_run import run_trial  # loads torch

    study, budget = search.study, search.budget
    trial = None
    try:
        with interruption.held():
            again = budget.to_confirm(study)
            if again is not None:
                study.enqueue_trial(again.params, user_attrs={STAGE: "confirm"})
            trial = study.ask()
            if not claim(study, trial, budget.trials):
                hand_back(study, trial)
                return None
        run_trial(search, trial, interruption)
    except KeyboardInterrupt:
        with interruption.held():
            if trial is not None:
                release(study, trial.number, UNFINISHED)
            note_stop(study, UNFINISHED)
        raise
    return study.get_trials(deepcopy=False)[trial.number]


def _check_outcome(study: optuna.Study, reason: str, failures: int, left: int) -> None:
    """Raise where the objective failed to the end: there is nothing to call a result."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if uses_ticket(trial)]
    every = bool(trials) and all(trial.state == TrialState.FAIL for trial in trials)
    if failures < MOST_FAILURES and not every:
        return
    last = printable(str(trials[-1].user_attrs.get(REASON, "an unknown error")))
    words = reason if failures >= MOST_FAILURES else f"{reason} and every trial failed"
    # An objective that is mended is another one than the good trials had.
    asked = any(trial.state != TrialState.FAIL for trial in trials)
    if left > 0:
        cure = f"run the same command again{' with --yes' if asked else ''}"
    else:
        cure = f"ask for more with --trials{' and --yes' if asked else ''}"
    raise ObjectiveError(f"{words}, the last one with: {last}. Mend it and {cure} to continue")


@contextmanager
def _as_in_optimize(study: optuna.Study) -> Iterator[None]:
    """An objective may call ``trial.study.stop()``, which Optuna allows inside `optimize` only."""
    study._stop_flag = False
    study._thread_local.in_optimize_loop = True
    try:
        yield
    finally:
        study._thread_local.in_optimize_loop = False


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says a line a trial; the watcher says it better."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
