"""Which rates move: a training is begun twice, with two answers, and its optimizers are compared.

Nothing trains meanwhile: at the first step of any optimizer the objective is stopped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from galatune.controller.torch_hooks.traced_rates import InitialRates

__all__ = ["Construction", "StoppedAtFirstStep", "constructions", "moved_rates"]


class StoppedAtFirstStep(BaseException):  # like KeyboardInterrupt, no error
    """Raised in a step of the objective's, which is to end."""


@dataclass(frozen=True)
class Construction:
    """One optimizer as it is when the first one steps.

    Attributes:
        name: Class name.
        place: See `InitialRates`.
        rates: Those that its groups were built with.
        present: Those that are set now; empty if it is gone.
    """

    name: str
    place: tuple[tuple[str, int, int], ...]
    rates: tuple[float, ...]
    present: tuple[float, ...] = ()


def constructions(made: Sequence[InitialRates]) -> tuple[Construction, ...]:
    """The optimizers in the order of construction."""
    return tuple(Construction(one.name, one.place, one.rates, one.present()) for one in made)


def moved_rates(
    first: Sequence[Construction], second: Sequence[Construction]
) -> tuple[tuple[Construction, bool], ...] | None:
    """Each optimizer and whether its rate moved.

    Returns:
        None if the two trainings do not have the same optimizers.
    """
    shape = [(one.name, len(one.rates)) for one in first]
    if not shape or shape != [(other.name, len(other.rates)) for other in second]:
        return None
    return tuple((one, _moves(one, other)) for one, other in zip(first, second, strict=True))


def _moves(first: Construction, second: Construction) -> bool:
    pairs = [*zip(first.rates, second.rates, strict=True)]
    if len(first.present) == len(second.present):
        pairs += zip(first.present, second.present, strict=True)
    return any(not math.isclose(one, other, rel_tol=1e-9) for one, other in pairs)
