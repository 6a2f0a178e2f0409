"""Constraints of a trial, as any version of Optuna stores them: above 0 is a violation."""

from __future__ import annotations

import numbers
from collections.abc import Sequence

from optuna.trial import FrozenTrial

__all__ = ["feasible", "known_to_the_sampler_alone"]

BY_SAMPLER = "constraints"
"""System attribute: what a sampler's ``constraints_func`` said of the trial, a list."""

BY_OBJECTIVE = "constraints:"
"""Beginning of the system attributes that ``trial.set_constraint`` makes (Optuna 5)."""


def feasible(trial: FrozenTrial) -> bool:
    """Whether no constraint is violated; a trial without constraints violates none."""
    listed = trial.system_attrs.get(BY_SAMPLER) or ()
    named = [value for key, value in trial.system_attrs.items() if key.startswith(BY_OBJECTIVE)]
    return all(value <= 0 for value in (*listed, *named) if isinstance(value, numbers.Real))


def known_to_the_sampler_alone(trials: Sequence[FrozenTrial]) -> bool:
    """Whether constraints were computed outside the objective, by a function that no storage keeps."""
    return any(trial.system_attrs.get(BY_SAMPLER) for trial in trials)
