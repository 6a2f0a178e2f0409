"""The first rate: so small that the result does not depend on the rate the optimizer was built with."""

from __future__ import annotations

import math

__all__ = ["FIRST_MOVE", "UNKNOWN_STEP_RATE", "first_move", "first_rate", "rate_after_unknown_step"]

FIRST_MOVE = 1e-5
"""Length of the first step relative to the norm of the parameters."""

SMALLEST_WEIGHT = 1e-3
"""Least root mean square that parameters count as, so that zero-initialized ones start too."""

UNKNOWN_STEP_RATE = 1e-6
"""First rate if the direction of the first step is not known beforehand; its length gives the second rate."""


def first_move(norm: float, entries: int) -> float:
    """Length of the first step: ``1e-5 max(||x||, 1e-3 sqrt(n))``.

    Args:
        norm: ||x||, of the parameters.
        entries: n, their number.

    Example:
        >>> first_move(norm=2.0, entries=4), first_move(norm=0.0, entries=4)
        (2e-05, 2e-08)
    """
    return float(FIRST_MOVE * max(norm, SMALLEST_WEIGHT * math.sqrt(entries)))


def first_rate(move: float, direction_squared: float) -> float:
    """The rate whose step has the length `first_move`; 0 if there is no gradient yet.

    Args:
        move: `first_move` of the parameters.
        direction_squared: Squared norm of the first step's direction, that is of the step at rate 1.
    """
    if not direction_squared or not math.isfinite(direction_squared):
        return 0.0
    return move / math.sqrt(direction_squared)


def rate_after_unknown_step(move: float, step_squared: float, rate: float) -> float:
    """The rate that the first step should have had, known after it.

    Args:
        move: `first_move` of the parameters.
        step_squared: Squared norm of the step that was taken.
        rate: The rate it was taken with, `UNKNOWN_STEP_RATE`.
    """
    length = math.sqrt(step_squared) / rate
    return move / length
