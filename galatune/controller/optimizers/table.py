"""The metric of each optimizer: one row per class, and `register_optimizer` for classes of third parties.

An update is ``-rate * P * m``: P the optimizer's diagonal metric, m a mean of gradients. Alignment and
curvature are measured in P, so that the rate they give has the units of that optimizer's rate. If no metric
is known, the alignment with the previous update serves (`rule.estimate.direction_alignment`).
"""

from __future__ import annotations

import torch

from galatune.controller.optimizers import metrics
from galatune.controller.optimizers.metrics import OptimizerMetric
from galatune.errors import ControlError, SelfTuningError

__all__ = ["is_plain", "is_registered", "metric_of", "register_optimizer"]


def metric_of(optimizer: torch.optim.Optimizer) -> OptimizerMetric:
    """The row of this optimizer: that of its class, or of the nearest base class that has one.

    Raises:
        ControlError: LBFGS, SparseAdam and Rprop, which cannot be controlled.
    """
    for ancestor in type(optimizer).__mro__:
        if ancestor in _REFUSED:
            error = ControlError if ancestor is torch.optim.SparseAdam else SelfTuningError
            raise error(
                f"{type(optimizer).__name__} cannot be controlled ({_REFUSED[ancestor]}); "
                "use SGD, Adam, AdamW or another first-order optimizer"
            )
        if ancestor in _TABLE:
            return _TABLE[ancestor]
    return OptimizerMetric(type(optimizer).__name__, known=False)


def is_registered(optimizer_class: type) -> bool:
    """Whether `register_optimizer` was told of this class itself."""
    return optimizer_class in _TABLE and optimizer_class not in _OF_TORCH


def is_plain(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its class is one of torch's own, whose step is known to follow the rate."""
    return type(optimizer) in _OF_TORCH


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

_OF_TORCH = frozenset(_TABLE)

_REFUSED: dict[type, str] = {
    torch.optim.LBFGS: "it searches along its own line",
    torch.optim.SparseAdam: "its gradients are sparse",
    torch.optim.Rprop: "it keeps a step size for each entry, which the rate only starts",
}
