"""The pair of two consecutive stochastic gradients."""

from __future__ import annotations

from galatune.controller.probes.base import LoopGradientsProbe

__all__ = ["ConsecutiveProbe"]


class ConsecutiveProbe(LoopGradientsProbe):
    """The previous and the current stochastic gradient, each of its own minibatch.

    It costs nothing and works everywhere, but noise counts as curvature: the last resort.
    """

    name = "consecutive"
