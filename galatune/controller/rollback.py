"""The last good parameters and optimizer state, for a guard that was asked to roll back."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["Snapshot"]


class Snapshot:
    """Copies of one optimizer's parameters and state; put back after the step that went wrong.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer, snapshot = torch.optim.SGD([weight], lr=1.0), Snapshot()
        >>> snapshot.take(optimizer)
        >>> weight.grad = torch.tensor([torch.nan])
        >>> snapshot.ask()
        >>> optimizer.step()
        >>> snapshot.settle(optimizer), weight.item()
        (True, 1.0)
    """

    def __init__(self) -> None:
        self._parameters: list[Tensor] = []
        self._states: list[dict[str, Any]] = []
        self._asked = False

    @property
    def taken(self) -> bool:
        """Whether there is anything to put back."""
        return bool(self._parameters)

    def take(self, optimizer: Optimizer) -> None:
        """Copy the present, in place of the copy before; not while a roll back is asked for."""
        if self._asked:
            return
        parameters = _parameters(optimizer)
        self._parameters = [p.detach().clone() for p in parameters]
        self._states = [_copied(optimizer.state.get(p, {})) for p in parameters]

    def ask(self) -> None:
        """Have the present step undone once it is over."""
        self._asked = True

    def settle(self, optimizer: Optimizer) -> bool:
        """After a step: undo it if that was asked for. Returns whether anything was put back."""
        if not self._asked:
            return False
        self._asked, parameters = False, _parameters(optimizer)
        if len(parameters) != len(self._parameters):
            return False
        with torch.no_grad():
            for p, good, state in zip(parameters, self._parameters, self._states, strict=True):
                p.copy_(good)
                _put_back(optimizer, p, state)
        return True

    def forget(self) -> None:
        """The copies no longer count: a checkpoint was loaded."""
        self._parameters, self._states, self._asked = [], [], False


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in state.items()
    }


def _put_back(optimizer: Optimizer, p: Tensor, good: dict[str, Any]) -> None:
    """Tensors in place, so that compiled steps stay valid; what is new since is dropped."""
    if not good:
        optimizer.state.pop(p, None)
        return
    present = optimizer.state[p]
    for name in set(present) - set(good):
        del present[name]
    for name, value in good.items():
        if isinstance(value, Tensor) and isinstance(present.get(name), Tensor):
            present[name].copy_(value)
        else:
            present[name] = copy.deepcopy(value)
