"""A fused optimizer under a GradScaler: its gradients are scaled, and its steps may be skipped."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from galatune.controller.gradient_pair import GradientPair, unscaled
from galatune.controller.probes.select import ProbeSelector
from galatune.controller.torch_hooks.grad_scaler import gradient_scale, overflow

__all__ = ["LossScale"]


class LossScale:
    """The scale of the remembered step, and whether that step was skipped."""

    def __init__(self) -> None:
        self._scale: Tensor | None = None
        self._overflow: Tensor | None = None

    def remember(self, optimizer: Optimizer) -> None:
        """Keep those of the present step; they stay on the device."""
        self._scale, self._overflow = gradient_scale(optimizer), overflow(optimizer)

    def forget(self) -> None:
        """Without a remembered step: a checkpoint was loaded."""
        self._scale = self._overflow = None

    def take(
        self, selector: ProbeSelector, optimizer: Optimizer, step: int
    ) -> tuple[list[GradientPair] | None, int]:
        """The pair of this step without the loss's scale, None if there is none; and its gradients."""
        scale = gradient_scale(optimizer)
        if selector.probe.ready and self._overflow is not None and bool(self._overflow):
            selector.postpone()  # the remembered step was skipped: no pair, another is remembered
        loops = selector.probe.uses_loop_gradients
        pairs, spent = selector.take(step)
        if pairs is not None:
            # g0 has the remembered step's scale if the loop computed it there, g1 the present one's.
            pairs = unscaled(pairs, self._scale if loops else scale, scale)
        return pairs, spent
