"""What a GradScaler leaves to a fused optimizer: gradients still scaled, and a step that may be skipped.

Other optimizers get unscaled gradients from it, and are not called at all where one overflowed. For a fused
one it sets ``optimizer.grad_scale`` and ``optimizer.found_inf`` during the step, tensors on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.gradient_pair import Change

__all__ = ["gradient_scale", "overflow", "unscaled"]


def gradient_scale(optimizer: Optimizer) -> Tensor | None:
    """What the gradients of the present step are too large by; None where they are as they should be."""
    scale: Tensor | None = getattr(optimizer, "grad_scale", None)
    return scale


def overflow(optimizer: Optimizer) -> Tensor | None:
    """Above 0 where the present step is going to be skipped; None where nobody looked."""
    found: Tensor | None = getattr(optimizer, "found_inf", None)
    return found


def unscaled(changes: Sequence[Change], before: Tensor | None, after: Tensor | None) -> list[Change]:
    """The pair in the loss's own units; waits for the device.

    Args:
        changes: As measured.
        before: Scale of g0, None for none.
        after: Scale of g1.
    """
    if before is None and after is None:
        return list(changes)
    first, second = (1.0 if scale is None else float(scale) for scale in (before, after))
    return [replace(c, before=c.before / first, after=c.after / second) for c in changes]
