"""What a controller tells of its probes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ProbeRecord"]


@dataclass(frozen=True)
class ProbeRecord:
    """One probe.

    Attributes:
        step: Optimizer step, from 1, whose minibatch was probed.
        learning_rate: Rate chosen from it, as applied at that step (the largest of the slot's groups).
        alignment: Of the gradient pair, without unit; None where there was nothing to see.
        lipschitz: Gradient Lipschitz constant along the step, per unit of rate.
        curvature: Along the step, per unit of rate.
        gradient_evaluations: Spent before this step's own, the loop's and the probes' together.
        gradient_norm_squared: In the optimizer's metric; with it the round's loss is complete.
        played_rate: Rate of the step that was probed, in the unit of the estimates: before group ratios
            and the heavy-ball factor.
    """

    step: int
    learning_rate: float
    alignment: float | None
    lipschitz: float | None
    curvature: float | None
    gradient_evaluations: int
    gradient_norm_squared: float | None = None
    played_rate: float | None = None
