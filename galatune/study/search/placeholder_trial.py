"""The trial that answers dropped dimensions with constants, so that an unchanged objective runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalChoiceType

from galatune.study.scan.distributions import as_number, is_legal, nearest

__all__ = ["PlaceholderTrial"]

_ANSWERS = "_galatune_answers"


class PlaceholderTrial(optuna.trial.Trial):
    """A trial whose dropped dimensions are answered with constants and never stored.

    It is the original trial under another class: both share one ``__dict__``, so `isinstance`, `tell`,
    pruners and storages treat it as before. The sampler and the storage never see a dropped
    dimension; ``params`` and ``distributions`` show it to the running objective only.

    Make one with `adopt`; the constructor would ask the sampler a second time.
    """

    @classmethod
    def adopt(
        cls, trial: optuna.trial.Trial, placeholders: Mapping[str, CategoricalChoiceType]
    ) -> PlaceholderTrial:
        """Put a trial under this class.

        Args:
            trial: From `study.ask`.
            placeholders: Dropped dimension to the constant that answers it.
        """
        self = cls.__new__(cls)
        self.__dict__ = trial.__dict__
        self.__dict__[_ANSWERS] = (dict(placeholders), {}, {})
        return self

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        placeholders, params, distributions = self.__dict__[_ANSWERS]
        if name not in placeholders:
            return super()._suggest(name, distribution)
        params[name] = legal_answer(placeholders[name], distribution)
        distributions[name] = distribution
        return params[name]

    @property
    def answered(self) -> tuple[str, ...]:
        """Dropped dimensions that the objective has asked for."""
        return tuple(self.__dict__[_ANSWERS][1])

    @property
    def params(self) -> dict[str, Any]:
        """Sampled parameters and the answers given so far."""
        return {**super().params, **self.__dict__[_ANSWERS][1]}

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions of `params`."""
        return {**super().distributions, **self.__dict__[_ANSWERS][2]}


def legal_answer(placeholder: CategoricalChoiceType, distribution: BaseDistribution) -> Any:
    """The placeholder, or the legal value nearest to it if the distribution has changed since.

    Example:
        >>> from optuna.distributions import FloatDistribution
        >>> legal_answer(0.5, FloatDistribution(1e-4, 1e-1, log=True))
        0.1
    """
    if is_legal(distribution, placeholder):
        return placeholder
    return nearest(distribution, as_number(placeholder) or 0.0)
