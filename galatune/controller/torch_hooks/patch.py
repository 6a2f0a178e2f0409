"""Replacing one of torch's functions, and putting it back. Every patch goes through `Patch`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["Patch"]


class Patch:
    """Wraps a function of a module or class while it is used, and then puts the original back.

    Other libraries wrap the same functions, before and after. The newest wrapper of ours acts; an older one
    that another library wrapped in turn only calls what it wraps. The caller holds a lock.

    Args:
        owner: Module or class that holds the function.
        name: Name of the function there.
        acting: Called instead, with the wrapped function first and then the arguments; it takes the first
            one by position only, since the arguments may have any name.

    Attributes:
        active: While false, the wrapper only calls what it wraps.

    Example:
        >>> import types
        >>> place = types.SimpleNamespace(half=lambda x: x / 2)
        >>> own, patch = place.half, Patch(place, "half", lambda inner, x: inner(x) + 1)
        >>> patch.put_on()
        >>> place.half(4)
        3.0
        >>> patch.take_off()
        >>> place.half is own
        True
    """

    def __init__(self, owner: Any, name: str, acting: Callable[..., Any]) -> None:
        self._owner, self._name, self._acting = owner, name, acting
        self.active = True
        self._own = True
        self._inner: Any = None
        self._newest: Any = None

    def put_on(self) -> None:
        """Wrap the function, unless our wrapper is the outermost one already."""
        if self._newest is None or getattr(self._owner, self._name) is not self._newest:
            self._own = self._name in vars(self._owner)  # else inherited
            self._inner = getattr(self._owner, self._name)
            self._newest = self._around(self._inner)
            setattr(self._owner, self._name, self._newest)

    def take_off(self) -> None:
        """Put the function back, or stop acting if another library wrapped ours; twice is harmless."""
        if self._newest is not None and getattr(self._owner, self._name) is self._newest:
            if self._own:
                setattr(self._owner, self._name, self._inner)
            else:
                delattr(self._owner, self._name)
        self._newest = None

    def _around(self, inner: Any) -> Any:
        @functools.wraps(inner)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if wrapper is self._newest and self.active:
                return self._acting(inner, *args, **kwargs)
            return inner(*args, **kwargs)

        return wrapper
