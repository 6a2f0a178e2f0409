"""A remaining search space of few configurations: each is tried once before any is tried again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.attributes import INTERRUPTED
from galatune.study.scan.distributions import nearest

__all__ = ["FiniteSpace", "finite_space"]

MOST_CONFIGURATIONS = 10_000
"""Spaces with more are taken for infinite: no search comes to their end."""

Configuration = tuple[str, ...]


@dataclass(frozen=True)
class FiniteSpace:
    """Every combination of a few values.

    Attributes:
        distributions: Parameter to distribution, as a storage keeps it.
        values: Parameter to its values.
    """

    distributions: Mapping[str, BaseDistribution]
    values: Mapping[str, Sequence[Any]]

    @property
    def size(self) -> int:
        """Number of configurations."""
        return math.prod(map(len, self.values.values()))

    def untried(self, trials: Collection[FrozenTrial]) -> list[dict[str, Any]]:
        """Configurations that no trial has tried; one that was interrupted has not."""
        tried = {self._text(trial.params) for trial in trials if _tries(trial)}
        combinations = itertools.product(*self.values.values())
        every = (dict(zip(self.values, values, strict=True)) for values in combinations)
        return [one for one in every if self._text(one) not in tried]

    def near(
        self, proposal: Mapping[str, Any], untried: Sequence[dict[str, Any]], rng: np.random.Generator
    ) -> dict[str, Any]:
        """The untried configuration that has most values of a proposal; one of them at random."""
        shared = [sum(repr(proposal[n]) == repr(v) for n, v in one.items()) for one in untried]
        most = max(shared)
        best = [one for one, count in zip(untried, shared, strict=True) if count == most]
        return best[rng.integers(len(best))]

    def _text(self, params: Mapping[str, Any]) -> Configuration:
        # Compared by text: a choice may be a list, which cannot be hashed, or NaN, which equals nothing.
        return tuple(repr(params[name]) for name in self.values)


def finite_space(trials: Collection[FrozenTrial]) -> FiniteSpace | None:
    """The space that trials of one study have searched.

    Returns:
        None if it is infinite or large, nothing is known of it, or it changes from trial to trial.
    """
    spaces = [trial.distributions for trial in trials if trial.state.is_finished() and trial.distributions]
    if not spaces or any(space != spaces[0] for space in spaces):
        return None
    values: dict[str, Sequence[Any]] = {}
    for name, distribution in spaces[0].items():
        known = _values(distribution)
        if known is None or len(known) * math.prod(map(len, values.values())) > MOST_CONFIGURATIONS:
            return None
        values[name] = known
    return FiniteSpace(spaces[0], values)


def _tries(trial: FrozenTrial) -> bool:
    started = trial.state.is_finished() or trial.state == TrialState.RUNNING
    return started and bool(trial.params) and not trial.user_attrs.get(INTERRUPTED)


def _values(distribution: BaseDistribution) -> Sequence[Any] | None:
    if isinstance(distribution, CategoricalDistribution):
        # Of choices that are equal, as True and 1 are, Optuna knows the first alone.
        firsts = {distribution.to_internal_repr(choice) for choice in distribution.choices}
        return [distribution.choices[int(first)] for first in sorted(firsts)]
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        count = round((distribution.high - distribution.low) / distribution.step)
        return [nearest(distribution, distribution.low + i * distribution.step) for i in range(count + 1)]
    return None
