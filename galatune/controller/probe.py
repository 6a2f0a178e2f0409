"""Where the gradient pair comes from: two gradients of one minibatch, a step apart.

A probe remembers what it needs just before the step whose successor is probed, and forgets it right
after: nothing per parameter is kept between probes. No probe changes a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from galatune.controller.attention import MathForwards, is_fused, math_kernel
from galatune.controller.backward import leaves, listen, nodes, unlisten
from galatune.controller.estimate import PairEntry, inner_products
from galatune.controller.geometry import as_real
from galatune.controller.ranks import (
    GlobalSum,
    Ranks,
    count,
    is_sharded,
    local,
    placed_like,
    squared,
)
from galatune.controller.rehearsal import rehearsal
from galatune.errors import ProbeError

__all__ = [
    "Change",
    "ClosureProbe",
    "ConsecutiveProbe",
    "GraphProbe",
    "Probe",
    "RememberedGradients",
    "SkippedProbeError",
]

Closure = Callable[[], Any]

REPEATS = 1e-2
"""Largest relative difference of two gradients that count as the same one: devices add up in any order."""

SAME_SCALE = 1e-3
"""Two computations of one gradient differ by less; a loss scale or clipping, if it acts, by more."""

HEAD = 4096
"""Entries of a tensor that are compared."""

DEAD_ENDS = ("torch::autograd::Error", "torch::autograd::NotImplemented")
"""Nodes that would raise if they ran. Asked for leaves, torch leaves them out, and so curvature."""


class SkippedProbeError(Exception):
    """This one probe showed nothing, and the reason is mended for the next one."""


@dataclass(frozen=True)
class Change:
    """The gradient pair of one parameter and the step between: g0, g1, d; each of the parameter's shape."""

    parameter: Tensor
    before: Tensor
    after: Tensor
    step: Tensor


class Probe(Protocol):
    """One source of gradient pairs."""

    name: str
    cost: int
    """Gradient evaluations a probe adds to the loop's own; a Hessian-vector product counts 2."""

    decaying_scale: float
    """Step scale while a schedule decays."""

    constant_scale: float
    """Step scale without a schedule."""

    def watch(self) -> None:
        """Begin to see what the loop does, where the probe needs to."""
        ...

    def unwatch(self) -> None:
        """Stop seeing it."""
        ...

    def expect(self, wanted: bool) -> None:
        """Called after each step: whether the coming one is to be remembered."""
        ...

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """Called before a step whose successor is probed, its own gradients there."""
        ...

    def stepped(self) -> None:
        """Called after that step."""
        ...

    def pair(self) -> list[Change]:
        """The pair, once the probed step's own gradients are there; forgets what was remembered."""
        ...

    def forget(self) -> None:
        """Drop what was remembered (a checkpoint was loaded, the rate was frozen)."""
        ...

    def remembered(self) -> dict[str, Any]:
        """What a checkpoint carries between the step and its probe.

        Names to a list of one tensor a parameter, or to a dict of plain types.
        """
        ...

    def restore(self, parameters: Sequence[Tensor], kept: Mapping[str, Any]) -> None:
        """Continue from `remembered`, with tensors of the parameters' devices and types."""
        ...

    @property
    def holds(self) -> bool:
        """Whether a step was remembered."""
        ...

    @property
    def ready(self) -> bool:
        """Whether the present step is the one to be probed."""
        ...


