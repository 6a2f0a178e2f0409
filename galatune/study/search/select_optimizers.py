"""Which optimizers are controlled: those whose initial rate follows a dropped dimension.

An objective may hold optimizers that have nothing to do with the search: a calibration, an attack, the
centres of a loss. Their rates stay as the code sets them.

A rate is known to follow if it was computed from the number that a dropped dimension is answered with (see
`traced_numbers`), or if it moves with it when a training is begun a second time (see `second_construction`).
If its origin may have been lost, it also follows if it equals that number.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from galatune.controller.controlled import Choice, LeftAlone
from galatune.controller.rule.prior import Prior
from galatune.controller.torch_hooks.traced_rates import InitialRates, Place
from galatune.formatting import listed
from galatune.study.scan.dimensions import RateDimension
from galatune.study.scan.distributions import as_number, as_rate
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.placeholder_trial import PlaceholderTrial
from galatune.study.search.prior_of_optimizer import StudyPriors
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
        acquitted: Early ends of the objective that plain numbers did not prevent.
    """

    traces: bool = True
    compares: bool = True
    moved: Sequence[tuple[Construction, bool]] | None = None
    acquitted: set[str] = field(default_factory=set)


def rate_names(plan: ShrinkPlan) -> tuple[str, ...]:
    """Dropped dimensions that a rate may be computed from: all but those of its schedule."""
    return tuple(d.name for d in plan.learning_rate if d.dropped and d.role != "schedule")


