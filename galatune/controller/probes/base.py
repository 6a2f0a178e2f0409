"""What a probe is: where the gradient pair comes from, two gradients of one minibatch a step apart.

A probe keeps what it needs just before the step whose successor is probed, and forgets it right after:
nothing per parameter is kept between probes. No probe changes a gradient.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from galatune.controller.gradient_pair import GradientPair

__all__ = ["LoopGradientsProbe", "Probe", "SkippedProbeError", "StepScales", "WeakTensors"]

LEAST_SHARE = 0.2
"""Smallest share of the early step scale that remains later."""


class SkippedProbeError(Exception):
    """This one probe showed nothing, and the reason is removed for the next one."""


@dataclass(frozen=True)
class StepScales:
    """What the rate is multiplied by, chosen with the testbed (docs/research.md).

    Attributes:
        decaying: While a schedule decays.
        constant: Without a schedule.
        adaptive: The scales if the optimizer's metric is adaptive and the gradient is compared with the
            previous update; None: the same.
        early: Number of steps after which `decaying` falls as 1 / sqrt(steps), as rates must for noise to
            average out, to a fifth at most (more than 5,000 steps were not examined); None: it does not.
    """

    decaying: float
    constant: float
    adaptive: StepScales | None = None
    early: int | None = None

    def scale(self, *, decays: bool, adaptive: bool, steps: int = 0) -> float:
        """The scale after so many steps.

        Example:
            >>> scales = Probe.step_scales
            >>> scales.scale(decays=True, adaptive=False), scales.scale(decays=False, adaptive=True)
            (2.0, 1.0)
            >>> [scales.scale(decays=True, adaptive=True, steps=steps) for steps in (200, 800, 10**6)]
            [2.5, 1.25, 0.5]
        """
        if adaptive and self.adaptive is not None:
            return self.adaptive.scale(decays=decays, adaptive=False, steps=steps)
        if not decays:
            return self.constant
        if self.early is None or steps <= self.early:
            return self.decaying
        return self.decaying * max(math.sqrt(self.early / steps), LEAST_SHARE)


class Probe:
    """One source of gradient pairs; a probe of your own derives from it.

    The controller calls, in this order: `watch` once; `remember` in the step before the probed one, with
    that step's gradients there, and `stepped` after it; in the probed step `prepare` before its gradients
    are there (with a closure), `agree` and `pair` once they are; `unwatch` at the end. By default, the
    parameters from before the step are kept, so that `pair_with` needs g0 only.

    Attributes:
        name: Shown in events, and by which a checkpoint finds the probe again.
        gradient_evaluations: Gradients that a probe computes beside the loop's own; a Hessian-vector product
            counts as 3. What `prepare` computes is not part of it.
        step_scales: What the rate is multiplied by.
        echoes_minibatch: True if g0 and g1 are of the minibatch of the step between, which so has a share in
            that step.
        uses_loop_gradients: True if g0 is the gradient that the loop computed for the step between.
        needs_closure: True if the loop has to call ``optimizer.step(closure)``.
        next_step_metric: True if pairs are measured in the metric of the coming step, the probed gradient
            taken in (docs/research.md, round 1).
        parameters: Those of the remembered step; empty if none is remembered.
        old: Their values before that step.
    """

    name: str = "custom"
    gradient_evaluations: int = 0
    step_scales: StepScales = StepScales(2.0, 1.0, adaptive=StepScales(2.5, 1.0, early=200))
    echoes_minibatch: bool = False
    uses_loop_gradients: bool = False
    needs_closure: bool = False
    next_step_metric: bool = False

    def __init__(self) -> None:
        self.parameters: list[Tensor] = []
        self.old: list[Tensor] = []

    @property
    def holds(self) -> bool:
        """True if a step is remembered."""
        return bool(self.parameters)

    @property
    def ready(self) -> bool:
        """True if the present step is the one to be probed; by default, if a step is remembered."""
        return self.holds

    def watch(self) -> None:
        """Begin to see what the loop does, if the probe needs to."""

    def unwatch(self) -> None:
        """Stop seeing it."""

    def expect(self, wanted: bool) -> None:
        """Called after a step: whether the coming one is going to be remembered."""

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """Called before a step whose successor is probed, its own gradients there.

        Raises:
            ProbeError: The probe cannot serve this loop.
        """
        self.parameters = list(parameters)
        self.old = [p.detach().clone() for p in self.parameters]

    def stepped(self) -> None:
        """Called after that step."""

    def prepare(self, closure: Callable[[], Any] | None) -> int:
        """Called before the gradients of a step are there, with the closure that it was called with.

        Returns:
            Number of gradients computed.
        """
        return 0

    def agree(self) -> None:
        """Called with the gradients of each step there: make it probed on every rank, or on none."""

    def pair(self) -> list[GradientPair]:
        """The pair, once the probed step's own gradients are there; forgets what was remembered.

        Raises:
            ProbeError: The probe cannot serve this loop.
            SkippedProbeError: It could not this time, and will be able to.
        """
        raise NotImplementedError(f"{type(self).__name__}.pair")

    def hold_weakly(self) -> None:
        """The optimizer is gone, and its parameters may go too."""
        self.parameters = WeakTensors(self.parameters)

    def forget(self) -> None:
        """Drop what was remembered (a checkpoint was loaded, the rate was frozen)."""
        self.parameters, self.old = [], []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds: lists of one tensor (or None) per parameter, and plain types."""
        return {"old": list(self.old)} if self.holds else {}

    def load_state_dict(self, state: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
        """Continue from `state_dict`.

        Args:
            state: With tensors of the parameters' devices and types. Its lists are missing if the step it
                held does not fit these parameters; then no step is held.
            parameters: Of the optimizer.
        """
        self.forget()
        if "old" in state:
            self.parameters, self.old = list(parameters), [old for old in state["old"] if old is not None]

    def pair_with(self, before: Sequence[Tensor | None]) -> list[GradientPair]:
        """The pair of these gradients g0 and the loop's own g1; forgets what was remembered."""
        self.turn_into_step()
        pairs = [
            GradientPair(p, g0, p.grad.detach(), step)
            for p, g0, step in zip(self.parameters, before, self.old, strict=True)
            if g0 is not None and p.grad is not None
        ]
        self.forget()
        return pairs

    def turn_into_step(self) -> None:
        """Replace the remembered parameters by the step, one by one; a checkpoint may hold the old ones."""
        for i, p in enumerate(self.parameters):
            self.old[i] = p.detach() - self.old[i]


class WeakTensors(list[Any]):
    """The parameters of a remembered step, once their optimizer is gone: the probe keeps none of them alive.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> held = WeakTensors([weight])
        >>> held[0] is weight, [p is weight for p in held]
        (True, [True])
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__([weakref.ref(one) for one in tensors])

    def __iter__(self) -> Iterator[Any]:
        return (reference() for reference in super().__iter__())

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return [one() for one in found] if isinstance(place, slice) else found()


class LoopGradientsProbe(Probe):
    """Pairs of the loop's own gradients: that of the remembered step, and that of the probed one."""

    uses_loop_gradients = True

    def __init__(self) -> None:
        super().__init__()
        self._before: list[Tensor | None] = []

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """See `Probe.remember`."""
        super().remember(parameters)
        self._before = [None if p.grad is None else p.grad.detach().clone() for p in self.parameters]

    def pair(self) -> list[GradientPair]:
        """See `Probe.pair`."""
        return self.pair_with(self._before)

    def forget(self) -> None:
        """See `Probe.forget`."""
        super().forget()
        self._before = []

    def state_dict(self) -> dict[str, Any]:
        """See `Probe.state_dict`."""
        return {**super().state_dict(), "before": list(self._before)} if self.holds else {}

    def load_state_dict(self, state: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
        """See `Probe.load_state_dict`."""
        super().load_state_dict(state, parameters)
        if self.holds:
            self._before = list(state["before"])
