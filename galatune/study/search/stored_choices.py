"""Choices as a storage keeps them: JSON knows lists and no tuples.

A study that is loaded again has lists where the objective suggests tuples, and Optuna takes that for another
search space. So the study only ever sees the form that is stored, and the objective only its own choices.
"""

from __future__ import annotations

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)

from galatune.study.storage.reading import quiet

__all__ = ["as_stored", "own_choice"]

_SCALARS = (str, int, float, bool, type(None))


def as_stored(distribution: BaseDistribution) -> BaseDistribution:
    """A distribution as it comes back from a storage; choices that no storage can keep stay as they are."""
    if not isinstance(distribution, CategoricalDistribution):
        return distribution
    if all(isinstance(choice, _SCALARS) for choice in distribution.choices):
        return distribution
    try:
        with quiet():
            return json_to_distribution(distribution_to_json(distribution))
    except (TypeError, ValueError):  # not JSON: only a study in memory can have it
        return distribution


def own_choice(value: Any, stored: BaseDistribution, own: BaseDistribution) -> Any:
    """The objective's own choice for one as it is stored; every other value as it is.

    Args:
        value: ``[1, 2]``, for example.
        stored: `as_stored` of ``own``.
        own: As the objective made it, with the choice ``(1, 2)``, which is then the answer.
    """
    if stored is own or not isinstance(own, CategoricalDistribution):
        return value
    return own.choices[int(stored.to_internal_repr(value))]
