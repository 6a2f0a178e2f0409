"""Alignment, gradient Lipschitz constant and directional curvature: pure functions of a gradient pair.

After a step ``x1 = x0 + d``, on one minibatch: g0 is the gradient at x0, g1 the gradient at x1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from galatune.controller.torch_hooks.distributed import GlobalSum, local, wide

__all__ = ["InnerProducts", "Observation", "PairEntry", "along_the_way", "in_metric", "inner_products"]

FEWEST_OTHERS = 1e-3
"""Smallest part of the squared step, its own gradient taken out, that says anything: d is rounded."""

CURVATURE_FLOOR = 0.01
"""Smallest share of the Lipschitz constant that a (possibly negative) curvature counts for."""


@dataclass(frozen=True)
class PairEntry:
    """The gradient pair of one parameter.

    Attributes:
        before: g0, gradient at the parameters before the step.
        after: g1, gradient of the same minibatch after it.
        step: d, the whole step, weight decay included.
        metric: P of the optimizer, None for the identity. All four have the parameter's shape.
        ratio: Rate of the parameter's group relative to the controlled rate; scales the metric.
    """

    before: Tensor
    after: Tensor
    step: Tensor
    metric: Tensor | None = None
    ratio: float = 1.0


@dataclass(frozen=True)
class InnerProducts:
    """All that the formulas need, summed over parameters in float64.

    Attributes:
        after_before: <g1, g0>_P
        before_before: <g0, g0>_P
        change_change: <g1 - g0, g1 - g0>_P
        change_step: <g1 - g0, d>
        step_step: <d, d>_{1/P}
        before_step: <g0, d>
    """

    after_before: float
    before_before: float
    change_change: float
    change_step: float
    step_step: float
    before_step: float

    @property
    def finite(self) -> bool:
        """Whether no gradient or step overflowed."""
        return all(
            math.isfinite(value)
            for value in (
                self.after_before,
                self.before_before,
                self.change_change,
                self.change_step,
                self.step_step,
                self.before_step,
            )
        )


@dataclass(frozen=True)
class Observation:
    """What one gradient pair says about the learning rate.

    Attributes:
        alignment: a, without unit; 1 where the gradient did not turn.
        lipschitz: L, per unit of learning rate.
        curvature: q, along the step, per unit of learning rate; may be negative.
        gradient_norm_squared: <g0, g0>_P, which weighs the round.
        confidence: Share of its weight that the round keeps, from 0 to 1.
    """

    alignment: float
    lipschitz: float
    curvature: float
    gradient_norm_squared: float
    confidence: float = 1.0

    @property
    def effective_curvature(self) -> float:
        """``c = sqrt(L * max(q, 0.01 L))``: the geometric mean of the two, never below 0.1 L."""
        return math.sqrt(self.lipschitz * max(self.curvature, CURVATURE_FLOOR * self.lipschitz))


def inner_products(entries: Iterable[PairEntry]) -> InnerProducts | None:
    """Sum the six inner products over parameters, and over ranks; one transfer to the host in all.

    Float64, since with a loss scaled by 1e-8 the squares of gradient changes leave float32's range.

    Returns:
        None where there is no entry on any rank.
    """
    total = GlobalSum()
    for entry in entries:
        g0, g1, d = (local(t).to(wide(t)).reshape(-1) for t in (entry.before, entry.after, entry.step))
        y = g1 - g0
        p: Any = entry.ratio
        if entry.metric is not None:
            p = local(entry.metric).to(g0.dtype).reshape(-1) * entry.ratio
        weighted = g0 * p
        sums = torch.stack(
            [
                torch.dot(g1, weighted),
                torch.dot(g0, weighted),
                torch.dot(y, y * p),
                torch.dot(y, d),
                torch.dot(d, d / p),
                torch.dot(g0, d),
            ]
        )
        total.add(entry.before, sums)
    found = total.result()
    return InnerProducts(*found) if found else None


def in_metric(products: InnerProducts) -> Observation | None:
    r"""The three estimates in the optimizer's own metric P.

    .. code-block:: text

        a = <g1, g0>_P / <g0, g0>_P
        L = ||g1 - g0||_P / ||d||_{1/P}
        q = <g1 - g0, d> / ||d||_{1/P}^2

    Returns:
        None where the step, the gradient or its change is zero: there is nothing to see.

    References:
        Jiang, Kavis, Mokhtari, "Online Learning-guided Learning Rate Adaptation via Gradient Alignment"
        (GALA), arXiv 2506.08419, 2025 (a preprint), the loss of section 3.

    Differs from the paper: the metric is the optimizer's, the alignment is normalized by the gradient's
    norm, and the curvature along the step is measured beside the Lipschitz constant.
    """
    if not (products.before_before and products.step_step and products.change_change):
        return None
    return Observation(
        alignment=products.after_before / products.before_before,
        lipschitz=math.sqrt(products.change_change / products.step_step),
        curvature=products.change_step / products.step_step,
        gradient_norm_squared=products.before_before,
    )


def along_the_way(products: InnerProducts, rate: float, own: float = 0.0) -> Observation | None:
    """The estimates with the direction travelled: ``u = -d / rate``, ``a = <g0, u> / ||u||_{1/P}^2``.

    Where no metric is known, P is the identity: right for sign updates and orthogonalized ones, where
    gradient and step have unrelated sizes. Where it is, a is 1 for a gradient that is the mean of those
    before it, and falls when noise dominates.

    Where g0 itself has a share s in u, which would make any minibatch look like signal, it is taken out:
    ``v = u - s P g0``, ``a = (1 - s) <g0, v> / ||v||_{1/P}^2``.

    Args:
        products: Computed in the metric, or with none (the group ratios alone).
        rate: Learning rate that made the step d.
        own: s, from 0 to below 1.

    Returns:
        None where the step or the gradient's change is zero, or where nothing but g0 made the step.
    """
    if not (products.before_before and products.step_step and products.change_change and rate):
        return None
    # Of u times the rate, so that with s = 0 nothing is rounded twice.
    along, share = -products.before_step, own * rate
    others = products.step_step - 2 * share * along + share**2 * products.before_before
    if others < FEWEST_OTHERS * products.step_step:
        return None
    return Observation(
        alignment=(1.0 - own) * rate * (along - share * products.before_before) / others,
        lipschitz=math.sqrt(products.change_change / products.step_step),
        curvature=products.change_step / products.step_step,
        gradient_norm_squared=products.before_before,
    )
