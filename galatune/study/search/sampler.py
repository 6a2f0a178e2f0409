"""Samplers whose draws can be repeated: they depend on seed, ticket and finished trials alone."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna import samplers
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import PlanError
from galatune.formatting import printable
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.finite_space import FiniteSpace, finite_space
from galatune.study.search.grid_sampler import SeededGrid
from galatune.study.search.quota import ticket_of

__all__ = ["SAMPLERS", "SeededSampler", "sampler_for", "sampler_name"]


class _Sequence(samplers.QMCSampler):
    """The point of a quasi-random sequence that belongs to a ticket.

    Optuna's own counts draws in the study, so that an interruption would leave a point out.
    """

    def __init__(self, seed: int, ticket_seed: int, ticket: int) -> None:
        independent = samplers.RandomSampler(seed=ticket_seed)
        super().__init__(
            scramble=True, seed=seed, independent_sampler=independent, warn_independent_sampling=False
        )
        self._ticket = ticket

    def _find_sample_id(self, *_: Any) -> int:
        return self._ticket


class _CovarianceMatrix(samplers.CmaEsSampler):
    """CMA-ES whose draws depend on the ticket; Optuna's depend on the trial's number."""

    def __init__(self, ticket_seed: int, ticket: int) -> None:
        super().__init__(seed=ticket_seed, warn_independent_sampling=False)
        self._ticket = ticket

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        numbered = copy.copy(trial)
        numbered.number = self._ticket
        return super().sample_relative(study, numbered, search_space)


Make = Callable[[int, int, int], BaseSampler]
"""From the seed of the run, that of a ticket, and the ticket, to the sampler of one trial."""

SAMPLERS: Mapping[str, Make] = {
    "tpe": lambda _, seed, __: samplers.TPESampler(seed=seed),
    "random": lambda _, seed, __: samplers.RandomSampler(seed=seed),
    "qmc": _Sequence,
    "gp": lambda _, seed, __: samplers.GPSampler(seed=seed),
    "cmaes": lambda _, seed, ticket: _CovarianceMatrix(seed, ticket),
    "nsgaii": lambda _, seed, __: samplers.NSGAIISampler(seed=seed),
    "nsgaiii": lambda _, seed, __: samplers.NSGAIIISampler(seed=seed),
}
"""What ``--sampler`` may name, beside "grid"."""

NEEDS = {"qmc": "scipy", "gp": "scipy", "cmaes": "cmaes"}
"""Packages that Optuna does not bring."""

ONE_OBJECTIVE = ("cmaes",)


def sampler_for(chosen: str | BaseSampler | None, plan: ShrinkPlan, seed: int) -> BaseSampler:
    """The sampler of a smaller study.

    Args:
        chosen: A name of `SAMPLERS`, "grid", a sampler of Optuna's, which is used as it is, or None: "grid"
            if the old study had one, else "tpe".
        plan: What is dropped; its grid.
        seed: Of the run.

    Raises:
        PlanError: There is no such sampler, its package is missing, or it does not fit the study.
    """
    if isinstance(chosen, BaseSampler):
        return chosen
    name = chosen or ("tpe" if plan.grid is None else "grid")
    if name == "grid" and plan.grid is None:
        raise PlanError(
            f"--sampler grid rebuilds the grid of an old study, however: {printable(plan.study)!r} has none "
            "that holds a rate; in Python give sampler=optuna.samplers.GridSampler(...)"
        )
    if name == "grid" and plan.grid is not None:
        return SeededGrid(seed, plan.grid)
    if name not in SAMPLERS:
        raise PlanError(f"--sampler must be one of {', '.join((*SAMPLERS, 'grid'))}, however: {chosen!r:.80}")
    package = NEEDS.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise PlanError(
            f"--sampler {name} needs the package {package}, which is not installed; pip install it"
        )
    if name in ONE_OBJECTIVE and len(plan.directions) > 1:
        raise PlanError(
            f"--sampler {name} knows one objective, however: the study has {len(plan.directions)}"
        )
    return SeededSampler(seed, name)


def sampler_name(sampler: BaseSampler) -> str:
    """Class name of the sampler of Optuna's that draws."""
    return str(getattr(sampler, "name", type(sampler).__name__))


class SeededSampler(BaseSampler):
    """One of Optuna's samplers that starts anew in every trial, with a seed for that trial.

    A run that was interrupted and continued draws what it would have drawn without the interruption,
    and never the first draws twice. Of a finite space each configuration is drawn once before any is again.

    Args:
        seed: Of the whole run.
        kind: A name of `SAMPLERS`.
    """

    def __init__(self, seed: int, kind: str = "tpe") -> None:
        self._seed, self._kind = seed, kind
        self._inner = self._made(seed, 0)
        self._rng = np.random.default_rng(seed)
        self._inner_space: dict[str, BaseDistribution] = {}
        self._finite: FiniteSpace | None = None

    @property
    def name(self) -> str:
        """Of the sampler that draws."""
        kind = type(self._inner)
        own = kind in (_Sequence, _CovarianceMatrix)
        return kind.__base__.__name__ if own and kind.__base__ is not None else kind.__name__

    def _made(self, seed: int, ticket: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return SAMPLERS[self._kind](self._seed, seed, ticket)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Make this trial's sampler."""
        ticket = ticket_of(study, trial)
        mixed = np.random.SeedSequence([self._seed, ticket]).generate_state(1)
        self._inner = self._made(int(mixed[0]), ticket)
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
