"""Which way a pilot chooses: control, the fixed rate, or the old search as it is.

The pairs are looked at after each of them, from the second on. The terms are set before the first: how many
pairs there are at most, and the margin up to which a difference counts as none. A way is chosen once it is
shown to be at most the margin worse than the other. A way that failed alone in two pairs is out.

Several looks would find a difference by chance more often than one look does. So looks before the last one
share an error probability of 1 %, and the last one has 4 %: the chance that any of the intervals misses the
true difference is 5 % at most, whatever ended the pilot.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from galatune.formatting import plural
from galatune.statistics import interval_of_mean, smallest_detectable
from galatune.study.ledger.pilot_arm import Arm

__all__ = [
    "FEWEST_PAIRS",
    "LEAVE",
    "Choice",
    "PairValues",
    "Terms",
    "Verdict",
    "Way",
    "choose",
    "confidence_at",
]

Verdict = Literal["go", "no-go", "undecided"]
"""Whether to go with control."""

Way = Literal["controlled", "fixed", "leave the search as it is"]

LEAVE: Way = "leave the search as it is"

FEWEST_PAIRS = 2
"""One difference alone shows no spread."""

ERROR, EARLY_ERROR = 0.05, 0.01
"""Error probability of all looks together, and that of all looks before the last one."""

MOST_ALONE = 2
"""A way that failed alone in so many pairs, and more often than the other, is out."""


@dataclass(frozen=True)
class PairValues:
    """What the two trainings of a pair reached, signs turned so that smaller is better.

    Attributes:
        controlled: None if this training failed.
        fixed: The same with the rate fixed.
        own: What the configuration reaches at its own old rate; None if that is unknown.
        fixed_is_own: Whether its own old rate is the one that is fixed: fixing that cannot lose to it.
        comparable: Whether both had one configuration; if not, the pair says nothing.
    """

    controlled: float | None
    fixed: float | None
    own: float | None = None
    fixed_is_own: bool = False
    comparable: bool = True

    @property
    def difference(self) -> float | None:
        """Positive is worse for control; None if one of the two failed or they differ in more."""
        if not self.comparable or self.controlled is None or self.fixed is None:
            return None
        return self.controlled - self.fixed


@dataclass(frozen=True)
class Terms:
    """What is set before the first pair.

    Attributes:
        most: Pairs at most, at least `FEWEST_PAIRS`.
        margin: Differences up to this size count as none, in the units of the objective.
        own_error: Standard error of what `PairValues.own` is corrected by, common to all pairs.
    """

    most: int
    margin: float
    own_error: float = 0.0


@dataclass(frozen=True)
class Choice:
    """What a number of pairs says.

    Attributes:
        pairs: Those in which both trainings are complete.
        difference: Mean over them of controlled - fixed, positive is worse for control; None without any.
        interval: Student's interval of that; None with fewer than two pairs.
        confidence: Of this interval, at this look; over all looks together it is 95 %.
        detectable: The true difference that as many pairs of this spread tell from 0 in 4 of 5 cases.
        decided: Whether no other pair is needed.
        verdict: "go" with control, "no-go", or "undecided".
        way: What to do; the cheaper way if it is undecided.
        why: The reason, in words.
    """

    pairs: int
    difference: float | None
    interval: tuple[float, float] | None
    confidence: float
    detectable: float | None
    decided: bool
    verdict: Verdict
    way: Way
    why: str


def confidence_at(look: int, most: int) -> float:
    """Confidence of the interval after so many pairs.

    Args:
        look: Pairs that are done.
        most: Pairs at most.

    Example:
        >>> [round(confidence_at(look, 5), 4) for look in (2, 3, 4, 5)], confidence_at(2, 2)
        ([0.9967, 0.9967, 0.9967, 0.96], 0.95)
    """
    early = max(most - FEWEST_PAIRS, 0)
    if not early:
        return 1 - ERROR
    return 1 - EARLY_ERROR / early if look < most else 1 - (ERROR - EARLY_ERROR)


def choose(pairs: Sequence[PairValues], terms: Terms, costs: Mapping[Arm, float | None]) -> Choice:
    """Choose after these pairs.

    Args:
        pairs: Those that are done, in their order.
        terms: Set before the first pair.
        costs: Gradient evaluations of one training of each way; None if they are unknown. The fixed rate is
            the cheaper way then.

    Example:
        >>> pairs = [PairValues(1.0 + 0.01 * i, 2.0) for i in range(5)]
        >>> found = choose(pairs, Terms(5, 0.1), {"controlled": 120, "fixed": 100})
        >>> found.verdict, found.way, found.decided, round(found.difference, 2)
        ('go', 'controlled', True, -0.98)
    """
    differences = [d for pair in pairs if (d := pair.difference) is not None]
    confidence = confidence_at(len(pairs), terms.most)
    blank = Choice(
        pairs=len(differences),
        difference=statistics.fmean(differences) if differences else None,
        interval=interval_of_mean(differences, confidence),
        confidence=confidence,
        detectable=smallest_detectable(differences, confidence),
        decided=False,
        verdict="undecided",
        way=_cheaper(costs),
        why="",
    )
    found = _by_failures(pairs, blank) or _by_interval(blank, terms.margin, costs)
    return _or_leave(pairs, terms, found)


def _cheaper(costs: Mapping[Arm, float | None]) -> Arm:
    controlled, fixed = costs.get("controlled"), costs.get("fixed")
    return "controlled" if controlled is not None and fixed is not None and controlled < fixed else "fixed"


def _by_failures(pairs: Sequence[PairValues], blank: Choice) -> Choice | None:
    """The other way, if one of the two fails; none of the two, if both do."""
    total = plural(len(pairs), "pair")
    pairs = [pair for pair in pairs if pair.comparable]
    both = sum(pair.controlled is None and pair.fixed is None for pair in pairs)
    control, fixed = (
        sum(getattr(pair, arm) is None for pair in pairs) - both for arm in ("controlled", "fixed")
    )
    if both >= MOST_ALONE and blank.pairs == 0:
        why = f"neither training was complete in {both} of {total}"
        return replace(blank, decided=True, verdict="no-go", way=LEAVE, why=why)
    if control >= MOST_ALONE and control > fixed:
        why = f"the training under control alone failed in {control} of {total}"
        return replace(blank, decided=True, verdict="no-go", way="fixed", why=why)
    if fixed >= MOST_ALONE and fixed > control:
        why = f"the training at the fixed rate alone failed in {fixed} of {total}"
        return replace(blank, decided=True, verdict="go", way="controlled", why=why)
    return None


def _by_interval(blank: Choice, margin: float, costs: Mapping[Arm, float | None]) -> Choice:
    if blank.interval is None:
        done = f"only {plural(blank.pairs, 'pair')} is complete" if blank.pairs else "no pair is complete"
        return replace(blank, why=f"{done}: {blank.way} is the cheaper way")
    low, high = blank.interval
    control_safe, fixed_safe = high <= margin, low >= -margin
    if control_safe and fixed_safe:
        verdict: Verdict = "go" if blank.way == "controlled" else "no-go"
        why = f"the two differ by at most the margin of {margin:.4g}: {blank.way} is the cheaper way"
        return replace(blank, decided=True, verdict=verdict, why=why)
    if control_safe:
        why = f"control is {_good_enough(-high, margin)} than the fixed rate"
        return replace(blank, decided=True, verdict="go", way="controlled", why=why)
    if fixed_safe:
        why = f"the fixed rate is {_good_enough(low, margin)} than control"
        return replace(blank, decided=True, verdict="no-go", way="fixed", why=why)
    known = all(costs.get(arm) is not None for arm in ("controlled", "fixed"))
    cheaper = "the cheaper way" if known else "the cheaper way, since it probes nothing"
    why = f"either may be better by more than the margin of {margin:.4g}: {blank.way} is {cheaper}"
    return replace(blank, why=why)


def _good_enough(least: float, margin: float) -> str:
    """What is shown of the chosen way, whose gain is at least this."""
    return f"at least {least:.4g} better" if least > 0 else f"at most the margin of {margin:.4g} worse"


def _or_leave(pairs: Sequence[PairValues], terms: Terms, found: Choice) -> Choice:
    """Leave the search as it is, if both ways are shown to lose more than the margin to the old rates."""
    over = found.decided or len(pairs) >= terms.most
    if not over or found.way == LEAVE:
        return found
    losses = [_loss(pairs, arm, terms) for arm in ("controlled", "fixed")]
    if not all(loss is not None and loss > terms.margin for loss in losses):
        return found
    least = min(loss for loss in losses if loss is not None)
    why = (
        f"both ways lose to the old rates of the same configurations, by {least:.4g} at least, more than the "
        f"margin of {terms.margin:.4g}"
    )
    return replace(found, decided=True, verdict="no-go", way=LEAVE, why=why)


def _loss(pairs: Sequence[PairValues], arm: Arm, terms: Terms) -> float | None:
    """Lower end of what a way loses to each configuration's own old rate; None if that is unknown."""
    losses = []
    for pair in pairs:
        value = pair.controlled if arm == "controlled" else pair.fixed
        itself = arm == "fixed" and pair.fixed_is_own
        if pair.comparable and value is not None and pair.own is not None and not itself:
            losses.append(value - pair.own)
    interval = interval_of_mean(losses, 1 - ERROR)
    if interval is None:
        return None
    mean, reach = statistics.fmean(losses), (interval[1] - interval[0]) / 2
    from scipy.special import stdtrit

    common = float(stdtrit(len(losses) - 1, 1 - ERROR / 2)) * terms.own_error
    return mean - math.hypot(reach, common)
