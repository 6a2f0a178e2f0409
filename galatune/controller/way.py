"""The alignment with the direction travelled: one minibatch's says little, its running mean a lot."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

from galatune.controller.rule.estimate import Observation

__all__ = ["AT_THE_START", "steadied"]

DISCOUNT = 0.9
"""A probe, as in the default learner."""

LEAST = 0.25
"""What noise can multiply the rate by: it dominates near a minimum, but on a plateau as well."""

HEAVIEST = 3.0
"""What a round can weigh beside the mean one: a minibatch with an outlier would speak for all others."""

AT_THE_START = {"way": 0.0, "way_weight": 0.0, "way_rounds": 0.0}


def steadied(memory: MutableMapping[str, Any], observation: Observation) -> Observation:
    r"""The observation with the running mean of the alignment in its place, held from 1/4 to 1.

    .. code-block:: text

        w_t = min( ||g0||_P,  3 sum_s 0.9^(t-s) w_s / sum_s 0.9^(t-s) )          s < t
        a_t -> clip( sum_s 0.9^(t-s) w_s a_s / sum_s 0.9^(t-s) w_s,  1/4,  1 )   s <= t

    Above 1, momentum that has yet to fill up would look like a step that should have been larger; without a
    bound below, a run of unlucky minibatches would stop a training that had hardly begun. The observation
    loses confidence where its weight is held, so that the learner weighs it as little.

    Args:
        memory: Of the slot; the three sums are kept in it.
        observation: Its alignment is with the direction travelled.

    Example:
        >>> seen = Observation(alignment=-3.0, lipschitz=1.0, curvature=1.0, gradient_norm_squared=1.0)
        >>> steadied(memory := {}, seen).alignment
        0.25
        >>> steadied(memory, replace(seen, gradient_norm_squared=36.0)).confidence
        0.5
    """
    way, total, rounds = (memory.get(name, 0.0) for name in AT_THE_START)
    weight = observation.gradient_norm_squared**0.5
    if rounds and weight > HEAVIEST * total / rounds:
        held = HEAVIEST * total / rounds
        observation = replace(observation, confidence=observation.confidence * held / weight)
        weight = held
    way, total = DISCOUNT * way + weight * observation.alignment, DISCOUNT * total + weight
    memory.update(zip(AT_THE_START, (way, total, DISCOUNT * rounds + 1.0), strict=True))
    return replace(observation, alignment=min(max(way / total, LEAST), 1.0))
