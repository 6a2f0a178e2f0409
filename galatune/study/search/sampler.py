"""A sampler whose draws can be repeated: they depend on seed, ticket and finished trials alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from galatune.study.search.finite_space import FiniteSpace, finite_space
from galatune.study.search.quota import ticket_of

__all__ = ["SeededSampler"]


class SeededSampler(BaseSampler):
    """TPE that starts anew in every trial, with a seed for that trial.

    A run that was interrupted and continued draws what it would have drawn without the interruption,
    and never the first draws twice. Of a finite space each configuration is drawn once before any is again.

    Args:
        seed: Of the whole run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._inner: BaseSampler = TPESampler(seed=seed)
        self._rng = np.random.default_rng(seed)
        self._inner_space: dict[str, BaseDistribution] = {}
        self._finite: FiniteSpace | None = None

    @property
    def name(self) -> str:
        """Of the sampler that draws."""
        return type(self._inner).__name__

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Make this trial's sampler."""
        mixed = np.random.SeedSequence([self._seed, ticket_of(study, trial)]).generate_state(1)
        self._inner = TPESampler(seed=int(mixed[0]))
        self._rng = np.random.default_rng(int(mixed[0]))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `optuna.samplers.BaseSampler`."""
        self._inner_space = self._inner.infer_relative_search_space(study, trial)
        self._finite = finite_space(study.get_trials(deepcopy=False))
        return self._inner_space if self._finite is None else dict(self._finite.distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `optuna.samplers.BaseSampler`."""
        drawn = self._inner.sample_relative(study, trial, self._inner_space)
        untried = [] if self._finite is None else self._finite.untried(study.get_trials(deepcopy=False))
        if not untried:
            return drawn
        rest = [(name, space) for name, space in search_space.items() if name not in drawn]
        proposal = drawn | {n: self._inner.sample_independent(study, trial, n, space) for n, space in rest}
        assert self._finite is not None
        return self._finite.near(proposal, untried, self._rng)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See `optuna.samplers.BaseSampler`."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """See `optuna.samplers.BaseSampler`."""
        self._inner.after_trial(study, trial, state, values)
