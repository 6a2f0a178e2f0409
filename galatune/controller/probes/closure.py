"""The pair of a loop that steps with a closure: one more evaluation, at the parameters before the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from galatune.controller.gradient_pair import GradientPair
from galatune.controller.probes.base import Probe
from galatune.controller.torch_hooks.distributed import GlobalSum, Ranks, local, squared
from galatune.controller.torch_hooks.isolated_evaluation import isolated_evaluation
from galatune.errors import ProbeError

__all__ = ["ClosureProbe"]

Closure = Callable[[], Any]

REPEATS = 1e-2
"""Largest relative difference of two gradients that count as the same one: devices add up in any order."""

HEAD = 4096
"""Number of entries of a tensor that are compared."""


class ClosureProbe(Probe):
    """`optimizer.step(closure)`: on a probe step the closure is evaluated once more, at the old parameters.

    Both evaluations see the same random numbers (torch on every device, numpy, Python); buffers, gradients
    and random states are then put back, so that the loop's own evaluation is what it would have been.
    Metrics and counters inside the closure count twice. The first probe evaluates it a third time, at
    the present parameters, to see that it gives the same gradient; a closure that draws a new minibatch is
    refused.
    """

    name = "closure"
    needs_closure = True
    next_step_metric = True

    def __init__(self) -> None:
        super().__init__()
        self._before: list[Tensor | None] = []
        self._again: list[Tensor | None] = []
        self._checked = False
        self._ranks = Ranks()

    def prepare(self, closure: Closure | None) -> int:
        """Compute g0: the closure at the parameters before the last step.

        Returns:
            Number of gradients computed: 2 until the closure is known to repeat itself, else 1.
        """
        if closure is None or not self.ready:
            return 0
        if not self._checked:
            self._again = [None if g is None else _head(g).clone() for g in self._gradients(closure)]
        self._swap()
        try:
            self._before = self._gradients(closure)
        finally:
            self._swap()
        return 1 if self._checked else 2

    def pair(self) -> list[GradientPair]:
        """See `Probe.pair`.

        Raises:
            ProbeError: The closure draws another minibatch at each call.
        """
        if not self._checked:
            self._check()
        return self.pair_with(self._before)

    def forget(self) -> None:
        """See `Probe.forget`."""
        super().forget()
        self._before, self._again = [], []

    def _swap(self) -> None:
        _swap(self.parameters, self.old)
        self._ranks.refresh(self.parameters)

    def _gradients(self, closure: Closure) -> list[Tensor | None]:
        with isolated_evaluation(self.parameters):
            closure()
            gradients = [None if p.grad is None else p.grad.detach() for p in self.parameters]
            if self._ranks.reuse_gradients(self.parameters):
                return [None if g is None else g.clone() for g in gradients]
            return gradients

    def _check(self) -> None:
        """Compare two gradients at the same parameters: not the losses, equal for a zero-initialized net.

        The heads of their tensors do: whole copies would cost memory.
        """
        total, unpaired = GlobalSum(), 0.0
        for p, again in zip(self.parameters, self._again, strict=True):
            if p.grad is None or again is None:
                unpaired += float(p.grad is not again)
                continue
            second = _head(p.grad.detach())
            total.add(p, torch.stack([squared(second - again), squared(again)]))
        difference, size = total.result() or (0.0, 0.0)
        difference += unpaired
        self._checked = 0.0 < size < float("inf")
        if difference > REPEATS**2 * size and self._checked:
            raise ProbeError(
                "the closure gives another gradient when called again at the same parameters "
                f"(relative difference {(difference / size) ** 0.5:.2g}), as if it drew a new minibatch; "
                "draw the minibatch outside the closure, or use probe='graph'"
            )


def _head(tensor: Tensor) -> Tensor:
    return local(tensor).flatten()[:HEAD]


@torch.no_grad()
def _swap(parameters: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    """Exchange values in place, one parameter at a time; storages stay in place."""
    for p, other in zip(parameters, others, strict=True):
        held = p.detach().clone()
        # .data: the values come back, so graphs that others hold stay valid.
        p.data.copy_(other)
        other.copy_(held)
