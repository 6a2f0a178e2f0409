"""What one gradient pair says: alignment, gradient Lipschitz constant and directional curvature.

After a step ``x1 = x0 + d``, on one minibatch: g0 is the gradient at x0, g1 the gradient at x1. All inner
products are in the optimizer's metric P, with ``||z||_P^2 = z' P z``.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace

__all__ = [
    "AlignmentMean",
    "InnerProducts",
    "Observation",
    "alignment_mean",
    "direction_alignment",
    "norm_power",
    "same_minibatch",
]

SMALLEST_REMAINDER = 1e-3
"""If no more than this share of the squared step remains without g0's own part, d is mostly rounding."""

CURVATURE_FLOOR = 0.01
"""A curvature below this share of the Lipschitz constant, or negative, counts as this share."""

DISCOUNT = 0.9
"""Of the alignment's running mean, per probe."""

LOWEST_ALIGNMENT, HIGHEST_ALIGNMENT = 0.25, 1.0
"""Bounds of the running mean. Noise dominates near a minimum, but on a plateau as well."""

HEAVIEST = 3.0
"""Most that one probe may weigh, relative to the mean weight: otherwise one outlier would decide alone."""

FULL = 9.0
"""Of at most 10 that the discounted sum of ones comes to: 22 probes, in about 33 steps."""

FADING_FROM, FADING_SLOPE, FADING_POWER = 600, 4.0, 2.0
"""Steps up to which gradients that fade do not matter, then the power per decade of steps, and its limit."""


@dataclass(frozen=True)
class InnerProducts:
    """All that the estimates need, summed over parameters in float64.

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
        """True if no gradient and no step overflowed."""
        return all(math.isfinite(value) for value in astuple(self))


@dataclass(frozen=True)
class Observation:
    """The estimates of one probe.

    Attributes:
        alignment: a, without unit; 1 if the gradient did not turn.
        lipschitz: L, per unit of learning rate.
        curvature: q, along the step, per unit of learning rate; may be negative.
        gradient_norm_squared: <g0, g0>_P, from which the probe's weight is computed.
        confidence: Share of its weight that the probe keeps, from 0 to 1.
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


def same_minibatch(products: InnerProducts) -> Observation | None:
    r"""The estimates with the published alignment: one minibatch before and after the step.

    .. code-block:: text

        a = <g1, g0>_P / <g0, g0>_P
        L = ||g1 - g0||_P / ||d||_{1/P}
        q = <g1 - g0, d> / ||d||_{1/P}^2

    Returns:
        None if the step, the gradient or its change is zero.

    References:
        Jiang, Kavis, Mokhtari, "Online Learning-guided Learning Rate Adaptation via Gradient Alignment"
        (GALA), arXiv 2506.08419, 2025 (a preprint), the loss of section 3.

    Differs from the paper: the metric is the optimizer's, the alignment is normalized by the gradient's
    norm, and the curvature along the step is measured beside the Lipschitz constant.
    """
    if not (products.before_before and products.step_step and products.change_change):
        return None
    return _observation(products, products.after_before / products.before_before)


def direction_alignment(products: InnerProducts, rate: float, own_share: float = 0.0) -> Observation | None:
    """The estimates with the alignment of the gradient and the previous update ``u = -d / rate``.

    ``a = <g0, u> / ||u||_{1/P}^2``. It is 1 for a gradient that equals the mean of those before it, and low
    when gradients are mostly noise. If the optimizer's metric is unknown, P is the identity; this is right
    for sign updates and orthogonalized ones, whose size does not depend on the gradient's.

    If g0 itself was part of the update with a share s, every minibatch would look like signal. The share is
    removed: ``v = u - s P g0``, ``a = (1 - s) <g0, v> / ||v||_{1/P}^2``.

    Args:
        products: Computed in the metric, or in the identity (scaled by the group ratios) if it is unknown.
        rate: Learning rate of the step d.
        own_share: s, from 0 to below 1.

    Returns:
        None if the step or the gradient's change is zero, or if the step consists of g0 alone.
    """
    if not (products.before_before and products.step_step and products.change_change and rate):
        return None
    # All of it multiplied by the rate, so that nothing is rounded twice with s = 0.
    along, share = -products.before_step, own_share * rate
    others = products.step_step - 2 * share * along + share**2 * products.before_before
    if others < SMALLEST_REMAINDER * products.step_step:
        return None
    return _observation(
        products, (1.0 - own_share) * rate * (along - share * products.before_before) / others
    )


