"""COCOB and DoWG, which have no learning rate; their packages have had no release since June 2023."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from galatune.bench.controller.methods.method import Driver, Method, Schedule, scheduler_for

__all__ = ["COCOB", "PARAMETER_FREE", "DoWG"]


class COCOB(Optimizer):
    """Each parameter is a bet of the wealth that earlier bets on its gradients have won.

    Per entry, with g the gradient, x its value and x0 its first value::

        L <- max(L, |g|);  G <- G + |g|;  wealth <- max(wealth - (x - x0) g, 0);  theta <- theta - g
        x <- x0 + theta / (L max(G + L, alpha L)) (L + wealth)

    Args:
        params: Parameters to optimize.
        alpha: Holds the first steps back; about the number of steps that this lasts.
        eps: L before the first gradient, in units of a gradient; an entry without gradients stays.

    References:
        Orabona, Tommasi, "Training Deep Networks without Learning Rates Through Coin Betting", NeurIPS 2017,
        algorithm 2 (COCOB-Backprop). Differs from the paper: L begins at eps instead of 0, as in the
        authors' code.

    Example:
        >>> x = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = COCOB([x])
        >>> for _ in range(400):
        ...     optimizer.zero_grad()
        ...     x.square().sum().backward()
        ...     optimizer.step()
        >>> bool(x.abs() < 0.5)
        True
    """

    def __init__(self, params: Iterable[Tensor], alpha: float = 100.0, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": 1.0, "alpha": alpha, "eps": eps})  # torch's schedulers look for lr

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step by the gradients of all parameters that have one."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, self._state(p, group["eps"]), group["alpha"])

    def _state(self, p: Tensor, eps: float) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state["start"] = p.detach().clone()
            state["largest"] = torch.full_like(p, eps)
            for name in ("sum", "wealth", "theta"):
                state[name] = torch.zeros_like(p)
        return state

    def _move(self, p: Tensor, gradient: Tensor, state: dict[str, Tensor], alpha: float) -> None:
        largest, wealth = state["largest"], state["wealth"]
        torch.maximum(largest, gradient.abs(), out=largest)
        state["sum"].add_(gradient.abs())
        wealth.addcmul_(p - state["start"], gradient, value=-1).clamp_(min=0)
        state["theta"].sub_(gradient)
        bound = largest * torch.maximum(state["sum"] + largest, alpha * largest)
        p.copy_(state["start"] + state["theta"] / bound * (largest + wealth))


class DoWG(Optimizer):
    """Gradient descent whose rate is a distance squared over the root of weighted squared gradients.

    With g the gradient of all parameters, x their values and x0 their first ones::

        r <- max(r, ||x - x0||);  v <- v + r^2 ||g||^2;  x <- x - r^2 / sqrt(v) g

    Args:
        params: Parameters to optimize.
        distance: r before the first step, in units of the parameters; the authors' code has 0.01.

    References:
        Khaled, Mishchenko, Jin, "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent
        Method", NeurIPS 2023, algorithm 1. The last iterate is deployed, as in the authors' code, and not
        the weighted mean of the theory.

    Example:
        >>> x = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = DoWG([x])
        >>> for _ in range(400):
        ...     optimizer.zero_grad()
        ...     x.square().sum().backward()
        ...     optimizer.step()
        >>> bool(x.abs() < 0.5)
        True
    """

    def __init__(self, params: Iterable[Tensor], distance: float = 1e-2) -> None:
        super().__init__(params, {"lr": 1.0})  # torch's schedulers look for lr
        self._distance, self._weighted = distance, 0.0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step by the gradients of all parameters that have one."""
        moving = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        for p in moving:
            self.state[p].setdefault("start", p.detach().clone())
        away = math.sqrt(sum(float((p - self.state[p]["start"]).square().sum()) for p in moving))
        self._distance = max(self._distance, away)
        self._weighted += self._distance**2 * sum(float(p.grad.square().sum()) for p in moving)
        if self._weighted > 0:
            for p in moving:
                p.sub_(p.grad, alpha=self._distance**2 / math.sqrt(self._weighted))


def _method(name: str, build: Callable[[Iterable[Tensor], float], Optimizer]) -> Method:
    def make(
        parameters: Iterable[Tensor], rate: float, scale: float, schedule: Schedule, steps: int
    ) -> Driver:
        optimizer = build(parameters, scale)
        return Driver(optimizer, scheduler_for(optimizer, schedule, steps))

    return Method(name, "adam", make, (1.0,), schedules=("constant",))


PARAMETER_FREE = (
    _method("cocob", lambda parameters, scale: COCOB(parameters, eps=1e-8 * scale)),
    _method("dowg", lambda parameters, _: DoWG(parameters)),
)
"""Run without a schedule: there is no rate that one could multiply."""
