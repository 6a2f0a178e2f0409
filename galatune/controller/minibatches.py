"""Seeing minibatches: one wrapper around the iterator of torch's DataLoader while anybody listens."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from torch.utils.data.dataloader import _BaseDataLoaderIter

__all__ = ["Drawing", "listen", "serve", "unlisten"]


class Drawing(Protocol):
    """Told of every minibatch before the loop gets it, and may have one repeated in its place."""

    def repeats(self, source: Any) -> bool:
        """Whether the next minibatch of this source is to be one that was seen."""
        ...

    def again(self) -> Any:
        """That minibatch."""
        ...

    def saw(self, source: Any, batch: Any) -> None:
        """The loop is about to get this one."""
        ...


_lock = threading.RLock()
_listeners: weakref.WeakSet[Any] = weakref.WeakSet()
_ITERATOR: Any = _BaseDataLoaderIter

_newest: Callable[[Any], Any] | None = None
"""The wrapper that acts. An older one, left where another library wrapped it, only passes on."""
_inner: Callable[[Any], Any] = _ITERATOR.__next__


def listen(listener: Drawing) -> None:
    """Tell the listener of minibatches until `unlisten`, or until it is gone."""
    global _newest, _inner
    with _lock:
        _listeners.add(listener)
        if _newest is None or _ITERATOR.__next__ is not _newest:
            _inner = _ITERATOR.__next__
            _newest = _ITERATOR.__next__ = _serving(_inner)


def unlisten(listener: Drawing) -> None:
    """Stop telling the listener; with the last one gone torch's function is back in place."""
    global _newest
    with _lock:
        _listeners.discard(listener)
        if not _listeners and _newest is not None:
            if _ITERATOR.__next__ is _newest:
                _ITERATOR.__next__ = _inner
            _newest = None


def serve(listeners: list[Any], source: Any, draw: Callable[[], Any]) -> Any:
    """The next minibatch: one drawn or, so that epochs keep their length, one repeated in its place.

    Args:
        listeners: `Drawing` each.
        source: What minibatches are drawn from; a repeated one comes out where it came out first.
        draw: Draws one, or raises StopIteration.
    """
    drawn = draw()
    repeating = [one for one in listeners if one.repeats(source)]
    for one in repeating:
        drawn = one.again()
    for one in listeners:
        if one not in repeating:
            one.saw(source, drawn)
    return drawn


def _serving(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(inner)
    def following(self: Any) -> Any:
        if following is not _newest:
            return inner(self)
        with _lock:
            listeners = list(_listeners)
        return serve(listeners, self._dataset, functools.partial(inner, self))

    return following
