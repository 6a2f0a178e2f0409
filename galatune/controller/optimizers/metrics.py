"""What is known of torch's optimizers: metrics, first directions, what a step is worth, weight decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor

from galatune.controller.torch_hooks.distributed import local, wide
from galatune.errors import ControlError

Group = Mapping[str, Any]
State = Mapping[str, Any]


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


def as_real(tensor: Tensor) -> Tensor:
    """Complex parameters are pairs of real ones, as in torch's optimizers; real ones as they are."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def has_stepped(state: State | None) -> TypeGuard[State]:
    """Whether a parameter took part in a step; Adagrad has a state before the first one."""
    return state is not None and bool(state) and float(state.get("step", 1)) > 0


def has_seen_gradient(state: State) -> bool:
    """Whether any gradient that an optimizer's running means took in was other than zero."""
    means = set(_MEANS) & set(state) or set(state) - {"step"}
    return any(isinstance(state[name], Tensor) and bool(local(state[name]).any()) for name in means)


_MEANS = ("exp_avg", "exp_avg_sq", "square_avg", "sum")  # if there are none: every tensor but the step


# -- metrics, from the state before the step of the probed minibatch


def adam_diagonal(group: Group, state: State) -> Tensor:
    """``1 / (sqrt(v / (1 - beta2^t)) + eps)``, entries that never had a gradient included; NAdam's as well.

    References:
        Kingma & Ba, "Adam", 2015, algorithm 1. Dozat, "Incorporating Nesterov Momentum into Adam", 2016.
    """
    second_moment = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
    return _inverse((_wide(second_moment) / _second_bias(group, state)).sqrt_(), group)


def adam_with_gradient(group: Group, state: State, gradient: Tensor) -> State:
    """The second moment with one more gradient in it: an entry that wakes up is measured by that gradient.

    Before, its weight is 1/eps, and in a comparison of two gradients it would outweigh all the others.
    """
    decay = float(group["betas"][1])
    second_moment = _wide(state["exp_avg_sq"])
    coming = second_moment * decay + _wide(gradient).square() * (1.0 - decay)
    largest = torch.maximum(_wide(state["max_exp_avg_sq"]), coming) if group.get("amsgrad") else None
    return {"exp_avg_sq": coming, "max_exp_avg_sq": largest, "step": float(state["step"]) + 1.0}


def adam_own_share(group: Group, state: State) -> float:
    """``(1 - beta1) / (1 - beta1^t)``: 1 in the first step."""
    decay = float(group["betas"][0])
    return (1.0 - decay) / (1.0 - math.pow(decay, float(state["step"])))


