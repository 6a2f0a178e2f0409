"""The best trial with its dropped dimensions filled in, so that it can be trained once more."""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalChoiceType, json_to_distribution
from optuna.trial import FixedTrial, FrozenTrial

from galatune.errors import PlanError, StorageError
from galatune.formatting import printable
from galatune.study.ledger.attributes import DROPPED, POLISH, RECORD, SCHEMA
from galatune.study.ledger.polish import Polish
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.record import TrialRecord
from galatune.study.scan.dimensions import RateDimension
from galatune.study.scan.distributions import from_rate
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.stored_choices import as_stored, own_choice

__all__ = ["fixed_trial", "found_rates"]


def fixed_trial(study: optuna.Study) -> FixedTrial:
    """The best trial of a smaller study, as the unchanged objective expects it.

    ``FixedTrial(study.best_params)`` raises once the objective suggests a dimension that was dropped. Here
    a dropped rate is answered with the peak of the rates that the controller found, at the nearest legal
    value; any other dropped dimension with the value that it was fixed at. If the rate itself was fixed, by
    ``--control off`` or in a trial that polished, it has that value. Train inside `galatune.controlled` to
    have it controlled again; with ``step_scale_factor``, if the trial polished with one.

    Args:
        study: A study made by `galatune.run`, or optimized by `galatune.optimize`.

    Raises:
        PlanError: Another kind of study, or one with several objectives.
        StorageError: No trial is complete yet.
    """
    trials = study.get_trials(deepcopy=False)
    plan = None if any(DROPPED in trial.user_attrs for trial in trials) else _plan(study)
    name = printable(study.study_name)
    if len(study.directions) > 1:
        raise PlanError(f"{name} has several objectives and no single best trial; choose one of best_trials")
    try:
        best = study.best_trial
    except ValueError as error:
        raise StorageError(f"No trial of {name} is complete yet; run it first") from error
    return _BestTrial({**found_rates(study, plan, best), **best.params}, number=best.number)


def found_rates(study: optuna.Study, plan: ShrinkPlan | None, trial: FrozenTrial) -> dict[str, Any]:
    """What a trial's dropped dimensions are filled in with; see `fixed_trial`.

    Args:
        study: The smaller study.
        plan: What was dropped from it; None if `galatune.optimize` made it.
        trial: Of that study.
    """
    fixed = Provenance.of(study).fixed_rates is not None
    peak = None if fixed else _peak(TrialRecord.from_attribute(trial.user_attrs.get(RECORD)))
    filled: dict[str, Any] = {d.name: _fill(d, peak) for d in _dropped(plan, trial)}
    polish = Polish.from_attribute(trial.user_attrs.get(POLISH))
    return filled | ({} if polish is None else dict(polish.rates))


class _BestTrial(FixedTrial):
    """Its parameters come from a storage, which keeps lists where the objective has tuples."""

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        stored = as_stored(distribution)
        answer = own_choice(super()._suggest(name, stored), stored, distribution)
        self._suggested_params[name], self._distributions[name] = answer, distribution
        return answer


def _dropped(plan: ShrinkPlan | None, best: FrozenTrial) -> list[RateDimension]:
    """What the objective suggests and the best trial does not have.

    Without a plan, `galatune.optimize` has written it into each trial that was controlled.
    """
    if plan is None:
        return [RateDimension(**one) for one in best.user_attrs.get(DROPPED, ())]
    return [d for d in plan.learning_rate if d.dropped]


def _plan(study: optuna.Study) -> ShrinkPlan:
    provenance = Provenance.of(study)
    if provenance.schema != SCHEMA or not provenance.plan:
        raise PlanError(
            f"{printable(study.study_name)} was not made by this galatune, so nothing was dropped from it; "
            "use optuna.trial.FixedTrial(study.best_params)"
        )
    return ShrinkPlan.from_json(provenance.plan)


def _peak(record: TrialRecord | None) -> float | None:
    """Highest rate applied in the trial, None if none was recorded."""
    rates = [point.rate for point in record.learning_rate] if record is not None else []
    return max((rate for rate in rates if math.isfinite(rate) and rate > 0), default=None)


def _fill(dimension: RateDimension, peak: float | None) -> CategoricalChoiceType:
    """One dropped dimension's value."""
    if dimension.role == "rate" and peak is not None and dimension.distribution_json:
        value = from_rate(peak, json_to_distribution(dimension.distribution_json), dimension.scale)
        if value is not None:
            return value  # type: ignore[no-any-return]  # a choice, a float or an int, as the distribution says
    return dimension.placeholder
