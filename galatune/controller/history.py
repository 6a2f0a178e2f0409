"""What a controller keeps to be read: one record per probe."""

from __future__ import annotations

from dataclasses import dataclass

from galatune.controller.rule.estimate import Observation

__all__ = ["ProbeRecord"]


@dataclass(frozen=True)
class ProbeRecord:
    """One probe.

    Attributes:
        step: Optimizer step, from 1, whose minibatch was probed.
        learning_rate: Rate chosen from it, as applied at that step (the largest of the groups that share it).
        alignment: Of the gradient pair, without unit; None if the probe showed nothing.
        lipschitz: Gradient Lipschitz constant along the step, per unit of rate.
        curvature: Along the step, per unit of rate.
        gradient_evaluations: Computed before this step's own gradient, by the loop and by probes.
        gradient_norm_squared: In the optimizer's metric; with it the loss of this round is complete.
        played_rate: Rate of the step that was probed, in the unit of the estimates: before group ratios
            and the momentum factor.
    """

    step: int
    learning_rate: float
    alignment: float | None
    lipschitz: float | None
    curvature: float | None
    gradient_evaluations: int
    gradient_norm_squared: float | None = None
    played_rate: float | None = None

    @classmethod
    def of(
        cls,
        observation: Observation | None,
        *,
        step: int,
        learning_rate: float,
        gradient_evaluations: int,
        played_rate: float,
    ) -> ProbeRecord:
        """The record of an observation, None if nothing was observed."""
        seen = observation
        return cls(
            step=step,
            learning_rate=learning_rate,
            alignment=None if seen is None else seen.alignment,
            lipschitz=None if seen is None else seen.lipschitz,
            curvature=None if seen is None else seen.curvature,
            gradient_evaluations=gradient_evaluations,
            gradient_norm_squared=None if seen is None else seen.gradient_norm_squared,
            played_rate=played_rate,
        )
