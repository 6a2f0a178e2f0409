"""Where the gradient pair comes from: two gradients of one minibatch, a step apart.

A probe remembers what it needs just before the step whose successor is probed, and forgets it right
after: nothing per parameter is kept between probes. No probe changes a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from galatune.controller.gradient_pair import Change

__all__ = [
    "ConsecutiveProbe",
    "Probe",
    "RememberedGradients",
    "RememberedStep",
    "Scales",
    "SkippedProbeError",
]

LEAST_SHARE = 0.2
"""Of the early step scale, later on."""


class SkippedProbeError(Exception):
    """This one probe showed nothing, and the reason is mended for the next one."""


@dataclass(frozen=True)
class Scales:
    """Step scales of a probe, found in the testbed (docs/research.md).

    Attributes:
        decaying: While a schedule decays.
        constant: Without a schedule.
        adaptive: Those where the optimizer's metric is adaptive and the gradient is compared with the
            direction travelled; None: the same.
        early: Steps after which `decaying` falls as 1 / sqrt(steps), as rates must where noise is to average
            out, to a fifth at most (5,000 steps and more were not looked at); None: it does not.
    """

    decaying: float
    constant: float
    adaptive: Scales | None = None
    early: int | None = None

    def of(self, *, decays: bool, adaptive: bool, steps: int = 0) -> float:
        """The one that counts after so many steps.

        Example:
            >>> scales = RememberedStep.scales
            >>> scales.of(decays=True, adaptive=False), scales.of(decays=False, adaptive=True)
            (2.0, 1.0)
            >>> [scales.of(decays=True, adaptive=True, steps=steps) for steps in (200, 800, 10**6)]
            [2.5, 1.25, 0.5]
        """
        if adaptive and self.adaptive is not None:
            return self.adaptive.of(decays=decays, adaptive=False, steps=steps)
        if not decays:
            return self.constant
        if self.early is None or steps <= self.early:
            return self.decaying
        return self.decaying * max(math.sqrt(self.early / steps), LEAST_SHARE)


class Probe(Protocol):
    """One source of gradient pairs."""

    name: str
    cost: int
    """Gradient evaluations a probe adds to the loop's own; a Hessian-vector product counts 2."""

    scales: Scales
    """What the rate is multiplied by."""

    coming_metric: bool
    """Whether its pairs are measured in the metric of the coming step; docs/research.md, round 1."""

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


class RememberedStep:
    """Copies of the parameters from before a step."""

    cost = 0
    scales = Scales(2.0, 1.0, adaptive=Scales(2.5, 1.0, early=200))
    coming_metric = False

    def __init__(self) -> None:
        self.parameters: list[Tensor] = []
        self.old: list[Tensor] = []

    @property
    def holds(self) -> bool:
        """See `Probe.holds`."""
        return bool(self.parameters)

    @property
    def ready(self) -> bool:
        """See `Probe.ready`; here, whenever one is remembered."""
        return self.holds

    def watch(self) -> None:
        """See `Probe.watch`; there is nothing to see."""

    def unwatch(self) -> None:
        """See `Probe.unwatch`."""

    def expect(self, wanted: bool) -> None:
        """See `Probe.expect`; it makes no difference."""

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """See `Probe.remember`."""
        self.parameters = list(parameters)
        self.old = [p.detach().clone() for p in self.parameters]

    def stepped(self) -> None:
        """See `Probe.stepped`."""

    def forget(self) -> None:
        """See `Probe.forget`."""
        self.parameters, self.old = [], []

    def pair_with_gradients(self, before: Sequence[Tensor | None]) -> list[Change]:
        """The pair of gradients from before the step and the loop's own now; forgets what was remembered."""
        self.turn_into_step()
        changes = [
            Change(p, g0, p.grad.detach(), step)
            for p, g0, step in zip(self.parameters, before, self.old, strict=True)
            if g0 is not None and p.grad is not None
        ]
        self.forget()
        return changes

    def turn_into_step(self) -> None:
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


class RememberedGradients(RememberedStep):
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
        return self.pair_with_gradients(self._before)

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
