"""One distribution: in words, its legal values, and how its numbers become learning rates."""

from __future__ import annotations

import math
from typing import Any, Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

__all__ = ["Scale", "as_number", "as_rate", "from_rate", "in_words", "is_legal", "middle", "nearest"]

Scale = Literal["rate", "log10", "ln", "log2", "-log10", "-ln", "-log2", "unknown"]
"""How a value becomes a learning rate: as it is, as an exponent, or in a way only the code knows."""

_BASES = {"log10": 10.0, "ln": math.e, "log2": 2.0}
_SHOWN_CHOICES = 7


def in_words(distribution: BaseDistribution) -> str:
    """A distribution in words.

    >>> in_words(FloatDistribution(1e-5, 0.001, log=True))
    'float 1e-05 to 0.001, log'
    >>> in_words(CategoricalDistribution([0.1, 0.01]))
    'one of 0.1, 0.01'
    """
    if isinstance(distribution, CategoricalDistribution):
        shown = ", ".join(str(choice) for choice in distribution.choices[:_SHOWN_CHOICES])
        more = len(distribution.choices) - _SHOWN_CHOICES
        return f"one of {shown} and {more} more" if more > 0 else f"one of {shown}"
    if isinstance(distribution, FloatDistribution | IntDistribution):
        kind = "float" if isinstance(distribution, FloatDistribution) else "int"
        text = f"{kind} {distribution.low:g} to {distribution.high:g}"
        if distribution.log:
            return f"{text}, log"
        stepped = distribution.step not in (None, 1) or (kind == "float" and distribution.step)
        return f"{text}, step {distribution.step:g}" if stepped else text
    return str(distribution)


def as_number(value: Any) -> float | None:
    """A number, or a string that is one ("1e-4"); None for everything else.

    >>> as_number("1e-4"), as_number("cosine"), as_number(True)
    (0.0001, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except ValueError:
        return None
    return result if math.isfinite(result) else None


def is_legal(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the distribution could have given this value."""
    if isinstance(distribution, CategoricalDistribution):
        return any(choice is value or choice == value for choice in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return math.isclose(nearest(distribution, value), value, rel_tol=1e-9)


def nearest(distribution: BaseDistribution, value: float) -> Any:
    """The legal value nearest to a number, on the distribution's own scale.

    >>> nearest(FloatDistribution(0.0, 1.0, step=0.25), 0.4)
    0.5
    >>> nearest(CategoricalDistribution([1e-4, 1e-3, 1e-2]), 0.004)
    0.01
    """
    if isinstance(distribution, CategoricalDistribution):
        numeric = [(as_number(choice), choice) for choice in distribution.choices]
        candidates = [(n, choice) for n, choice in numeric if n is not None]
        if not candidates:
            return middle(distribution)
        positive = value > 0 and all(n > 0 for n, _ in candidates)
        scale = math.log if positive else float
        return min(candidates, key=lambda pair: abs(scale(pair[0]) - scale(value)))[1]
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"Not a distribution of Optuna's: {distribution!r}")
    clipped = min(max(value, distribution.low), distribution.high)
    step = None if distribution.log and isinstance(distribution, FloatDistribution) else distribution.step
    if step is None:
        return clipped
    stepped = distribution.low + round((clipped - distribution.low) / step) * step
    if isinstance(distribution, IntDistribution):
        return int(min(stepped, distribution.high))
    return min(float(f"{stepped:.15g}"), distribution.high)  # 0.1 + 2 * 0.1 is 0.3


def middle(distribution: BaseDistribution) -> Any:
    """The legal value in the middle of the distribution, on its own scale; of choices, a number if one is.

    >>> middle(IntDistribution(1, 5))
    3
    """
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        numbers = [(n, index) for index, choice in enumerate(choices) if (n := as_number(choice)) is not None]
        ordered = [choices[index] for _, index in sorted(numbers)] or choices
        return ordered[(len(ordered) - 1) // 2]
    if isinstance(distribution, FloatDistribution | IntDistribution):
        low, high = distribution.low, distribution.high
        return nearest(distribution, math.sqrt(low * high) if distribution.log else (low + high) / 2)
    raise TypeError(f"Not a distribution of Optuna's: {distribution!r}")


def as_rate(value: Any, scale: Scale) -> float | None:
    """The learning rate that a value stands for, None if only the objective's code knows.

    >>> as_rate(-3, "log10"), as_rate(3, "-log10"), as_rate("1e-4", "rate")
    (0.001, 0.001, 0.0001)
    """
    numeric = as_number(value)
    if numeric is None or scale == "unknown":
        return None
    if scale == "rate":
        return numeric
    sign = -1.0 if scale.startswith("-") else 1.0
    return float(_BASES[scale.lstrip("-")] ** (sign * numeric))


def from_rate(rate: float, distribution: BaseDistribution, scale: Scale) -> Any | None:
    """The legal value that stands for a learning rate most nearly, None if only the objective's code knows.

    >>> from_rate(0.002, FloatDistribution(-5.0, -1.0, step=0.5), "log10")
    -2.5
    """
    if scale == "unknown" or not (math.isfinite(rate) and rate > 0):
        return None
    if scale == "rate":
        return nearest(distribution, rate)
    sign = -1.0 if scale.startswith("-") else 1.0
    return nearest(distribution, sign * math.log(rate) / math.log(_BASES[scale.lstrip("-")]))
