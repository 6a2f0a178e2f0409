"""The trials of the smaller search as a script expects them: with a rate."""

from __future__ import annotations

import copy
from collections.abc import Collection

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, json_to_distribution
from optuna.trial import FrozenTrial

from galatune.study.ledger.attributes import RECORD
from galatune.study.ledger.provenance import Provenance
from galatune.study.scan.dimensions import RateDimension
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.fixed_trial import found_rates
from galatune.study.search.repeats import old_rates

__all__ = ["filled_trial"]


def filled_trial(
    study: optuna.Study, trial: FrozenTrial, asked: Collection[str] | None = None
) -> FrozenTrial:
    """A trial with the dimensions that were dropped: rates at the peak that was found.

    Args:
        study: The smaller study.
        trial: Of that study.
        asked: The dropped dimensions that it has asked for; None if that is not known.
    """
    plan = ShrinkPlan.from_json(Provenance.of(study).plan)
    unfinished = not trial.state.is_finished()
    found = {} if unfinished else old_rates(trial) or found_rates(study, plan, trial)
    found = {name: value for name, value in found.items() if not asked or name in asked}
    filled = copy.copy(trial)
    spaces = {d.name: _space(d, found[d.name]) for d in plan.learning_rate if d.name in found}
    filled._distributions = {**spaces, **trial.distributions}
    filled.params = {**found, **trial.params}
    filled.user_attrs = {key: value for key, value in trial.user_attrs.items() if key != RECORD}
    return filled


def _space(dimension: RateDimension, value: object) -> BaseDistribution:
    if dimension.distribution_json:
        space = json_to_distribution(dimension.distribution_json)
        if space._contains(space.to_internal_repr(value)):
            return space
    return CategoricalDistribution([value])  # type: ignore[list-item]  # a value of the old study
