"""Constraints of a trial, as any version of Optuna stores them: above 0 is a violation."""

from __future__ import annotations

import numbers
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from galatune.study.ledger.attributes import OBJECTIVE_CONSTRAINTS, SAMPLER_CONSTRAINTS

__all__ = ["feasible", "known_to_the_sampler_alone"]


def feasible(trial: FrozenTrial) -> bool:
    """Whether no constraint is violated; a trial without constraints violates none."""
    listed = trial.system_attrs.get(SAMPLER_CONSTRAINTS) or ()
    named = [value for key, value in trial.system_attrs.items() if key.startswith(OBJECTIVE_CONSTRAINTS)]
    return all(value <= 0 for value in (*listed, *named) if isinstance(value, numbers.Real))


def known_to_the_sampler_alone(trials: Sequence[FrozenTrial]) -> bool:
    """Whether constraints were computed outside the objective, by a function that no storage keeps."""
    return any(trial.system_attrs.get(SAMPLER_CONSTRAINTS) for trial in trials)
