"""The pair of a loop that calls ``loss.backward()``: a Hessian-vector product on the loop's own graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from galatune.controller.gradient_pair import GradientPair, pieces
from galatune.controller.optimizers import as_real
from galatune.controller.probes.base import Probe, SkippedProbeError
from galatune.controller.torch_hooks.attention import MathForwards, is_fused, math_kernel
from galatune.controller.torch_hooks.backward import attend, leaves, listen, nodes, unlisten
from galatune.controller.torch_hooks.distributed import (
    GlobalSum,
    Ranks,
    count,
    is_sharded,
    local,
    placed_like,
    wide,
)
from galatune.errors import ProbeError

__all__ = ["GraphProbe"]

SAME_SCALE = 1e-3
"""Two computations of one gradient differ by less; a loss scale or clipping, if it acts, by more."""

DEAD_ENDS = ("torch::autograd::Error", "torch::autograd::NotImplemented")
"""Nodes that would raise if they ran. Asked for leaves, torch leaves them out, and curvature with them."""


PRODUCT = 3
"""Gradient evaluations that a Hessian-vector product counts as. Its processor time was 1.6 to 3.7 gradients,
2.4 on average over six nets, rounded up (``galatune bench cost --gradients``, one thread)."""

UNLIKE = 5.0
"""Gradients at perturbed parameters differ from those at the parameters by less; a loss scale by more."""


@dataclass
class Place:
    """What backward calls at the same parameter values gave: several calls add up.

    Attributes:
        values: Sums of the parameters, which tell whether they were moved since.
        after: g1, one entry for each parameter.
        change: H d, likewise.
    """

    values: list[Tensor]
    after: list[Tensor | None]
    change: list[Tensor | None]


class GraphProbe(Probe):
    """`loss.backward()`: on a probe step a Hessian-vector product with the last step, ``g0 = g1 - H d``.

    It runs on the loop's own graph, before the ordinary backward, which is left untouched. Several
    backward calls before a step (accumulation, several losses) add up, as their gradients do, except those
    at parameters that were moved meanwhile and moved back before the step (sharpness-aware minimization).
    Under `fully_shard` it cannot: there the graph holds copies of the parameters, and hooks gather and
    scatter them around one backward call. The closure and the consecutive probe can.

    Fused kernels of attention have no second derivative. The first probe that meets one is skipped; from
    then on the modules of a probed step, and of no other, compute attention by torch's math kernel.
    """

    name = "graph"

    def __init__(self) -> None:
        super().__init__()
        self._after: list[Tensor | None] = []
        self._change: list[Tensor | None] = []
        self._places: list[Place] = []
        self._perturbed = False
        self._ranks = Ranks()
        self._forwards: MathForwards | None = None
        self._fused = False
        self._looked = False
        self.failure: str | None = None
        """Why the last graph could not be differentiated twice; None if it could."""
        self.needs_math = False
        """Whether attention has to be computed by the math kernel; a checkpoint carries it."""

    @property
    def gradient_evaluations(self) -> int:  # type: ignore[override]
        """`PRODUCT` for a Hessian-vector product; 0 if no backward call reached the parameters."""
        return PRODUCT if self._looked else 0

    def watch(self) -> None:
        """Look at backward calls."""
        listen(self)

    def unwatch(self) -> None:
        """Look no more."""
        unlisten(self)

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """See `Probe.remember`."""
        super().remember(parameters)
        attend(self, True)

    def stepped(self) -> None:
        """See `Probe.stepped`; the remembered parameters are the step from here on."""
        self.turn_into_step()
        self._restart()
        self._looked = False
        self._begin_forwards()

    def saw_backward(
        self, outputs: Sequence[Tensor], grad_outputs: Any, inputs: Any
    ) -> AbstractContextManager[None] | None:
        """Add this backward call's share of the pair.

        Calls that do not reach these parameters (another net's, another thread's) are ignored.

        Returns:
            The math kernel for the call, if its forward used it: activation checkpointing computes it again.
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
        place = self._place()
        if place is None or self.failure is not None:
            return
        self._looked = True
        try:
            self._differentiate(outputs, grad_outputs, places, place)
        except (RuntimeError, NotImplementedError) as error:
            self.failure, self._fused = str(error).splitlines()[0], is_fused(outputs)

    def _place(self) -> Place | None:
        """Where this backward call adds its share; None if the parameters are perturbed, which is known.

        The first place and the latest are kept: which of them counts, the parameters at the step tell.
        """
        values = self._values()
        here = next((one for one in self._places if _same(one.values, values)), None)
        if here is None and self._places and self._perturbed:
            return None
        zeroed = not count(torch.count_nonzero, [p.grad for p in self.parameters])
        if here is not None and not zeroed:
            return here
        if here is not None:  # gradients were zeroed: what was seen here before does not count
            self._places = [one for one in self._places if one is not here]
            self.failure, self._fused = None, False
        nothing: list[Tensor | None] = [None] * len(self.parameters)
        found = Place(values, nothing, list(nothing))
        self._places = [*self._places[:1], found]
        return found

    def _values(self) -> list[Tensor]:
        return [local(p.detach()).sum() for p in self.parameters]

    def _choose_place(self) -> bool:
        """Take the gradients of the place that the step is taken from; False if there was no call there."""
        first = self._places[0] if self._places else None
        if first is None or (len(self._places) == 1 and not self._perturbed):
            chosen = first
        else:
            back = _same(first.values, self._values())
            if self._perturbed and not back:
                self._perturbed = False
                return False
            chosen, self._perturbed = (first if back else self._places[-1]), back
        if chosen is not None:
            self._after, self._change = chosen.after, chosen.change
        return True

    def pair(self) -> list[GradientPair]:
        """See `Probe.pair`.

        Raises:
            ProbeError: The graph could not be differentiated twice, or no backward call was seen.
            SkippedProbeError: It could not this time, and will be able to.
        """
        if self._ranks.some_may_be_done(self.parameters):
            raise ProbeError("within torch's Join, ranks cannot average what the graph probe measured")
        if self._ranks.any(self.failure is not None, self.parameters):
            self._fail(self.failure or "on another rank")
        if not self._choose_place():
            self.forget()
            raise SkippedProbeError("the parameters moved between backward() and step(): a probe is left out")
        self._average()
        if count(_overflow, self._change) and not count(_overflow, self._after):
            self._change = [None] * len(self._change)  # H d overflowed, no gradient did: nothing was seen
        changes, scale = [], self._scale()
        for p, after, change, step in zip(self.parameters, self._after, self._change, self.old, strict=True):
            if after is not None:
                before = after if change is None else after - change
                scaled = (before, after) if scale == 1.0 else (scale * before, scale * after)
                changes.append(GradientPair(p, *scaled, step))
        sharded = any(is_sharded(p) for p in self.parameters)
        idle = not any(p.grad is not None for p in self.parameters)
        self.forget()
        if not changes and sharded:
            raise ProbeError(
                "fully_shard keeps the parameters of this optimizer out of the loss's graph, so the graph "
                "probe cannot serve them; optimizer.step(closure) can be probed"
            )
        if not changes and idle:
            raise SkippedProbeError("there is no gradient in this step: this probe is left out")
        if not changes:
            raise ProbeError("no backward call reached the parameters of this optimizer")
        return changes

    def forget(self) -> None:
        """See `Probe.forget`."""
        super().forget()
        attend(self, False)
        self._end_forwards()
        self._restart()
        self._looked = False

    def state_dict(self) -> dict[str, Any]:
        """See `Probe.state_dict`; whether attention needs the math kernel is part of it."""
        state = super().state_dict()
        return {**state, "needs_math": True} if self.needs_math else state

    def load_state_dict(self, state: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
        """See `Probe.load_state_dict`."""
        self.needs_math = bool(state.get("needs_math"))
        super().load_state_dict(state, parameters)
        self._restart()
        if self.holds:
            attend(self, True)
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
        if all(map(_is_untouched, self.parameters, self._after)):
            return 1.0
        total = GlobalSum()
        for p, after in zip(self.parameters, self._after, strict=True):
            if after is None or p.grad is None:
                continue
            for piece, _ in pieces(GradientPair(p, after, p.grad.detach(), after)):
                own, given = (_flat(part) for part in (piece.before, piece.after))
                total.add(p, torch.stack([own.dot(given), own.dot(own)]))
        along, whole = total.result() or (0.0, 0.0)
        if not (0.0 < along < math.inf and 0.0 < whole < math.inf):
            return 1.0
        scale = along / whole
        if self._perturbed and 1.0 / UNLIKE < scale < UNLIKE:
            return 1.0  # .grad was computed elsewhere
        return 1.0 if abs(scale - 1.0) < SAME_SCALE else scale

    def _restart(self) -> None:
        self._after = [None] * len(self.parameters)
        self._change = [None] * len(self.parameters)
        self._places = []
        self.failure, self._fused = None, False

    def _differentiate(
        self, outputs: Sequence[Tensor], grad_outputs: Any, places: list[int], place: Place
    ) -> None:
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
            place.after[i] = _add(place.after[i], placed_like(g, p))
            place.change[i] = _add(place.change[i], placed_like(h, p))


def _flat(tensor: Tensor) -> Tensor:
    part = as_real(local(tensor))
    return part.to(wide(part)).reshape(-1)


def _same(values: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return not count(torch.count_nonzero, [a - b for a, b in zip(values, others, strict=True)])


def _overflow(tensor: Tensor) -> Tensor:
    """0 if all entries are finite, else NaN."""
    part = as_real(tensor)
    total = part.sum(dtype=wide(part))
    return total - total


def _is_untouched(parameter: Tensor, gradient: Tensor | None) -> bool:
    """Whether it can be seen without waiting for a device that this gradient is the one of the step."""
    given = parameter.grad
    if gradient is None or given is None or is_sharded(parameter):
        return gradient is given
    return gradient.device.type == "cpu" and torch.equal(gradient, given)


def _add(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    if part is None:
        return total
    return part.detach() if total is None else total + part.detach()
