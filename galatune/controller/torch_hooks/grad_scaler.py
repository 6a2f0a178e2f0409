"""A fused optimizer under a GradScaler: its gradients are still scaled, and its step may be skipped.

Other optimizers get unscaled gradients from it, and are not called at all if one overflowed. For a fused
one it sets ``optimizer.grad_scale`` and ``optimizer.found_inf`` during the step, tensors on the device.
"""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

__all__ = ["gradient_scale", "overflow"]


def gradient_scale(optimizer: Optimizer) -> Tensor | None:
    """Factor by which the gradients of the present step are too large; None if they are not scaled."""
    scale: Tensor | None = getattr(optimizer, "grad_scale", None)
    return scale


def overflow(optimizer: Optimizer) -> Tensor | None:
    """Above 0 if the present step is going to be skipped; None if nobody looked."""
    found: Tensor | None = getattr(optimizer, "found_inf", None)
    return found
