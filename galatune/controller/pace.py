"""How fast the rate may grow: it feels its way, step by step, unless there is no need to.

Curvature shows itself no earlier than the step that is too large for it; docs/research.md, round 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import Any

from galatune.controller.window import Window

__all__ = ["CURVATURES", "note_curvature", "note_limit", "paced", "still_growing", "time_is_left"]

STILL_EARLY = 0.9
"""Schedule factor down to which the guard's pace counts; a shorter training has no time for that."""

LARGE_ENOUGH = 300.0
"""Times the first rate, where a step moves the parameters by 0.3 % of their norm: from here on the guard's
pace counts. Smaller steps change too little for it to matter how fast they grow."""

CURVATURES = Window("curvature", length=8, fewest=8)
"""Natural logarithms of the last ones."""

AGREEMENT = 0.2
"""Spread of the last curvatures below which the rate need not feel its way: a quadratic has only one."""

FAR_BELOW = 300.0
"""So many times below the proposed rate it need not either."""


def time_is_left(factor: float) -> bool:
    """Whether the schedule, its factor given, is so early that the pace counts."""
    return factor > STILL_EARLY


def note_curvature(memory: MutableMapping[str, Any], curvature: float) -> None:
    """Remember what was observed."""
    if curvature > 0:
        CURVATURES.add(memory, math.log(curvature))


def paced(memory: Mapping[str, Any], previous: float, proposed: float, steps: int | None) -> int | None:
    """Steps since the last probe where the guard's pace counts; None where there is no need of it.

    Args:
        memory: Of the slot.
        previous: Rate of the last step.
        proposed: By the learner.
        steps: Since the last probe; None where the schedule leaves no time.
    """
    small = previous <= LARGE_ENOUGH * memory.get("first", 0.0) or previous * FAR_BELOW < proposed
    return None if small or CURVATURES.spread(memory) < AGREEMENT else steps


def note_limit(memory: MutableMapping[str, Any], held: int, steps: int | None) -> None:
    """Remember whether the rate was held from growing (1), from falling (-1) or not at all (0).

    Args:
        memory: Of the slot.
        held: By the guard.
        steps: Since the last probe where the guard's pace counted, else None: then a rate that was held from
            growing is far below, and the next step is probed too (`rhythm.Begun`).
    """
    memory["held"] = held
    memory["far below"] = held > 0 and steps is None
    memory["arrived"] = memory.get("arrived", False) or held <= 0


def still_growing(memory: Mapping[str, Any]) -> bool:
    """Whether the rate never came to where the learner wanted it."""
    return memory.get("held", 0) > 0 and not memory.get("arrived")