def _observation(products: InnerProducts, alignment: float) -> Observation:
    return Observation(
        alignment=alignment,
        lipschitz=math.sqrt(products.change_change / products.step_step),
        curvature=products.change_step / products.step_step,
        gradient_norm_squared=products.before_before,
    )


@dataclass(frozen=True)
class AlignmentMean:
    """Discounted sums for the running mean of the alignment.

    Attributes:
        alignment: Sum of weight times alignment.
        weight: Sum of weights.
        probes: Sum of ones, to which the mean weight is relative.
        typical_weight: Sum of weights, not discounted, once `probes` has nearly its final value.
        typical_probes: Sum of ones likewise.
    """

    alignment: float = 0.0
    weight: float = 0.0
    probes: float = 0.0
    typical_weight: float = 0.0
    typical_probes: float = 0.0

    @property
    def norm_ratio(self) -> float:
        """Recent mean norm of the gradient relative to that of the whole run, at most 1.

        It falls if a net fits its data: then almost nothing is left to learn from them.
        """
        if not (self.typical_weight and self.probes):
            return 1.0
        return min(self.weight * self.typical_probes / (self.probes * self.typical_weight), 1.0)


def alignment_mean(mean: AlignmentMean, observation: Observation) -> tuple[AlignmentMean, Observation]:
    r"""Replace the alignment of one minibatch, which says little, by its running mean.

    .. code-block:: text

        w_t = min( ||g0||_P,  3 sum_s 0.9^(t-s) w_s / sum_s 0.9^(t-s) )          s < t
        a_t -> clip( sum_s 0.9^(t-s) w_s a_s / sum_s 0.9^(t-s) w_s,  1/4,  1 )   s <= t

    Above 1, momentum that is still filling up would look like a reason for larger steps. Without the lower
    bound, a few unlucky minibatches would stop a training that has hardly begun. If the weight is limited,
    the observation loses as much confidence, so that the learner limits its weight too.

    Args:
        mean: The sums so far.
        observation: Its alignment is that with the previous update.

    Returns:
        The sums, and the observation with the mean in place of its alignment.

    Example:
        >>> seen = Observation(alignment=-3.0, lipschitz=1.0, curvature=1.0, gradient_norm_squared=1.0)
        >>> mean, first = alignment_mean(AlignmentMean(), seen)
        >>> first.alignment
        0.25
        >>> alignment_mean(mean, replace(seen, gradient_norm_squared=36.0))[1].confidence
        0.5
    """
    weight = observation.gradient_norm_squared**0.5
    if mean.probes and weight > HEAVIEST * mean.weight / mean.probes:
        held = HEAVIEST * mean.weight / mean.probes
        observation = replace(observation, confidence=observation.confidence * held / weight)
        weight = held
    full = mean.probes >= FULL
    mean = AlignmentMean(
        alignment=DISCOUNT * mean.alignment + weight * observation.alignment,
        weight=DISCOUNT * mean.weight + weight,
        probes=DISCOUNT * mean.probes + 1.0,
        typical_weight=mean.typical_weight + weight * full,
        typical_probes=mean.typical_probes + full,
    )
    clipped = min(max(mean.alignment / mean.weight, LOWEST_ALIGNMENT), HIGHEST_ALIGNMENT)
    return mean, replace(observation, alignment=clipped)


def norm_power(steps: int) -> float:
    """How much gradients that fade lower the rate, after so many steps.

    A net that fits its data has hardly any gradient left, and what remains makes it overfit in a long
    training. A short training is over before that.

    Example:
        >>> [round(norm_power(steps), 2) for steps in (600, 1200, 2000, 20_000)]
        [0.0, 1.2, 2.0, 2.0]
    """
    return min(FADING_SLOPE * math.log10(max(steps / FADING_FROM, 1.0)), FADING_POWER)
