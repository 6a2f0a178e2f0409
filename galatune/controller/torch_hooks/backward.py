"""Seeing `loss.backward()`: a patch of torch's own function, while anybody listens."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from galatune.controller.torch_hooks.patch import Patch

__all__ = ["Listener", "leaves", "listen", "listening_alone", "nodes", "unlisten"]


class Listener(Protocol):
    """Told of every backward call, before it runs, while it asks for it with `attend`."""

    def saw_backward(
        self, outputs: Sequence[Any], grad_outputs: Any, inputs: Sequence[Any] | None
    ) -> AbstractContextManager[None] | None:
        """The tensors being differentiated; their graph is still whole.

        Returns:
            What the backward call is to run in, None if it does not matter.
        """
        ...


_lock = threading.RLock()
"""Reentrant: an optimizer may be collected, and its listener leave, while this thread holds it."""

_listeners: dict[int, weakref.ref[Any]] = {}
_attending: set[int] = set()
"""Those of the listeners that want the coming backward calls."""

_alone = threading.local()
_blocks = 0
"""How many `listening_alone` blocks are open, in all threads."""


def listen(listener: Listener) -> None:
    """Be ready to tell the listener of backward calls until `unlisten`, or until it is gone."""
    with _lock:
        key = id(listener)
        _listeners[key] = weakref.ref(listener, lambda _: _leave(key))
        _patch.put_on()


def attend(listener: Listener, wanted: bool) -> None:
    """Tell the listener of the coming backward calls, or not; of no interest to one that does not listen."""
    with _lock:
        key = id(listener)
        if wanted and key in _listeners:
            _attending.add(key)
        else:
            _attending.discard(key)
        _patch.active = bool(_attending or _blocks)


def unlisten(listener: Listener) -> None:
    """Stop telling the listener; with the last one gone torch's function is back in place."""
    _leave(id(listener))


def _leave(key: int) -> None:
    with _lock:
        _listeners.pop(key, None)
        _attending.discard(key)
        _unwrap()


@contextmanager
def listening_alone(listener: Listener) -> Iterator[None]:
    """Within the block, backward calls of this thread are told to this listener and to no other."""
    global _blocks
    with _lock:
        _blocks += 1
        _patch.put_on()
        _patch.active = True
    before, _alone.listener = getattr(_alone, "listener", None), listener
    try:
        yield
    finally:
        _alone.listener = before
        with _lock:
            _blocks -= 1
            _unwrap()


def nodes(outputs: Iterable[Any]) -> Iterator[Any]:
    """Every node of the graph behind these tensors, once."""
    waiting = [o.node if isinstance(o, GradientEdge) else o.grad_fn for o in outputs]
    waiting = [node for node in waiting if node is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def leaves(outputs: Sequence[Any]) -> list[Tensor]:
    """Leaf tensors whose ``.grad`` a backward call from these tensors reaches."""
    found = {id(o): o for o in outputs if isinstance(o, Tensor) and o.is_leaf and o.requires_grad}
    for node in nodes(outputs):
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor):
            found[id(leaf)] = leaf
    return list(found.values())


def _unwrap() -> None:
    _patch.active = bool(_attending or _blocks)
    if not _listeners and not _blocks:
        _patch.take_off()


def _backward(
    inner: Callable[..., None],
    /,
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    listeners = _listening()
    if not listeners:
        inner(tensors, grad_tensors, retain_graph, create_graph, grad_variables, inputs)
        return
    outputs, wanted = _several(tensors), None if inputs is None else _several(inputs)
    given = grad_variables if grad_tensors is None else grad_tensors
    with ExitStack() as around:
        for listener in listeners:
            surroundings = listener.saw_backward(outputs, given, wanted)
            if surroundings is not None:
                around.enter_context(surroundings)
        inner(outputs, grad_tensors, retain_graph, create_graph, grad_variables, wanted)


# Tensor.backward looks torch.autograd.backward up at each call, so one wrapper sees both spellings.
_patch = Patch(torch.autograd, "backward", _backward)


def _listening() -> list[Listener]:
    alone = getattr(_alone, "listener", None)
    if alone is not None:
        return [alone]
    # Copied at once: a collection may shrink the table at any allocation.
    attending = [reference() for key, reference in list(_listeners.items()) if key in _attending]
    return [listener for listener in attending if listener is not None]


def _several(given: Any) -> tuple[Any, ...]:
    """One or several tensors or edges, as torch takes them; a generator is read once."""
    if isinstance(given, (Tensor, GradientEdge)):
        return (given,)
    return tuple(given.values()) if isinstance(given, dict) else tuple(given)
