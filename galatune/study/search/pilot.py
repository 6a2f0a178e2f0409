"""`pilot`: a few pairs of trainings choose how the smaller search sets its rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna

from galatune.controller.torch_hooks.random_state import restored_afterwards
from galatune.errors import ObjectiveError, PlanError
from galatune.formatting import plural, printable
from galatune.study.ledger.attributes import PILOT, REASON
from galatune.study.ledger.match import oriented
from galatune.study.ledger.pilot import pilot_of
from galatune.study.ledger.pilot_arm import ARMS
from galatune.study.ledger.pilot_choice import FEWEST_PAIRS
from galatune.study.ledger.pilot_report import PilotReport
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import ledger
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.blocks import not_deleted, quiet
from galatune.study.search.create import as_begun, create_or_continue, study_names
from galatune.study.search.fingerprint import Fingerprint
from galatune.study.search.loop import run_trials
from galatune.study.search.objective import Objective
from galatune.study.search.options import RunOptions, Search, Watcher
from galatune.study.search.pilot_budget import PilotBudget, most_pairs, nothing_but_failures
from galatune.study.search.run import checked, old_place, read_old
from galatune.study.search.warm_start import OldConfiguration, best_configurations
from galatune.study.storage.address import redact
from galatune.study.storage.reading import open_source
from galatune.study.storage.writing import default_target, open_target, storage_errors

__all__ = ["MOST_PAIRS", "pilot"]

MOST_PAIRS = 1000


def pilot(
    plan: ShrinkPlan,
    objective: Objective,
    *,
    pairs: int | None = None,
    margin: float | None = None,
    source: str | None = None,
    into: str | None = None,
    name: str | None = None,
    options: RunOptions | None = None,
    watcher: Watcher | None = None,
    agree: Callable[[str], bool] | None = None,
    **settings: Any,
) -> PilotReport:
    """Compare control with a fixed rate on the best old configurations, and choose the way to go.

    The old best is repeated at its own rates, as in a run. Then pairs follow, one after the other: one
    configuration, one seed, one training under control and one with the rate fixed at the old best's. They
    are trials of the smaller study of the stage "pilot", on top of the budget: the same call continues a
    pilot that was interrupted, and `galatune.run` continues the study with its choice.

    Args:
        plan: From `galatune.scan`.
        objective: The old study's objective, unchanged.
        pairs: At most so many. None: at most 5, as far as their trainings are at most 15 % of the old
            study's trials, but always 2.
        margin: Differences up to this size count as none, in the units of the objective. None for that of
            the goal: the larger of tolerance and one standard error of the repeats.
        source: See `galatune.run`, like the next two.
        into: File or URL of the smaller study.
        name: Name of the smaller study.
        options: Those of its trainings; what only the search needs has no meaning here.
        watcher: Told how it proceeds.
        agree: Asked before a pilot is continued with other options or other code; None refuses.
        **settings: Fields of `RunOptions`, if ``options`` is not given.

    Returns:
        Its choice; ``.text()`` says it.

    Raises:
        PlanError: There is nothing to compare, or an option makes no sense.
        StorageError: A storage cannot be opened, or is lost on the way.
        ObjectiveError: The objective failed five times in a row, or a loop that asks for trials ended before
            the first pair.

    Example:
        >>> import galatune
        >>> from galatune.demo.objective import objective
        >>> report = galatune.pilot(galatune.scan("old.db"), objective)  # doctest: +SKIP
        >>> report.verdict, report.way  # doctest: +SKIP
        ('go', 'controlled')
    """
    chosen = _checked(plan, checked(plan, options, settings), pairs, margin)
    place = old_place(plan, source)
    own = _budget(place, plan, pairs, margin, chosen)
    usual, about_old, bound, pruning = read_old(place, plan, chosen, objective)
    own = replace(own, goal=usual.goal, old_best=usual.old_best)
    storage = open_target(into, plan.study, source=place, name=name)
    file, own_name = default_target(plan.study)
    with quiet(), storage_errors(into or file), restored_afterwards():
        code, own_name = Fingerprint.of(objective), name or own_name
        plan, chosen = as_begun(plan, storage, own_name), chosen.bounded(bound)
        done = _done(storage, own_name, plan, own, pairs)
        if done is None:
            study = create_or_continue(storage, own_name, plan, code, chosen, pruning, about_old, agree)
            budget = own.begun(study)
            if nothing_but_failures(study):  # of an objective that is mended now
                study.set_user_attr(PILOT, {})
            with not_deleted(storage, study):
                run_trials(Search(study, plan, objective, chosen, budget, watcher, pruning=pruning))
                done = pilot_of(ledger(study))
    if done is None:
        raise ObjectiveError(_cut_short(study))
    return replace(done, storage=redact(into or file))


def _cut_short(study: optuna.Study) -> str:
    """That the loop of a script ended it before its terms were set."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    reason = ended[-1].user_attrs.get(REASON) if ended else None
    last = "" if reason is None else f" (the last one failed: {printable(str(reason))})"
    return (
        f"the pilot was ended after {plural(len(ended), 'training')}{last}, before its first pair: the loop "
        "that asks for trials ends; the same command goes on"
    )


