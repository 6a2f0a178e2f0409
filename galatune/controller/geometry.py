"""The metric that an optimizer measures gradients in: one row an optimizer.

An update is ``-rate * P * m``: P the optimizer's diagonal metric, m a mean of gradients. Alignment and
curvature are measured in P, so that the rate they give has the units of that optimizer's rate. Where no
metric is known, the direction travelled takes its place (`estimate.along_the_way`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from galatune.errors import ControlError

__all__ = ["Geometry", "as_real", "geometry_of"]

Group = Mapping[str, Any]
State = Mapping[str, Any]


@dataclass(frozen=True)
class Geometry:
    """What is known of one optimizer class.

    Attributes:
        name: Class name.
        diagonal: (group, state of a parameter) to P, same shape as the parameter. None where P is the
            identity, or where nothing is known.
        known: Whether the metric is known; where it is not, the direction travelled is used.
        first_direction: (group, gradient) to the direction of the very first step; None where unknown.
        coupled_decay: Group to the weight decay that is part of the gradient.
        momentum_factor: Group to ``(1 - momentum) / (1 - dampening)`` for heavy-ball momentum, which
            adds up steps; 1 where momentum is a mean.
    """

    name: str
    diagonal: Callable[[Group, State], Tensor] | None
    known: bool
    first_direction: Callable[[Group, Tensor], Tensor] | None
    coupled_decay: Callable[[Group], float]
    momentum_factor: Callable[[Group], float]


def geometry_of(optimizer: torch.optim.Optimizer) -> Geometry:
    """The row of this optimizer.

    Raises:
        ControlError: LBFGS and SparseAdam, which cannot be controlled.
    """
    for ancestor in type(optimizer).__mro__:
        if ancestor in _REFUSED:
            raise ControlError(
                f"{type(optimizer).__name__} cannot be controlled ({_REFUSED[ancestor]}); "
                "use SGD, Adam, AdamW or another first-order optimizer"
            )
        if ancestor in _TABLE:
            return _TABLE[ancestor]
    return _UNKNOWN


def adam_diagonal(group: Group, state: State) -> Tensor:
    """``1 / (sqrt(v / (1 - beta2^t)) + eps)``, entries that never had a gradient included.

    References:
        Kingma & Ba, "Adam", 2015, algorithm 1.
    """
    second_moment = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    correction = 1.0 - float(group["betas"][1]) ** float(state["step"])
    metric: Tensor = (as_real(second_moment).double() / correction).sqrt_().add_(group["eps"]).reciprocal_()
    return metric


def as_real(tensor: Tensor) -> Tensor:
    """Complex parameters are pairs of real ones, as in torch's optimizers; real ones as they are."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def adam_first_direction(group: Group, gradient: Tensor) -> Tensor:
    """Adam's first step, both moments bias-corrected: ``g / (|g| + eps)``."""
    return gradient / (gradient.abs() + float(group["eps"]))


def sgd_first_direction(group: Group, gradient: Tensor) -> Tensor:
    """The first momentum buffer is the gradient itself, whatever the dampening."""
    return gradient * (1.0 + float(group["momentum"])) if group["nesterov"] else gradient


def heavy_ball_factor(group: Group) -> float:
    """``(1 - momentum) / (1 - dampening)``: what one step is worth once the buffer has filled up."""
    momentum, dampening = float(group["momentum"]), float(group["dampening"])
    if not momentum:
        return 1.0
    if dampening >= 1.0:
        raise ControlError(
            f"SGD with dampening={dampening:g} never takes in a new gradient; use dampening below 1"
        )
    return (1.0 - momentum) / (1.0 - dampening)


def _decay(group: Group) -> float:
    return float(group.get("weight_decay", 0.0))


def _coupled_unless_told(group: Group) -> float:
    return 0.0 if group.get("decoupled_weight_decay") else _decay(group)


def _zero(group: Group) -> float:
    return 0.0


def _one(group: Group) -> float:
    return 1.0


_TABLE: dict[type, Geometry] = {
    torch.optim.SGD: Geometry("SGD", None, True, sgd_first_direction, _decay, heavy_ball_factor),
    torch.optim.AdamW: Geometry("AdamW", adam_diagonal, True, adam_first_direction, _zero, _one),
    torch.optim.Adam: Geometry("Adam", adam_diagonal, True, adam_first_direction, _coupled_unless_told, _one),
}

_UNKNOWN = Geometry("unknown", None, False, None, _zero, _one)

_REFUSED: dict[type, str] = {
    torch.optim.LBFGS: "it searches along its own line",
    torch.optim.SparseAdam: "its gradients are sparse",
}
