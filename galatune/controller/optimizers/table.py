"""The metric of each optimizer: one row per class, and `register_optimizer` for classes of third parties.

An update is ``-rate * P * m``: P the optimizer's diagonal metric, m a mean of gradients. Alignment and
curvature are measured in P, so that the rate they give has the units of that optimizer's rate. If no metric
is known, the alignment with the previous update serves (`rule.estimate.direction_alignment`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from galatune.controller.optimizers import metrics
from galatune.controller.optimizers.metrics import Group, State
from galatune.errors import ControlError

__all__ = ["OptimizerMetric", "metric_of", "register_optimizer"]


def _zero(group: Group) -> float:
    return 0.0


@dataclass(frozen=True)
class OptimizerMetric:
    """What is known of one optimizer class.

    Attributes:
        name: Class name.
        diagonal: (group, state of a parameter) to P, same shape as the parameter. None if P is the
            identity, or unknown.
        first_direction: (group, gradient) to the direction of the very first step; None if unknown.
        momentum_factor: Group to ``(1 - momentum) / (1 - dampening)`` for heavy-ball momentum, which
            adds up steps; None if momentum is a mean.
        coupled_decay: Group to the weight decay that is part of the gradient.
        begins_as_momentum: (group, state of a parameter) to whether the coming step still is plain momentum,
            its metric the identity; when that ends, rates have another unit and begin anew. None if
            the metric never changes its kind.
        with_gradient: (group, state of a parameter, gradient) to the state that the coming step will measure
            with; None if that makes no difference worth its cost.
        own_share: (group, state of a parameter after a step) to the share that the gradient of that step
            has in its direction, the rest being that of the steps before; None if that is not known.
        elementwise: Whether an entry of the metric depends on that entry of the state alone.
        known: False if nothing is known of the class.
    """

    name: str
    diagonal: Callable[[Group, State], Tensor] | None = None
    first_direction: Callable[[Group, Tensor], Tensor] | None = None
    momentum_factor: Callable[[Group], float] | None = None
    coupled_decay: Callable[[Group], float] = _zero
    begins_as_momentum: Callable[[Group, State], bool] | None = None
    with_gradient: Callable[[Group, State, Tensor], State] | None = None
    own_share: Callable[[Group, State], float] | None = None
    elementwise: bool = True
    known: bool = True

    def one_step(self, group: Group) -> float:
        """What one step is worth: `momentum_factor`, or 1."""
        return 1.0 if self.momentum_factor is None else self.momentum_factor(group)


def metric_of(optimizer: torch.optim.Optimizer) -> OptimizerMetric:
    """The row of this optimizer: that of its class, or of the nearest base class that has one.

    Raises:
        ControlError: LBFGS, SparseAdam and Rprop, which cannot be controlled.
    """
    for ancestor in type(optimizer).__mro__:
        if ancestor in _REFUSED:
            raise ControlError(
                f"{type(optimizer).__name__} cannot be controlled ({_REFUSED[ancestor]}); "
                "use SGD, Adam, AdamW or another first-order optimizer"
            )
        if ancestor in _TABLE:
            return _TABLE[ancestor]
    return OptimizerMetric(type(optimizer).__name__, known=False)


def register_optimizer(optimizer_class: type[torch.optim.Optimizer], metric: OptimizerMetric) -> None:
    """Tell the controller the metric of an optimizer class, and of the classes derived from it.

    Args:
        optimizer_class: Of the optimizers; a row that it had before is replaced.
        metric: What is known of it.

    Raises:
        ControlError: The class is no torch optimizer, or one that cannot be controlled.

    Example:
        >>> class SignSGD(torch.optim.SGD): ...
        >>> def direction(group, gradient):
        ...     return gradient.sign()
        >>> register_optimizer(SignSGD, OptimizerMetric("SignSGD", first_direction=direction))
        >>> metric_of(SignSGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)).name
        'SignSGD'
    """
    if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, torch.optim.Optimizer)):
        raise ControlError(
            f"a class derived from torch.optim.Optimizer is needed, however: {optimizer_class!r}"
        )
    if optimizer_class in _REFUSED:
        reason = _REFUSED[optimizer_class]
        raise ControlError(f"{optimizer_class.__name__} cannot be controlled ({reason})")
    _TABLE[optimizer_class] = metric


_TABLE: dict[type, OptimizerMetric] = {
    torch.optim.SGD: OptimizerMetric(
        "SGD", None, metrics.sgd_first_direction, metrics.heavy_ball_factor, metrics.coupled_unless_told
    ),
    torch.optim.AdamW: OptimizerMetric(
        "AdamW",
        metrics.adam_diagonal,
        metrics.adam_first_direction,
        with_gradient=metrics.adam_with_gradient,
        own_share=metrics.adam_own_share,
    ),
    torch.optim.Adam: OptimizerMetric(
        "Adam",
        metrics.adam_diagonal,
        metrics.adam_first_direction,
        coupled_decay=metrics.coupled_unless_told,
        with_gradient=metrics.adam_with_gradient,
        own_share=metrics.adam_own_share,
    ),
    torch.optim.NAdam: OptimizerMetric(
        "NAdam",
        metrics.adam_diagonal,
        metrics.nadam_first_direction,
        coupled_decay=metrics.coupled_unless_told,
        with_gradient=metrics.adam_with_gradient,
    ),
    torch.optim.RAdam: OptimizerMetric(
        "RAdam",
        metrics.radam_diagonal,
        metrics.sgd_first_direction,
        coupled_decay=metrics.coupled_unless_told,
        begins_as_momentum=metrics.radam_is_plain,
        own_share=metrics.adam_own_share,
    ),
    torch.optim.Adamax: OptimizerMetric(
        "Adamax",
        metrics.adamax_diagonal,
        metrics.adam_first_direction,
        coupled_decay=metrics.coupled_unless_told,
        own_share=metrics.adam_own_share,
    ),
    torch.optim.Adagrad: OptimizerMetric(
        "Adagrad",
        metrics.adagrad_diagonal,
        metrics.adagrad_first_direction,
        coupled_decay=metrics.coupled_unless_told,
        elementwise=False,
    ),
    torch.optim.RMSprop: OptimizerMetric(
        "RMSprop",
        metrics.rmsprop_diagonal,
        metrics.rmsprop_first_direction,
        metrics.heavy_ball_factor,
        metrics.coupled_unless_told,
        elementwise=False,
    ),
    torch.optim.Adadelta: OptimizerMetric(
        "Adadelta",
        metrics.adadelta_diagonal,
        metrics.adadelta_first_direction,
        coupled_decay=metrics.coupled_unless_told,
    ),
}

_REFUSED: dict[type, str] = {
    torch.optim.LBFGS: "it searches along its own line",
    torch.optim.SparseAdam: "its gradients are sparse",
    torch.optim.Rprop: "it keeps a step size for each entry, which the rate only starts",
}
