"""The pair of a loop that steps with a closure: one more evaluation, at the parameters before the step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from galatune.controller.gradient_pair import GradientPair
from galatune.controller.probes.base import Probe, SkippedProbeError
from galatune.controller.probes.closure_causes import ADDS, COMPUTES_NOTHING
from galatune.controller.torch_hooks.backward import attend, leaves, listen, unlisten
from galatune.controller.torch_hooks.distributed import GlobalSum, Ranks, count, local, squared
from galatune.controller.torch_hooks.isolated_evaluation import isolated_evaluation
from galatune.errors import ProbeError
from galatune.formatting import first_line

__all__ = ["ClosureProbe"]

Closure = Callable[[], Any]

REPEATS = 1e-2
"""Largest relative difference of two gradients that count as the same one: devices add up in any order."""

HEAD = 4096
"""Number of entries of a tensor that are compared."""

PATIENCE = 3
"""Probes in a row whose closure computed no gradient, after which it is not going to."""


class ClosureProbe(Probe):
    """`optimizer.step(closure)`: on a probe step the closure is evaluated once more, at the old parameters.

    Both evaluations see the same random numbers (torch on every device, numpy, Python); buffers, gradients
    and random states are then put back, so that the loop's own evaluation is what it would have been.
    Metrics and counters inside the closure count twice. The first probe evaluates it a third time, at
    the present parameters, to see that it gives the same gradient; a closure that computes none, adds to what
    is there, or draws a new minibatch is refused.
    """

    name = "closure"
    needs_closure = True
    next_step_metric = True

    def __init__(self) -> None:
        super().__init__()
        self._before: list[Tensor | None] = []
        self._again: list[Tensor | None] = []
        self._there: list[Tensor | None] = []
        self._checked = False
        self._empty = 0
        self._failure: str | None = None
        self._adds: bool | None = None
        self._ranks = Ranks()

    def watch(self) -> None:
        """Look at backward calls, of the loop's own evaluation of a probed step."""
        listen(self)

    def unwatch(self) -> None:
        """Look no more."""
        unlisten(self)

    def prepare(self, closure: Closure | None) -> int:
        """Compute g0: the closure at the parameters before the last step.

        Returns:
            Number of gradients computed: 2 until the closure is known to repeat itself, else 1; fewer if it
            computed none.
        """
        if closure is None or not self.ready:
            return 0
        computed, self._adds, self._failure = 0, None, None
        try:
            if not self._checked:
                self._there = _heads(p.grad for p in self.parameters)
                self._again = _heads(self._gradients(closure))
                computed += _some(self._again)
            if self._checked or computed:
                self._before = self._at_old_parameters(closure)
                computed += _some(self._before)
        except Exception as error:
            # If the loop's own evaluation raises as well, it is the loop's to say so.
            self._failure = (
                f"the closure raises when called again ({type(error).__name__}: {first_line(error)})"
            )
        attend(self, True)
        return computed

    def saw_backward(self, outputs: Sequence[Any], grad_outputs: Any, inputs: Any) -> None:
        """Of the loop's own evaluation: whether gradients are there already."""
        if self._adds is None and {id(p) for p in self.parameters} & {id(leaf) for leaf in leaves(outputs)}:
            self._adds = bool(count(torch.count_nonzero, [p.grad for p in self.parameters]))

    def pair(self) -> list[GradientPair]:
        """See `Probe.pair`.

        Raises:
            ProbeError: The closure gives another gradient, or none, when called again.
            SkippedProbeError: It computed none this time.
        """
        if self._any(self._failure is not None):
            raise ProbeError(self._failure or "the closure raises when called again, on another rank")
        if not self._checked:
            self._check()
        elif self._any(bool(self._adds)):
            raise ProbeError(ADDS)
        self._need_gradients()
        return self.pair_with(self._before)

    def forget(self) -> None:
        """See `Probe.forget`."""
        super().forget()
        attend(self, False)
        self._before, self._again, self._there = [], [], []

    def _any(self, flag: bool) -> bool:
        """Whether it is so on any rank; within torch's `Join` nobody can ask the others."""
        if self._ranks.some_may_be_done(self.parameters):
            return flag
        return self._ranks.any(flag, self.parameters)

    def _need_gradients(self) -> None:
        """Raise if the evaluation at the old parameters gave no gradient, on any rank."""
        if not self._any(not _some(self._before)):
            self._empty = 0
            return
        self._empty += 1
        if self._empty == PATIENCE or any(p.grad is not None for p in self.parameters):
            raise ProbeError(COMPUTES_NOTHING)
        self.forget()
        raise SkippedProbeError("the closure computes no gradient in this step: this probe is left out")

    def _at_old_parameters(self, closure: Closure) -> list[Tensor | None]:
        self._swap()
        try:
            return self._gradients(closure)
        finally:
            self._swap()

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
        given = _heads(p.grad for p in self.parameters)
        if not self._any(_some(self._again)):
            if _some(given):
                raise ProbeError(COMPUTES_NOTHING)
            return
        difference, size = self._difference(given, self._again)
        self._checked = 0.0 < size < float("inf")
        if not self._checked or difference <= REPEATS**2 * size:
            return
        added = [_sum(there, again) for there, again in zip(self._there, self._again, strict=True)]
        rest, _ = self._difference(given, added)
        if rest <= REPEATS**2 * size:
            raise ProbeError(ADDS)
        raise ProbeError(
            "the closure gives another gradient when called again at the same parameters "
            f"(relative difference {(difference / size) ** 0.5:.2g}), as if it drew a new minibatch; "
            "draw the minibatch outside the closure, or use probe='graph'"
        )

    def _difference(
        self, given: Sequence[Tensor | None], others: Sequence[Tensor | None]
    ) -> tuple[float, float]:
        """Squared norms of the difference and of the others; a gradient that only one side has counts 1."""
        total, unpaired = GlobalSum(), 0.0
        for p, own, other in zip(self.parameters, given, others, strict=True):
            if own is None or other is None:
                unpaired += float(own is not other)
                continue
            total.add(p, torch.stack([squared(own - other), squared(other)]))
        difference, size = total.result() or (0.0, 0.0)
        return difference + unpaired, size


def _heads(gradients: Iterable[Tensor | None]) -> list[Tensor | None]:
    return [None if g is None else _head(g.detach()).clone() for g in gradients]


def _some(gradients: Sequence[Tensor | None]) -> bool:
    return any(g is not None for g in gradients)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return one if other is None else other if one is None else one + other


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
