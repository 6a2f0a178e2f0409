"""What a pilot is worth: the regret of its choice with its cost, beside always fixed and always controlled.

Pairs that were recorded are looked at as a pilot would have looked at them. What each way reaches with a
budget is known from whole searches. So nothing is trained here, and the testbed may ask for any terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from galatune.study.ledger.pilot_arm import ARMS, Arm
from galatune.study.ledger.pilot_choice import FEWEST_PAIRS, LEAVE, Choice, PairValues, Terms, choose

__all__ = ["Regret", "regret_of_pilot", "replayed"]


@dataclass(frozen=True)
class Regret:
    """How much worse each rule ends than the better way does, at one budget; 0 is best.

    Attributes:
        choice: What the pilot chose.
        trainings: How many trainings it took.
        pilot: Regret of its choice with what is left of the budget.
        always_fixed: Of the fixed rate with the whole budget, without a pilot.
        always_controlled: The same under control.
    """

    choice: Choice
    trainings: int
    pilot: float
    always_fixed: float
    always_controlled: float


def replayed(
    pairs: Sequence[PairValues], terms: Terms, costs: Mapping[Arm, float | None]
) -> tuple[Choice, int]:
    """A pilot over recorded pairs: one after the other until it is decided or there are no more.

    Args:
        pairs: In the order in which they would have been run, at least `FEWEST_PAIRS`.
        terms: Set before the first pair.
        costs: Gradient evaluations of one training of each way, None if unknown.

    Returns:
        The choice, and how many pairs it took.

    Example:
        >>> pairs = [PairValues(1.0 + 0.001 * i, 2.0) for i in range(5)]
        >>> choice, used = replayed(pairs, Terms(5, 0.1), {"controlled": 120, "fixed": 100})
        >>> choice.way, used
        ('controlled', 2)
    """
    most = min(terms.most, len(pairs))
    if most < FEWEST_PAIRS:
        raise ValueError(f"a pilot needs at least {FEWEST_PAIRS} pairs, however: {most}")
    terms = replace(terms, most=most)
    for used in range(FEWEST_PAIRS, most + 1):
        choice = choose(pairs[:used], terms, costs)
        if choice.decided:
            break
    return choice, used


def regret_of_pilot(
    pairs: Sequence[PairValues],
    terms: Terms,
    costs: Mapping[Arm, float],
    curves: Mapping[Arm, Sequence[float]],
    budget: float,
) -> Regret:
    """Compare three rules at one budget: pilot first, always fixed, always controlled.

    Args:
        pairs: See `replayed`.
        terms: See `replayed`.
        costs: What one training of each way costs, above 0, in any unit.
        curves: Per way what its search has reached after 1, 2, ... trainings, smaller is better. For single
            trainings it is the mean value of one, in a list of length one.
        budget: Of all trainings, in the same unit; the pilot's are paid from it.

    Returns:
        Regrets are differences to the better of the two ways with the whole budget. If the pilot left the
        search as it is, its regret is that of the cheaper way: there is no third curve.

    Raises:
        ValueError: The budget does not pay for a training after the pilot.

    Example:
        >>> pairs = [PairValues(1.0 + 0.001 * i, 2.0) for i in range(5)]
        >>> curves = {"controlled": [3.0, 2.0, 1.5, 1.2, 1.0, 1.0], "fixed": [3.0, 2.5, 2.2, 2.1, 2.0, 2.0]}
        >>> found = regret_of_pilot(pairs, Terms(5, 0.1), {"controlled": 1, "fixed": 1}, curves, 6)
        >>> found.trainings, found.pilot, found.always_fixed, found.always_controlled
        (4, 1.0, 1.0, 0.0)
    """
    choice, used = replayed(pairs, terms, costs)
    way: Arm = "controlled" if choice.way == "controlled" else "fixed"
    if choice.way == LEAVE and costs["controlled"] < costs["fixed"]:
        way = "controlled"
    spent = used * sum(costs[arm] for arm in ARMS)
    whole = {arm: _reached(curves[arm], budget / costs[arm]) for arm in ARMS}
    best = min(whole.values())
    return Regret(
        choice=choice,
        trainings=2 * used,
        pilot=_reached(curves[way], (budget - spent) / costs[way]) - best,
        always_fixed=whole["fixed"] - best,
        always_controlled=whole["controlled"] - best,
    )


def _reached(curve: Sequence[float], trainings: float) -> float:
    whole = int(trainings)
    if whole < 1:
        raise ValueError(f"the budget must pay for at least one training, however: {trainings:.3g}")
    return curve[min(whole, len(curve)) - 1]
