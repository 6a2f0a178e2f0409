"""What the old study knows of good rates, in the unit of an optimizer that the objective has built."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from galatune.controller.rule.prior import Prior
from galatune.study.scan.distributions import as_rate
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.rate_prior import RatePrior

__all__ = ["StudyPriors"]


@dataclass(frozen=True)
class StudyPriors:
    """Those of the dropped rates.

    Attributes:
        known: Each with the rate that its dimension is fixed at.
    """

    known: tuple[tuple[RatePrior, float], ...] = ()

    @classmethod
    def of(cls, plan: ShrinkPlan) -> StudyPriors:
        """Of a plan; a dimension whose values are rates only for the objective's code has none."""
        scales = {one.name: one.scale for one in plan.learning_rate}
        fixed = ((one, as_rate(plan.placeholders[one.name], scales[one.name])) for one in plan.prior)
        return cls(tuple((one, rate) for one, rate in fixed if rate is not None and 0 < rate < math.inf))

    def of_optimizer(
        self, rates: Sequence[float], names: Collection[str], params: Mapping[str, Any]
    ) -> Prior | None:
        """Good rates of an optimizer that follows a dropped rate.

        The code may have multiplied the rate, by the batch size for instance: what it made of the fixed value
        it makes of a good one as well.

        Args:
            rates: That its groups were built with; the largest one counts.
            names: Dimensions that these were computed from; empty if that is not known.
            params: The configuration.

        Returns:
            None if no dropped rate is known to be its own.
        """
        built = max(rates, default=0.0)
        if not 0 < built < math.inf:
            return None
        own = [one for one in self.known if not names or one[0].name in names]
        if not own:
            return None
        prior, fixed = min(own, key=lambda one: abs(math.log(one[1] / built)))
        rate, spread = prior.at(params)
        return Prior(rate * built / fixed, spread)
