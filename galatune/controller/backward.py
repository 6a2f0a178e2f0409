"""Seeing `loss.backward()`: one wrapper around torch's own function while anybody listens."""

from __future__ import annotations

import weakref
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Listener", "listen", "unlisten"]


class Listener(Protocol):
    """Told of every backward call, before it runs."""

    @property
    def ready(self) -> bool:
        """Whether it wants to be told now."""
        ...

    def saw_backward(self, outputs: Any, grad_outputs: Any, inputs: Any) -> None:
        """The tensors being differentiated; their graph is still whole."""
        ...


_listeners: weakref.WeakSet[Any] = weakref.WeakSet()
_original = torch.autograd.backward


def listen(listener: Listener) -> None:
    """Tell the listener of backward calls until `unlisten`, or until it is gone."""
    _listeners.add(listener)
    if torch.autograd.backward is not _announce:
        global _original  # another library may have wrapped it since the last time
        _original = torch.autograd.backward
        torch.autograd.backward = _announce


def unlisten(listener: Listener) -> None:
    """Stop telling the listener; with the last one gone torch's function is back in place."""
    _listeners.discard(listener)
    if not _listeners and torch.autograd.backward is _announce:
        torch.autograd.backward = _original


def _announce(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    # Tensor.backward looks this function up at each call, so one wrapper sees both spellings.
    for listener in [one for one in _listeners if one.ready]:
        outputs = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
        wanted = (inputs,) if isinstance(inputs, Tensor) else inputs
        listener.saw_backward(outputs, grad_tensors, wanted)
    _original(tensors, grad_tensors, retain_graph, create_graph, grad_variables, inputs)