class _Remembered:
    """Copies of the parameters from before a step."""

    cost = 0
    decaying_scale, constant_scale = 2.0, 1.0

    def __init__(self) -> None:
        self.parameters: list[Tensor] = []
        self.old: list[Tensor] = []

    @property
    def holds(self) -> bool:
        return bool(self.parameters)

    @property
    def ready(self) -> bool:
        return self.holds

    def watch(self) -> None:
        return

    def unwatch(self) -> None:
        return

    def expect(self, wanted: bool) -> None:
        return

    def remember(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        self.old = [p.detach().clone() for p in self.parameters]

    def stepped(self) -> None:
        return

    def forget(self) -> None:
        self.parameters, self.old = [], []

    def _pair_with_gradients(self, before: Sequence[Tensor | None]) -> list[Change]:
        """The pair of gradients from before the step and the loop's own now; forgets what was remembered."""
        self._turn_into_step()
        changes = [
            Change(p, g0, p.grad.detach(), step)
            for p, g0, step in zip(self.parameters, before, self.old, strict=True)
            if g0 is not None and p.grad is not None
        ]
        self.forget()
        return changes

    def _turn_into_step(self) -> None:
        """The remembered parameters become the step, one at a time: checkpoints may hold the old ones."""
        for i, p in enumerate(self.parameters):
            self.old[i] = p.detach() - self.old[i]

    def remembered(self) -> dict[str, Any]:
        """See `Probe.remembered`."""
        return {"old": list(self.old)} if self.holds else {}

    def restore(self, parameters: Sequence[Tensor], kept: Mapping[str, Any]) -> None:
        """See `Probe.restore`."""
        self.forget()
        self.parameters, self.old = list(parameters), [old for old in kept["old"] if old is not None]


class ClosureProbe(_Remembered):
    """`optimizer.step(closure)`: on a probe step the closure is evaluated once more, at the old parameters.

    Both evaluations see the same random numbers (torch on every device, numpy, Python); buffers, gradients
    and random states are then put back, so that the loop's own evaluation is what it would have been.
    Metrics and counters inside the closure count twice. The first probe evaluates it a third time, where
    the loop does, to see that it gives the same gradient: one that draws a new minibatch is refused.
    """

    name = "closure"
    cost = 1

    def __init__(self) -> None:
        super().__init__()
        self._before: list[Tensor | None] = []
        self._again: list[Tensor | None] = []
        self._checked = False
        self._ranks = Ranks()

    def evaluate(self, closure: Closure) -> int:
        """Compute g0: the closure at the parameters before the last step.

        Returns:
            Gradient evaluations spent: 2 until the closure is known to repeat itself, else 1.
        """
        if not self._checked:
            self._again = [None if g is None else _head(g).clone() for g in self._gradients(closure)]
        self._swap()
        try:
            self._before = self._gradients(closure)
        finally:
            self._swap()
        return 1 if self._checked else 2

    def pair(self) -> list[Change]:
        """See `Probe.pair`.

        Raises:
            ProbeError: The closure draws another minibatch at each call.
        """
        if not self._checked:
            self._check()
        return self._pair_with_gradients(self._before)

    def forget(self) -> None:
        """See `Probe.forget`."""
        super().forget()
        self._before, self._again = [], []

    def _swap(self) -> None:
        _swap(self.parameters, self.old)
        self._ranks.refresh(self.parameters)

    def _gradients(self, closure: Closure) -> list[Tensor | None]:
        with rehearsal(self.parameters):
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


class GraphProbe(_Remembered):
    """`loss.backward()`: on a probe step a Hessian-vector product with the last step, ``g0 = g1 - H d``.

    It runs on the loop's own graph, before the ordinary backward, which is left untouched. Several
    backward calls before a step (accumulation, several losses) add up, as their gradients do.
    Under `fully_shard` it cannot: there the graph holds copies of the parameters, and hooks gather and
    scatter them around one backward call. The closure and the consecutive probe can.

    Fused kernels of attention have no second derivative. The first probe that meets one is skipped; from
    then on the modules of a probed step, and of no other, compute attention by torch's math kernel.
    """

    name = "graph"
    cost = 2

    def __init__(self) -> None:
        super().__init__()
        self._after: list[Tensor | None] = []
        self._change: list[Tensor | None] = []
        self._ranks = Ranks()
        self._forwards: MathForwards | None = None
        self._fused = False
        self.failure: str | None = None
        """Why the last graph could not be differentiated twice; None where it could."""
        self.needs_math = False
        """Whether attention has to be computed by the math kernel; a checkpoint carries it."""

    def watch(self) -> None:
        """Look at backward calls."""
        listen(self)

    def unwatch(self) -> None:
        """Look no more."""
        unlisten(self)

    def stepped(self) -> None:
        """See `Probe.stepped`; the remembered parameters are the step from here on."""
        self._turn_into_step()
        self._restart()
        self._begin_forwards()

    def saw_backward(
        self, outputs: Sequence[Tensor], grad_outputs: Any, inputs: Any
    ) -> AbstractContextManager[None] | None:
        """Add this backward call's share of the pair.

        Calls that do not reach these parameters (another net's, another thread's) are none of its business.

        Returns:
            The math kernel for the call, where its forward used it: a checkpoint computes it once more.
        """
        mathematical = self._forwards is not None and not is_fused(outputs)
        with math_kernel() if mathematical else nullcontext():
            self._look(outputs, grad_outputs, inputs)
        return math_kernel() if mathematical else None

    def _look(self, outputs: Sequence[Tensor], grad_outputs: Any, inputs: Any) -> None:
        reached = {id(leaf) for leaf in leaves(outputs)}
        if inputs is not None:
            reached &= {id(wanted) for wanted in inputs}
        places = [i for i, p in enumerate(self.parameters) if id(p) in reached]
        if not places:
            return
        if not count(torch.count_nonzero, [p.grad for p in self.parameters]):
            self._restart()  # gradients were zeroed: what was seen before does not count
        if self.failure is not None:
            return
        try:
            self._differentiate(outputs, grad_outputs, places)
        except (RuntimeError, NotImplementedError) as error:
            self.failure, self._fused = str(error).splitlines()[0], is_fused(outputs)

    def pair(self) -> list[Change]:
        """See `Probe.pair`.

        Raises:
            ProbeError: The graph could not be differentiated twice, or no backward call was seen.
            SkippedProbeError: It could not this time, and will be able to.
        """
        if self._ranks.some_may_be_done(self.parameters):
            raise ProbeError("within torch's Join, ranks cannot average what the graph probe measured")
        if self._ranks.any(self.failure is not None, self.parameters):
            self._fail(self.failure or "on another rank")
        self._average()
        if count(_non_finite, self._change) and not count(_non_finite, self._after):
            self._change = [None] * len(self._change)  # H d overflowed, no gradient did: nothing was seen
        changes, scale = [], self._scale()
        for p, after, change, step in zip(self.parameters, self._after, self._change, self.old, strict=True):
            if after is not None:
                before = after if change is None else after - change
                changes.append(Change(p, scale * before, scale * after, step))
        sharded = any(is_sharded(p) for p in self.parameters)
        self.forget()
        if not changes and sharded:
            raise ProbeError(
                "fully_shard keeps the parameters of this optimizer out of the loss's graph, so the graph "
                "probe cannot serve them; optimizer.step(closure) can be probed"
            )
        if not changes:
            raise ProbeError("no backward call reached the parameters of this optimizer")
        return changes

    def forget(self) -> None:
        """See `Probe.forget`."""
        super().forget()
        self._end_forwards()
        self._restart()

    def restore(self, parameters: Sequence[Tensor], kept: Mapping[str, Any]) -> None:
        """See `Probe.restore`."""
        super().restore(parameters, kept)
        self._restart()
        self._begin_forwards()

    def _begin_forwards(self) -> None:
        if self.needs_math and self._forwards is None:
            self._forwards = MathForwards()

    def _end_forwards(self) -> None:
        if self._forwards is not None:
            self._forwards.close()
        self._forwards = None

    def _fail(self, failure: str) -> NoReturn:
        if not self._ranks.any(self._fused, self.parameters):
            raise ProbeError(f"this loss cannot be differentiated twice ({failure})")
        if self.needs_math:
            raise ProbeError(
                "a fused kernel of attention cannot be differentiated twice, and the math kernel could not "
                "replace it: attention is called outside any torch.nn.Module, or that kernel is switched off"
            )
        self.needs_math = True
        self.forget()
        raise SkippedProbeError(
            "a fused kernel of attention cannot be differentiated twice: this probe is left out, and from "
            "the next one on the forward of a probed step computes attention by torch's math kernel"
        )

    def _average(self) -> None:
        """Under DistributedDataParallel: what was asked for beside ``backward()`` is this rank's alone."""
        self._after = self._ranks.means(self._after, self.parameters)
        self._change = self._ranks.means(self._change, self.parameters)

    def _scale(self) -> float:
        """What was done to the gradients between backward and step: a loss scale taken out, clipping.

        The pair is that of the gradients the optimizer is given, or the rate would have other units.
        """
        seen = [
            PairEntry(as_real(after), as_real(p.grad.detach()), as_real(step))
            for p, after, step in zip(self.parameters, self._after, self.old, strict=True)
            if after is not None and p.grad is not None
        ]
        products = inner_products(seen) if seen else None
        if products is None or not products.finite or products.after_before <= 0:
            return 1.0
        scale = products.after_before / products.before_before
        return 1.0 if abs(scale - 1.0) < SAME_SCALE else scale

    def _restart(self) -> None:
        self._after = [None] * len(self.parameters)
        self._change = [None] * len(self.parameters)
        self.failure, self._fused = None, False

    def _differentiate(self, outputs: Sequence[Tensor], grad_outputs: Any, places: list[int]) -> None:
        parameters = [self.parameters[i] for i in places]
        first = torch.autograd.grad(
            outputs, parameters, grad_outputs, retain_graph=True, create_graph=True, allow_unused=True
        )
        curved = [
            (g, self.old[i]) for g, i in zip(first, places, strict=True) if g is not None and g.requires_grad
        ]
        if any(node.name() in DEAD_ENDS for node in nodes([g for g, _ in curved])):
            raise RuntimeError("it holds a function whose backward is marked once_differentiable")
        second: Sequence[Tensor | None] = [None] * len(parameters)
        if curved:
            second = torch.autograd.grad(
                [g for g, _ in curved],
                parameters,
                [d for _, d in curved],
                retain_graph=True,
                allow_unused=True,
            )
        for i, p, g, h in zip(places, parameters, first, second, strict=True):
            self._after[i] = _add(self._after[i], placed_like(g, p))
            self._change[i] = _add(self._change[i], placed_like(h, p))


class RememberedGradients(_Remembered):
    """Gradients and parameters from before a step, to be paired with the loop's own after it."""

    def __init__(self) -> None:
        super().__init__()
        self._before: list[Tensor | None] = []

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """See `Probe.remember`; called when the step's own gradients are there."""
        super().remember(parameters)
        self._before = [None if p.grad is None else p.grad.detach().clone() for p in self.parameters]

    def pair(self) -> list[Change]:
        """See `Probe.pair`."""
        return self._pair_with_gradients(self._before)

    def forget(self) -> None:
        """See `Probe.forget`."""
        super().forget()
        self._before = []

    def remembered(self) -> dict[str, Any]:
        """See `Probe.remembered`."""
        return {**super().remembered(), "before": list(self._before)} if self.holds else {}

    def restore(self, parameters: Sequence[Tensor], kept: Mapping[str, Any]) -> None:
        """See `Probe.restore`."""
        super().restore(parameters, kept)
        self._before = list(kept["before"])


class ConsecutiveProbe(RememberedGradients):
    """The previous and the current stochastic gradient, each of its own minibatch.

    Nothing extra and works everywhere, but noise counts as curvature: the last resort.
    """

    name = "consecutive"


def _non_finite(tensor: Tensor) -> Tensor:
    return tensor.isfinite().logical_not_().sum()


def _head(tensor: Tensor) -> Tensor:
    return local(tensor).flatten()[:HEAD]


def _add(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    if part is None:
        return total
    return part.detach() if total is None else total + part.detach()


@torch.no_grad()
def _swap(parameters: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    """Exchange values in place, one parameter at a time; storages stay where they are."""
    for p, other in zip(parameters, others, strict=True):
        held = p.detach().clone()
        # .data: the values come back, so graphs that others hold stay valid.
        p.data.copy_(other)
        other.copy_(held)
