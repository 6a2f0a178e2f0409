"""Numbers that know which search dimensions they were computed from.

A script gets them in place of plain numbers, so that whoever builds an optimizer from ``3 * lr`` can be told
to follow ``lr``. They are floats and ints in every other respect: equal, as hashable, as printable. Their
classes pass for those of Python and numpy wherever classes are compared or looked up, which is how copying,
YAML, OmegaConf, pickling in Python and torch.compile choose what to do. Pickling gives plain numbers.

What computes in C loses the origin, and so does ``float(lr)``: `math.sqrt(lr)` is a plain number.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

__all__ = ["Origin", "is_traced", "origins_of", "plain", "traced"]

DEEPEST = 8
"""Levels of nested lists, tuples and dicts that are looked into."""

_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
_METHODS = (
    *(f"__{name}__" for name in _OPERATORS),
    *(f"__r{name}__" for name in _OPERATORS),
    *("__neg__", "__pos__", "__abs__", "__round__"),
)


class Origin:
    """One search dimension, in one call of an objective.

    Attributes:
        name: Of the dimension.
        lost: Whether a plain number was made of one that comes from it, with ``float()`` or ``int()``.
    """

    def __init__(self, name: str) -> None:
        self.name, self.lost = name, False


Origins = frozenset[Origin]


class _PassesForPlain(type):
    """The class of the classes below: each equals the plain class that it derives from."""

    @property
    def plain_class(cls) -> type:
        """Float, int or `numpy.float64`."""
        found: type = cls.__mro__[1]
        return found

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.plain_class

    def __ne__(cls, other: object) -> bool:
        return not cls == other

    def __hash__(cls) -> int:
        return hash(cls.plain_class)

    def __repr__(cls) -> str:
        return repr(cls.plain_class)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.plain_class(*args, **kwargs)


def _operator(name: str, owner: type) -> Callable[..., Any]:
    method = getattr(owner, name)

    def operator(self: Any, *others: Any) -> Any:
        origins: Origins = self._origins.union(*map(_own_origins, others))
        others = tuple(map(_plain_number, others))
        own = _plain_number(self)
        if any(isinstance(other, np.float64) for other in others):  # wins over Python's float and int
            own = np.float64(own)
            return _traced_number(getattr(own, name)(*others), origins)
        return _traced_number(method(own, *others), origins)

    operator.__name__ = name
    return operator


def _array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """With a plain number, whose type is the weaker one beside a float32; that of a subclass is not."""
    given = [one for one in inputs if is_traced(one)]
    kwargs = {name: plain(value) for name, value in kwargs.items()}
    result = getattr(ufunc, method)(*map(_plain_number, inputs), **kwargs)
    return _traced_number(result, frozenset().union(*map(_own_origins, given)))


def _array_function(self: Any, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return function(*plain(args), **plain(kwargs))


def _as_plain(self: Any, kind: type) -> Any:
    for origin in self._origins:
        origin.lost = True
    return kind(_plain_number(self))


def _reduce(self: Any, protocol: Any) -> Any:
    number = _plain_number(self)
    if isinstance(number, np.float64):
        return number.__reduce_ex__(protocol)
    return type(number), (number,)


def _members(owner: type) -> dict[str, Any]:
    """What each of the classes has."""
    return {
        # Without a __dict__, as Python's own; the layout of the others does not allow that.
        **({"__slots__": ("_origins",)} if owner is float else {}),
        **{name: _operator(name, owner) for name in _METHODS if hasattr(owner, name)},
        "__class__": property(lambda self: owner),
        "__module__": owner.__module__,
        "__qualname__": owner.__qualname__,
        "__doc__": owner.__doc__,
        "__array_ufunc__": _array_ufunc,
        "__array_function__": _array_function,
        "__float__": lambda self: _as_plain(self, float),
        "__int__": lambda self: _as_plain(self, int),
        "__reduce_ex__": _reduce,
    }


_CLASSES: dict[type, Any] = {
    owner: _PassesForPlain(owner.__name__, (owner,), _members(owner)) for owner in (float, int, np.float64)
}
_TRACED = {id(one) for one in _CLASSES.values()}  # a set of classes would hold the plain ones too


def is_traced(value: object) -> bool:
    """Whether it is a number that knows where it comes from."""
    return id(builtins.type(value)) in _TRACED


def _own_origins(value: Any) -> Origins:
    return value._origins if is_traced(value) else frozenset()


def _plain_number(value: Any) -> Any:
    if not is_traced(value):
        return value
    if isinstance(value, np.float64):
        return np.float64(float.__float__(value))
    return float.__float__(value) if isinstance(value, float) else int.__int__(value)


def _traced_number(value: Any, origins: Origins) -> Any:
    """A plain number with its origins; anything else as it is."""
    kind: Any = type(value)
    if not origins or is_traced(value) or kind not in _CLASSES:
        return value
    number = kind.__new__(_CLASSES[kind], value)
    number._origins = origins
    return number


def traced(value: Any, origin: Origin) -> Any:
    """A number that knows where it comes from; a list, tuple or dict of such numbers.

    Args:
        value: Text, None and everything else that is not a number comes back as it is.
        origin: Where it comes from.

    Example:
        >>> rate = traced(0.1, Origin("lr"))
        >>> [origin.name for origin in origins_of(3 * rate / 2)], rate == 0.1, rate
        (['lr'], True, 0.1)
    """
    return _mapped(value, lambda one: _traced_number(one, frozenset({origin})))


def plain(value: Any) -> Any:
    """The plain number; a copy of a list, tuple or dict that holds one that is not plain.

    Example:
        >>> rate = traced(0.1, Origin("lr"))
        >>> [type(one) is float for one in (rate, plain(rate), *plain([rate]))]
        [False, True, True]
    """
    return _mapped(value, _plain_number)


def origins_of(value: Any) -> Origins:
    """Where a number comes from, or the numbers of a list, tuple or dict; empty for plain ones."""
    return frozenset().union(*map(_own_origins, _numbers(value)))


def _mapped(value: Any, change: Callable[[Any], Any], level: int = 0) -> Any:
    """A container whose numbers are changed; itself if none was."""
    kind = type(value)
    if kind not in (list, tuple, dict) or level > DEEPEST:
        return change(value)
    parts: Iterable[Any] = value.values() if kind is dict else value
    changed = [_mapped(part, change, level + 1) for part in parts]
    if all(one is other for one, other in zip(parts, changed, strict=True)):
        return value
    return dict(zip(value, changed, strict=True)) if kind is dict else kind(changed)


def _numbers(value: Any, level: int = 0) -> Iterator[Any]:
    if type(value) not in (list, tuple, dict) or level > DEEPEST:
        yield value
        return
    for part in value.values() if type(value) is dict else value:
        yield from _numbers(part, level + 1)
