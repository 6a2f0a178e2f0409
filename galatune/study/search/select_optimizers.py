"""Which optimizers are controlled: those whose initial rate follows a dropped dimension.

An objective may hold optimizers that have nothing to do with the search: a calibration, an attack, the
centres of a loss. Their rates stay as the code sets them.

A rate is known to follow if it was computed from the number that a dropped dimension is answered with (see
`traced_numbers`), if it equals that number, or if it moves with it when the training is begun a second time
(see `second_construction`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from galatune.controller.controlled import Choice, LeftAlone
from galatune.controller.torch_hooks.traced_rates import InitialRates
from galatune.formatting import listed
from galatune.study.scan.dimensions import RateDimension
from galatune.study.scan.distributions import as_number, as_rate
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.placeholder_trial import PlaceholderTrial
from galatune.study.search.second_construction import Construction, StoppedAtFirstStep, constructions

__all__ = ["OptimizerSelection", "RateKnowledge", "rate_names"]

AGREES = 1e-6
"""Relative difference that a float32 copy of a rate may have."""

MOST_STOPS = 100
"""Steps at which a training is stopped that goes on all the same; then it goes on without control."""


@dataclass
class RateKnowledge:
    """What a run has found out about the objective, trial by trial.

    Attributes:
        traces: Whether numbers are handed out that know where they come from.
        compares: Whether a training may be begun a second time for this; it is done once.
        moved: What that has shown: each optimizer in the order of construction, and whether its rate moved;
            None if it was not done, or if it was inconclusive.
        acquitted: Failures that plain numbers did not prevent.
    """

    traces: bool = True
    compares: bool = True
    moved: Sequence[tuple[Construction, bool]] | None = None
    acquitted: set[str | None] = field(default_factory=set)


def rate_names(plan: ShrinkPlan) -> tuple[str, ...]:
    """Dropped dimensions that a rate may be computed from: all but those of its schedule."""
    return tuple(d.name for d in plan.learning_rate if d.dropped and d.role != "schedule")


@dataclass
class OptimizerSelection:
    """Decides in one call of the objective for each optimizer that is about to step.

    If nobody knows, every optimizer is controlled, and the reason says so.

    Args:
        plan: What is dropped.
        knowledge: What earlier calls have shown.
        trial: What the objective is called with.
        stop: Whether the first step raises, and all that follow, whatever is known.

    Attributes:
        stopped: The optimizers made until the training was stopped, None if it was not.
        own_step: Class name of an optimizer that follows a dropped dimension and sets its own step.
    """

    plan: ShrinkPlan
    knowledge: RateKnowledge
    trial: PlaceholderTrial
    stop: bool = False
    stopped: tuple[Construction, ...] | None = None
    own_step: str | None = None
    _stops_left: int = MOST_STOPS
    _trains: bool = False
    _followed: dict[int, bool] = field(init=False, default_factory=dict)
    _rates: list[tuple[str, float]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        for dimension in self.plan.learning_rate:
            if dimension.name in rate_names(self.plan):
                self._rates += [(dimension.name, rate) for rate in _meant(dimension)]

    def __call__(self, initial: InitialRates, everyone: Sequence[InitialRates]) -> Choice:
        """See `galatune.controller.controlled.Select`.

        Raises:
            StoppedAtFirstStep: Nothing has trained yet, and the objective is to be called again.
        """
        if not self._trains and self.stopped is None and (self.stop or self._compares(everyone)):
            self.stopped = constructions(everyone)
        if self.stopped is not None:
            self._stops_left -= 1
            if self._stops_left >= 0:
                raise StoppedAtFirstStep
            return Choice(False, "its training is begun again")
        self._trains = True
        return self._choice(initial, everyone)

    def left_alone(self, initial: InitialRates, left: LeftAlone) -> None:
        """See `galatune.controller.controlled.LooksAtLeftAlone`.

        Raises:
            StoppedAtFirstStep: It sets its own step, and the rate that it multiplies was replaced.
        """
        if left.sets_own_rate and self._followed.get(id(initial)):
            self.own_step = left.name
            raise StoppedAtFirstStep

    def follows(self, initial: InitialRates, everyone: Sequence[InitialRates]) -> str | None:
        """Why an optimizer is known to follow a dropped dimension; None if it is not known to."""
        if initial.origins:
            names = ", ".join(sorted(origin.name for origin in initial.origins))
            return f"its initial rate follows {names}"
        name = self._equal(initial)
        if name is not None:
            return f"its initial rate follows {name}"
        if self._moved(initial, everyone):
            return f"its initial rate moves with {self._names}"
        if any(self._is_anew(initial, other) and self._equal(other) is not None for other in everyone):
            return f"it is made where one was made that follows {self._names}, of the same parameters"
        return None

    def _compares(self, everyone: Sequence[InitialRates]) -> bool:
        """Whether an optimizer may follow although it is not known to: its rate may have lost its origin."""
        if not self.knowledge.compares or set(rate_names(self.plan)).isdisjoint(self.trial.answered):
            return False
        known = [self.follows(one, everyone) is not None for one in everyone]
        if all(known):
            return False
        lost = any(origin.lost for origin in self.trial.origins)
        return lost or not any(one.origins for one in everyone)

    def _choice(self, initial: InitialRates, everyone: Sequence[InitialRates]) -> Choice:
        why = self.follows(initial, everyone)
        self._followed[id(initial)] = why is not None
        if why is not None:
            return Choice(True, why)
        given = ", ".join(f"{rate:g}" for rate in initial[:3])
        if any(self.follows(other, everyone) is not None for other in everyone):
            return Choice(False, f"its initial rate {given} does not follow {self._names}")
        return Choice(
            True, f"assumed: no optimizer's initial rate is seen to follow {self._names} (here {given})"
        )

    @property
    def _names(self) -> str:
        return listed(self.plan.placeholders)

    def _equal(self, initial: InitialRates) -> str | None:
        for name, rate in self._rates:
            if rate > 0 and any(math.isclose(given, rate, rel_tol=AGREES) for given in initial):
                return name
        return None

    def _moved(self, initial: InitialRates, everyone: Sequence[InitialRates]) -> bool:
        """By the place in the code, if it tells optimizers apart; else by the order of construction."""
        moved = self.knowledge.moved or ()
        here = {moves for one, moves in moved if one.place == initial.place and one.name == initial.name}
        if len(here) == 1 and initial.place:
            return here.pop()
        index = next((i for i, one in enumerate(everyone) if one is initial), len(moved))
        return index < len(moved) and moved[index][0].name == initial.name and moved[index][1]

    @staticmethod
    def _is_anew(initial: InitialRates, other: InitialRates) -> bool:
        same_place = other is not initial and bool(initial.place) and other.place == initial.place
        return same_place and not initial.parameters.isdisjoint(other.parameters)


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
