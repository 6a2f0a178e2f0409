"""The alignment with the direction travelled: one minibatch's says little, its running mean a lot."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

from galatune.controller.estimate import Observation

__all__ = ["AT_THE_START", "LEAST", "LEAST_OF_A_SCHEDULE", "steadied"]

DISCOUNT = 0.9
"""A probe, as in the default learner."""

LEAST, LEAST_OF_A_SCHEDULE = 0.1, 0.5
"""What noise can multiply the rate by: it dominates near a minimum, but on a plateau as well. A schedule that
decays anneals already."""

AT_THE_START = {"way": 0.0, "way_weight": 0.0}


def steadied(memory: MutableMapping[str, Any], observation: Observation, least: float) -> Observation:
    r"""The observation with the running mean of the alignment in its place, held from ``least`` to 1.

    .. code-block:: text

        a_t -> clip( sum_s 0.9^(t-s) w_s a_s / sum_s 0.9^(t-s) w_s,  least,  1 ),     w = ||g0||_P

    Above 1, momentum that has yet to fill up would look like a step that should have been larger; without a
    bound below, a run of unlucky minibatches would stop a training that had hardly begun.

    Args:
        memory: Of the slot; the two sums are kept in it.
        observation: Its alignment is with the direction travelled.
        least: `LEAST` without a schedule, `LEAST_OF_A_SCHEDULE` under one that decays.

    Example:
        >>> seen = Observation(alignment=-3.0, lipschitz=1.0, curvature=1.0, gradient_norm_squared=1.0)
        >>> steadied({}, seen, LEAST).alignment
        0.1
    """
    weight = observation.gradient_norm_squared**0.5
    memory["way"] = DISCOUNT * memory.get("way", 0.0) + weight * observation.alignment
    memory["way_weight"] = DISCOUNT * memory.get("way_weight", 0.0) + weight
    return replace(observation, alignment=min(max(memory["way"] / memory["way_weight"], least), 1.0))
