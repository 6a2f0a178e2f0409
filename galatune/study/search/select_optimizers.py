"""Which optimizers are controlled: those whose initial rate follows a dropped dimension.

An objective may hold optimizers that have nothing to do with the search: a calibration, an attack, the
centres of a loss. Their rates stay as the code sets them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from galatune.controller.controlled import Choice, Select
from galatune.study.scan.dimensions import RateDimension
from galatune.study.scan.distributions import as_number, as_rate
from galatune.study.scan.plan import ShrinkPlan

__all__ = ["select_optimizers"]

AGREES = 1e-6
"""Relative difference that a float32 copy of a rate may have."""

_SIMPLE = tuple(m * 10.0**e for m in (1, 2, 2.5, 4, 5, 8) for e in range(-4, 5))


def select_optimizers(plan: ShrinkPlan) -> Select:
    """Decide for an optimizer from the rates that its groups were built with.

    It is controlled if one of them equals the rate that a dropped dimension is fixed at, or a simple
    multiple of it. If that holds for no optimizer made so far (the code computes its rate in another way),
    every optimizer is controlled, and the reason says so.
    """
    rates = [(d.name, rate) for d in plan.learning_rate if d.dropped for rate in _meant(d)]

    def select(initial: Sequence[float], everyone: Sequence[Sequence[float]]) -> Choice:
        name = _followed(initial, rates)
        if name is not None:
            return Choice(True, f"its initial rate follows {name}")
        names = ", ".join(d.name for d in plan.learning_rate if d.dropped)
        given = ", ".join(f"{rate:g}" for rate in initial[:3])
        if any(_followed(other, rates) is not None for other in everyone):
            return Choice(False, f"its initial rate {given} does not follow {names}")
        return Choice(True, f"assumed: no optimizer's initial rate is seen to follow {names} (here {given})")

    return select


def _meant(dimension: RateDimension) -> list[float]:
    """Rates that the code may make of the value that the dimension is fixed at."""
    known = as_rate(dimension.placeholder, dimension.scale)
    if known is not None:
        return [known]
    value = as_number(dimension.placeholder)
    if value is None:
        return []
    exponents = [base**value for base in (10.0, math.e, 2.0)] if abs(value) < 50 else []
    return [value, *exponents]


def _followed(initial: Sequence[float], rates: Sequence[tuple[str, float]]) -> str | None:
    for name, rate in rates:
        for given in initial:
            if rate > 0 and any(math.isclose(given / rate, k, rel_tol=AGREES) for k in _SIMPLE):
                return name
    return None