def _checked(plan: ShrinkPlan, options: RunOptions, pairs: int | None, margin: float | None) -> RunOptions:
    if options.control is not None:
        raise PlanError("a pilot trains both with and without control; leave control out")
    if options.workers > 1:
        raise PlanError("a pilot trains one pair after another; leave workers out")
    if pairs is not None and not FEWEST_PAIRS <= pairs <= MOST_PAIRS:
        raise PlanError(f"--pairs must lie between {FEWEST_PAIRS} and {MOST_PAIRS}, however: {pairs}")
    if margin is not None and not (math.isfinite(margin) and margin >= 0):
        raise PlanError(
            f"--margin must be finite and at least 0, in the objective's units, however: {margin}"
        )
    if len(plan.directions) > 1:
        raise PlanError(
            f"a pilot compares one value, however: study {printable(plan.study)!r} has "
            f"{len(plan.directions)} objectives; compare galatune run with --control on and off instead"
        )
    return replace(options, control="on")


def _budget(
    place: str, plan: ShrinkPlan, pairs: int | None, margin: float | None, options: RunOptions
) -> PilotBudget:
    """Which old configurations are run, and how many at most."""
    with open_source(place) as opened:
        old = opened.study(plan.study)
        rows = ledger(old)
        if not rows.complete:
            raise PlanError(
                f"study {printable(plan.study)!r} has no complete trial, so there is no configuration to "
                "compare the ways at; run a few trials of it first"
            )
        most = most_pairs(pairs, len(rows.finished))
        found = best_configurations(old, plan.placeholders, most)
    best = min(rows.complete, key=lambda row: oriented(row, rows.directions))
    kept = {name: value for name, value in best.params.items() if name not in plan.placeholders}
    values = {row.number: row.value for row in rows.complete if row.value is not None}
    found = found or (OldConfiguration(best.number, kept),)
    return PilotBudget(
        trials=len(ARMS) * most + options.repeats,
        until_match=False,
        configurations=found,
        old_values=tuple((one.trial, values[one.trial]) for one in found if one.trial in values),
        pairs=most,
        margin=margin,
        old_trials=len(rows.finished),
        best_trial=best.number,
    )


def _done(
    storage: optuna.storages.BaseStorage, name: str, plan: ShrinkPlan, budget: PilotBudget, pairs: int | None
) -> PilotReport | None:
    """A pilot that is over already; None if it is to be begun or continued."""
    if name not in study_names(storage):
        return None
    study = optuna.load_study(study_name=name, storage=storage)
    if Provenance.of(study).plan.get("study") != plan.study:
        return None  # what is wrong is said where it is continued
    budget.check(study, pairs)
    if nothing_but_failures(study):
        return None
    found = pilot_of(ledger(study))
    return found if found is not None and found.over else None