def radam_diagonal(group: Group, state: State) -> Tensor:
    """Adam's metric with eps inside the bias correction, times the rectification of the coming step.

    ``r sqrt(1 - beta2^t) / (sqrt(v) + eps)``, the identity while the coming step is plain momentum.
    The rectification is a warmup, and like other warmups it is replaced by the controller's own.

    References:
        Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020, algorithm 2.
    """
    second_moment = _wide(state["exp_avg_sq"])
    if radam_is_plain(group, state):
        return torch.ones_like(second_moment)
    longest = 2.0 / (1.0 - float(group["betas"][1])) - 1.0
    length = _averaged_length(group, float(state["step"]) + 1.0)
    rectification = math.sqrt(
        (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    )
    return _inverse(second_moment.sqrt(), group) * (rectification * math.sqrt(_second_bias(group, state)))


def radam_is_plain(group: Group, state: State) -> bool:
    """Whether the coming step averages too few gradients to be rectified: five steps at beta2 = 0.999."""
    return _averaged_length(group, float(state.get("step", 0.0)) + 1.0) <= 5.0


def adamax_diagonal(group: Group, state: State) -> Tensor:
    """``1 / u``, u the largest decayed gradient, eps added to each when it was taken in.

    References:
        Kingma & Ba, "Adam", 2015, algorithm 2.
    """
    return _wide(state["exp_inf"]).clone().reciprocal_()


def adagrad_diagonal(group: Group, state: State) -> Tensor:
    """``1 / (sqrt(sum of squares) + eps)``; `lr_decay` is left out, a schedule of the user's own.

    Entries that never had a gradient count as the parameter's average one: eps is 1e-10 here, and a unit
    that wakes up would outweigh all the others.

    References:
        Duchi, Hazan, Singer, "Adaptive Subgradient Methods", 2011.
    """
    return _inverse(_filled(_wide(state["sum"]).sqrt()), group)


def rmsprop_diagonal(group: Group, state: State) -> Tensor:
    """``1 / (sqrt(v) + eps)`` without bias correction; centered: the gradient's variance for v.

    Entries that never had a gradient count as the parameter's average one, as in `adagrad_diagonal`.

    References:
        Tieleman & Hinton, "Neural Networks for Machine Learning", lecture 6.5, 2012.
    """
    spread = _wide(state["square_avg"]).clone()
    if group["centered"]:
        spread -= _wide(state["grad_avg"]).square()
    return _inverse(_filled(spread.clamp_(min=0.0).sqrt_()), group)


def adadelta_diagonal(group: Group, state: State) -> Tensor:
    """``sqrt((mean square step + eps) / (mean square gradient + eps))``.

    References:
        Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.
    """
    eps = float(group["eps"])
    steps, gradients = _wide(state["acc_delta"]) + eps, _wide(state["square_avg"]) + eps
    return (steps / gradients).sqrt_()


def _wide(tensor: Tensor) -> Tensor:
    """In double precision; the state itself if it is that already, so never changed in place."""
    return as_real(tensor).to(wide(tensor))


def _filled(size: Tensor) -> Tensor:
    """Zeros become the mean of the others."""
    seen = size > 0
    return torch.where(seen, size, size.sum() / seen.sum().clamp(min=1))


def _inverse(size: Tensor, group: Group) -> Tensor:
    return size.add_(float(group["eps"])).reciprocal_()


def _second_bias(group: Group, state: State) -> float:
    decay, step = float(group["betas"][1]), float(state["step"])
    return 1.0 - math.pow(decay, step)


def _averaged_length(group: Group, step: float) -> float:
    """How many squared gradients the second moment averages, in RAdam's count."""
    decay = float(group["betas"][1])
    kept = math.pow(decay, step)
    return 2.0 / (1.0 - decay) - 1.0 - 2.0 * step * kept / (1.0 - kept)


def first_diagonal(metric: OptimizerMetric, group: Group, gradient: Tensor) -> Tensor | None:
    """P of the very first step, for an optimizer that was made anew: its direction over the gradient.

    Entries without a gradient count as the parameter's average one. None if the direction is not known.
    """
    if metric.first_direction is None:
        return None
    gradient = _wide(gradient)
    direction = metric.first_direction(group, gradient)
    size = torch.where(direction != 0, gradient / direction, torch.zeros_like(gradient)).abs()
    return _filled(size).clamp_(min=torch.finfo(size.dtype).tiny).reciprocal_()


# -- directions of the very first step


def adam_first_direction(group: Group, gradient: Tensor) -> Tensor:
    """Adam's first step, both moments bias-corrected, and Adamax's: ``g / (|g| + eps)``."""
    return gradient / (gradient.abs() + float(group["eps"]))


def nadam_first_direction(group: Group, gradient: Tensor) -> Tensor:
    """Adam's, and the share of the momentum that NAdam looks ahead with."""
    beta = float(group["betas"][0])
    now, ahead = (beta * (1.0 - 0.5 * math.pow(0.96, t * float(group["momentum_decay"]))) for t in (1, 2))
    return adam_first_direction(group, gradient) * (1.0 + ahead * (1.0 - beta) / (1.0 - now * ahead))


def adagrad_first_direction(group: Group, gradient: Tensor) -> Tensor:
    """The sum of squares begins at `initial_accumulator_value`."""
    total = gradient.abs().square() + float(group["initial_accumulator_value"])
    return gradient / (total.sqrt() + float(group["eps"]))


def rmsprop_first_direction(group: Group, gradient: Tensor) -> Tensor:
    """``1 - alpha`` of the squared gradient is in the mean; centered: less the mean's square."""
    share = 1.0 - float(group["alpha"])
    spread = share - share**2 if group["centered"] else share
    return gradient / (math.sqrt(spread) * gradient.abs() + float(group["eps"]))


def adadelta_first_direction(group: Group, gradient: Tensor) -> Tensor:
    """No step was taken in yet: ``sqrt(eps / ((1 - rho) g^2 + eps)) g``."""
    eps = float(group["eps"])
    squares = (1.0 - float(group["rho"])) * gradient.abs().square()
    return gradient * (eps / (squares + eps)).sqrt()


def sgd_first_direction(group: Group, gradient: Tensor) -> Tensor:
    """The first momentum buffer is the gradient itself, whatever the dampening."""
    return gradient * (1.0 + float(group["momentum"])) if group.get("nesterov") else gradient


# -- what one step is worth, and weight decay


def heavy_ball_factor(group: Group) -> float:
    """``(1 - momentum) / (1 - dampening)``: what one step is worth once the buffer has filled up."""
    momentum, dampening = float(group["momentum"]), float(group.get("dampening", 0.0))
    if not momentum:
        return 1.0
    if dampening >= 1.0:
        raise ControlError(
            f"SGD with dampening={dampening:g} never takes in a new gradient; use dampening below 1"
        )
    return (1.0 - momentum) / (1.0 - dampening)


def weight_decay(group: Group) -> float:
    """Added to the gradient times the parameter; 0 if the group has none."""
    return float(group.get("weight_decay", 0.0))


def coupled_unless_told(group: Group) -> float:
    """Weight decay that is part of the gradient, unless the group says that it is decoupled."""
    return 0.0 if group.get("decoupled_weight_decay") else weight_decay(group)
