"""What the values of a parameter say: whether they can be learning rates, and how they become such."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from galatune.study.scan.distributions import Scale, as_number, in_words
from galatune.study.scan.names import NameMatch
from galatune.study.scan.vocabulary import MODELS, SCHEDULE_NAMES, tokens

__all__ = ["NETWORKS_HIGH", "Values", "bounds", "is_logarithmic", "read_values"]

HIGHEST_RATE = 10.0
"""No search of a learning rate starts above 1 or goes far above this."""

DEEPEST_EXPONENT = -20.0
LONGEST_EXPONENT = 12
COMMON_BASE_TEN = -8.0
"""A range of exponents that reaches below this is taken for natural logarithms."""

NETWORKS_LOWEST, NETWORKS_LOW, NETWORKS_HIGH = 1e-4, 1e-2, 0.1
"""Only networks are searched down to the first, or from below the second up to the third at most."""


@dataclass(frozen=True)
class Values:
    """What the values of a parameter say.

    Attributes:
        kind: "rates"; "schedules", by name; "words" that only the code knows; or "other", no learning rates.
        words: The evidence, in words.
        scale: How they become learning rates.
        firm: Whether hardly anything but the rate of a network is searched in this range.
        coded: Whether they are integers too large for exponents, which code may turn into rates.
    """

    kind: str
    words: str
    scale: Scale = "rate"
    firm: bool = False
    coded: bool = False


def read_values(distribution: BaseDistribution, match: NameMatch) -> Values:
    """Whether the values can be learning rates, and how they become such.

    Args:
        distribution: The newest one.
        match: What the name says: it may say that they are exponents.
    """
    span = bounds(distribution)
    if span is None:
        return _choices(distribution)
    low, high = span
    if match.exponent or low < 0:
        return _exponents(low, high, match)
    whole = isinstance(distribution, IntDistribution)
    if whole and high <= LONGEST_EXPONENT:
        return Values("rates", "an integer that the code turns into a rate", "unknown")
    if not whole and 0 <= low <= 1 and 0 < high <= HIGHEST_RATE:
        kind = "choice" if isinstance(distribution, CategoricalDistribution) else "range"
        words = f"a {'logarithmic ' * is_logarithmic(distribution)}{kind} of rates"
        return Values("rates", words, firm=_only_networks(low, high))
    return Values("other", f"values from {low:g} to {high:g} are not learning rates", coded=whole)


def _only_networks(low: float, high: float) -> bool:
    return (0 < low <= NETWORKS_LOWEST and high <= 1) or (low < NETWORKS_LOW and high <= NETWORKS_HIGH)


def _exponents(low: float, high: float, match: NameMatch) -> Values:
    if low < DEEPEST_EXPONENT or high > LONGEST_EXPONENT:
        return Values("other", f"values from {low:g} to {high:g} are no exponents of rates")
    minus = match.negated or low >= 1 or (low >= 0 and high > 1)
    if low >= 0 and high <= 1 and not match.negated:  # named like a logarithm, but holding rates
        words = "a range of rates, although its name says exponent"
        return Values("rates", words, firm=_only_networks(low, high))
    base = match.base
    if base is None:
        deepest = -high if minus else low
        base = 10.0 if deepest >= COMMON_BASE_TEN else math.e
    shown = {10.0: "10", 2.0: "2"}.get(base, "e")
    words = f"exponents of {shown}{', without the minus' * minus}"
    return Values("rates", words, _SCALES[shown, minus], firm=True)


_SCALES: Mapping[tuple[str, bool], Scale] = {
    ("10", False): "log10",
    ("2", False): "log2",
    ("e", False): "ln",
    ("10", True): "-log10",
    ("2", True): "-log2",
    ("e", True): "-ln",
}


def _choices(distribution: BaseDistribution) -> Values:
    """Choices that are not numbers: schedules by name, or lists of rates."""
    choices = getattr(distribution, "choices", ())
    if choices and all(isinstance(choice, str) or choice is None for choice in choices):
        if any(MODELS.intersection(tokens(choice)) for choice in choices if choice):
            return Values("other", f"{in_words(distribution)}: models, not learning rates")
        schedules = any(SCHEDULE_NAMES.intersection(tokens(choice)) for choice in choices if choice)
        return Values("schedules" if schedules else "words", "choices by name", "unknown")
    if any(isinstance(choice, list | tuple) for choice in choices):
        return Values("rates", "choices that the code turns into rates", "unknown", firm=True)
    return Values("other", f"{in_words(distribution)}: not learning rates")


def bounds(distribution: BaseDistribution) -> tuple[float, float] | None:
    """Lowest and highest value, None if they are not numbers.

    None and words among numeric choices stand for something automatic, and do not count.
    """
    if isinstance(distribution, CategoricalDistribution):
        numbers = [as_number(choice) for choice in distribution.choices]
        known = [n for n in numbers if n is not None]
        automatic = all(
            n is not None or choice is None or isinstance(choice, str)
            for n, choice in zip(numbers, distribution.choices, strict=True)
        )
        return (min(known), max(known)) if known and automatic else None
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return float(distribution.low), float(distribution.high)
    return None


def is_logarithmic(distribution: BaseDistribution) -> bool:
    """Whether it is searched on a logarithmic scale."""
    return isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log