class OptimizerSelection:
    """Decides in one call of the objective for each optimizer that is about to step.

    If nobody knows, every optimizer is controlled, and the reason says so.

    Args:
        plan: What is dropped.
        knowledge: What earlier calls have shown.
        trial: What the objective is called with.
        stop: Whether the first step raises, and all that follow, whatever is known.
        prior: Whether their control starts from what the old study knows of good rates.

    Attributes:
        stopped: The optimizers made until the training was stopped, None if it was not.
        own_step: Class name of an optimizer that follows a dropped dimension and sets its own step.
        following: Class names of the optimizers that stepped and are known to follow.
    """

    def __init__(
        self,
        plan: ShrinkPlan,
        knowledge: RateKnowledge,
        trial: PlaceholderTrial,
        *,
        stop: bool = False,
        prior: bool = False,
    ) -> None:
        self.stopped: tuple[Construction, ...] | None = None
        self.own_step: str | None = None
        self.following: set[str] = set()
        self._knowledge, self._trial, self._stop = knowledge, trial, stop
        self._names, self._asked_for = listed(plan.placeholders), rate_names(plan)
        dropped = [one for one in plan.learning_rate if one.name in self._asked_for]
        self._rates = [(one.name, rate) for one in dropped for rate in _meant(one)]
        self._priors = StudyPriors.of(plan) if prior else StudyPriors()
        self._thread, self._stops_left, self._trains = threading.get_ident(), MOST_STOPS, False
        self._made: dict[int, int] = {}  # by identity of an optimizer's rates: the number of its construction
        self._equals: dict[Place, list[InitialRates]] = {}  # those whose rate equals a dropped one
        self._followed: set[tuple[float, ...]] = set()  # rates of optimizers that follow
        self._one_follows = self._one_is_traced = False

    def __call__(self, initial: InitialRates, everyone: Sequence[InitialRates]) -> Choice:
        """See `galatune.controller.controlled.Select`.

        Raises:
            StoppedAtFirstStep: Nothing has trained yet, and the objective is to be called again.
        """
        self._look(everyone)
        if not self._trains and self.stopped is None and (self._stop or self._compares(everyone)):
            self.stopped = constructions(everyone)
        if self.stopped is not None:
            self._stops_left -= 1
            if self._stops_left >= 0:
                raise StoppedAtFirstStep
            return Choice(False, "its training is begun again")
        self._trains = True
        return self._choice(initial)

    def left_alone(self, initial: InitialRates, left: LeftAlone) -> None:
        """See `galatune.controller.controlled.Select`.

        Raises:
            StoppedAtFirstStep: It sets its own step, and the rate that it multiplies was replaced.
        """
        if left.sets_own_rate and self._follows(initial) is not None:
            self.own_step = left.name
            if threading.get_ident() == self._thread:
                raise StoppedAtFirstStep

    def _look(self, everyone: Sequence[InitialRates]) -> None:
        """Take in the optimizers that were made since the last step of a new one."""
        if not self._trains:
            for one in everyone:
                one.refresh()
        new = everyone[len(self._made) :]
        self._one_is_traced |= any(one.origins for one in new)
        for one in new:
            self._made[id(one)] = len(self._made)
            if self._equal(one) is not None and one.place:
                known = self._equals.setdefault(one.place, [])
                if not any(other.shares_parameters(one) for other in known):
                    known.append(one)
        self._one_follows |= any(self._follows(one) is not None for one in new)

    def _compares(self, everyone: Sequence[InitialRates]) -> bool:
        """Whether an optimizer may follow although it is not known to: its rate may have lost its origin."""
        asked = not set(self._asked_for).isdisjoint(self._trial.answered)
        if not self._knowledge.compares or not asked or threading.get_ident() != self._thread:
            return False
        if self._one_is_traced:
            return self._lost and not all(one.origins for one in everyone)
        return any(self._follows(one) is None for one in everyone)

    def _choice(self, initial: InitialRates) -> Choice:
        why = self._follows(initial)
        if why is not None:
            self._one_follows = True
            self._followed.add(initial.rates)
            self.following.add(initial.name)
            return Choice(True, why, self._prior(initial))
        given = ", ".join(f"{rate:g}" for rate in initial[:3])
        if self._one_follows:
            return Choice(False, f"its initial rate {given} does not follow {self._names}")
        return Choice(
            True, f"assumed: no optimizer's initial rate is seen to follow {self._names} (here {given})"
        )

    def _prior(self, initial: InitialRates) -> Prior | None:
        """What the old study knows of its good rates."""
        if not self._priors.known:
            return None
        names = {origin.name for origin in initial.origins}
        return self._priors.of_optimizer(initial.rates, names, self._trial.params)

    def _follows(self, initial: InitialRates) -> str | None:
        """Why an optimizer is known to follow a dropped dimension; None if it is not known to."""
        if initial.origins:
            names = ", ".join(sorted(origin.name for origin in initial.origins))
            return f"its initial rate follows {names}"
        moves = self._moves(initial) if initial.constructed else None
        if moves is not None:
            return f"its initial rate moves with {self._names}" if moves else None
        if self._one_is_traced and not self._lost and initial.constructed:
            return None  # one that is equal is so by chance
        return self._seems_to_follow(initial)

    def _seems_to_follow(self, initial: InitialRates) -> str | None:
        name = self._equal(initial)
        if name is not None:
            return f"its initial rate follows {name}"
        if not initial.constructed and initial.rates in self._followed:
            return f"it is a copy of one that follows {self._names}"
        if any(other.shares_parameters(initial) for other in self._equals.get(initial.place, ())):
            return f"it is made where one was made that follows {self._names}, of the same parameters"
        return None

    @property
    def _lost(self) -> bool:
        return any(origin.lost for origin in self._trial.origins)

    def _equal(self, initial: InitialRates) -> str | None:
        for name, rate in self._rates:
            if rate > 0 and any(math.isclose(given, rate, rel_tol=AGREES) for given in initial):
                return name
        return None

    def _moves(self, initial: InitialRates) -> bool | None:
        """By the place in the code, if it tells optimizers apart; else by the order of construction."""
        moved = self._knowledge.moved or ()
        same = [(one, moves) for one, moves in moved if one.name == initial.name]
        here = {moves for one, moves in same if one.place == initial.place}
        if len(here) == 1 and initial.place:
            return here.pop()
        index = self._made.get(id(initial), len(moved))
        if index >= len(moved) or moved[index][0].name != initial.name:
            return None
        return moved[index][1]


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
