"""Seeing minibatches: a patch of the iterator of torch's DataLoader, while anybody listens."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from torch.utils.data.dataloader import _BaseDataLoaderIter

from galatune.controller.torch_hooks.patch import Patch

__all__ = ["Drawing", "listen", "serve", "unlisten"]


class Drawing(Protocol):
    """Told of every minibatch before the loop gets it; may have an earlier one repeated instead."""

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
"""Reentrant: an optimizer may be collected, and its listener leave, while this thread holds it."""

_listeners: dict[int, weakref.ref[Any]] = {}


def listen(listener: Drawing) -> None:
    """Tell the listener of minibatches until `unlisten`, or until it is gone."""
    with _lock:
        key = id(listener)
        _listeners[key] = weakref.ref(listener, lambda _: _leave(key))
        _patch.put_on()


def unlisten(listener: Drawing) -> None:
    """Stop telling the listener; with the last one gone torch's function is back in place."""
    _leave(id(listener))


def _leave(key: int) -> None:
    with _lock:
        _listeners.pop(key, None)
        if not _listeners:
            _patch.take_off()


def serve(listeners: list[Any], source: Any, draw: Callable[[], Any]) -> Any:
    """The next minibatch: a drawn one, or a repeated one in its place, so that epochs keep their length.

    Args:
        listeners: `Drawing` each.
        source: What minibatches are drawn from; a minibatch is repeated by the source it came from.
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


def _following(inner: Callable[[Any], Any], iterator: Any, /) -> Any:
    with _lock:
        listeners = [one for reference in list(_listeners.values()) if (one := reference()) is not None]
    return serve(listeners, iterator._dataset, functools.partial(inner, iterator))


_patch = Patch(_BaseDataLoaderIter, "__next__", _following)
