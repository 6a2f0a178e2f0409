"""What the sampler sees of the smaller study: its trials without the repeats of the old best.

Those ran at the old rates. A sampler would take them for controlled trials of the smaller space, and would be
drawn to the old best by what its rate reached.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.attributes import STAGE

__all__ = ["SearchedSampler", "is_repeat", "searched"]


def is_repeat(trial: FrozenTrial) -> bool:
    """Whether a trial repeats an old configuration, or one of the best with another rate."""
    return trial.user_attrs.get(STAGE) in ("repeat", "pilot", "polish")


def searched(study: optuna.Study, own: FrozenTrial | None = None) -> optuna.Study:
    """The study without repeats of the old best.

    Args:
        study: The smaller study.
        own: A trial that is seen in any case: the one for which is sampled.
    """
    view = _copied(study)
    view._storage = cast(BaseStorage, _SearchedTrials(study._storage, None if own is None else own._trial_id))
    view.stop = study.stop  # type: ignore[method-assign]  # it knows which loop it is in
    return view


def _copied(study: optuna.Study) -> optuna.Study:
    """A shallow copy; the studies of Hyperband's brackets refuse `copy.copy`."""
    view = type(study).__new__(type(study))
    object.__getattribute__(view, "__dict__").update(object.__getattribute__(study, "__dict__"))
    view._thread_local = type(study._thread_local)()
    return view


class _SearchedTrials:
    """A storage of which one sees what was searched."""

    def __init__(self, storage: BaseStorage, own: int | None) -> None:
        self._storage, self._own = storage, own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = self._storage.get_all_trials(study_id, deepcopy=deepcopy, states=states)
        return [trial for trial in found if trial._trial_id == self._own or not is_repeat(trial)]

    get_best_trial = BaseStorage.get_best_trial  # with the trials of the method above


class SearchedSampler(BaseSampler):
    """A sampler that sees no repeats of the old best.

    Args:
        inner: The sampler that draws.
        name: What it is called.
    """

    def __init__(self, inner: BaseSampler, name: str) -> None:
        self.inner, self.name = inner, name

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """See `optuna.samplers.BaseSampler`, like the following."""
        self.inner.before_trial(searched(study, trial), trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Of the trials that were searched."""
        return self.inner.infer_relative_search_space(searched(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """From the trials that were searched."""
        return self.inner.sample_relative(searched(study, trial), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """From the trials that were searched."""
        return self.inner.sample_independent(searched(study, trial), trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing is learned from a repeat of the old best."""
        if not is_repeat(trial):
            self.inner.after_trial(searched(study, trial), trial, state, values)

    def reseed_rng(self) -> None:
        """Of the sampler that draws."""
        self.inner.reseed_rng()
