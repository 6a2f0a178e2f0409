"""Who is told when an estimator was fitted, such as a tracking server. Nothing is patched for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["FinishedFit", "FitListener", "listen", "stop_listening", "tell"]


@dataclass(frozen=True)
class FinishedFit:
    """A call of `fit` that has succeeded.

    Attributes:
        estimator: The fitted `GalaClassifier` or `GalaRegressor`.
        X: The rows that were passed.
        y: What was to be learned from them.
        sample_weight: Their weights, None if all count alike.
        seconds: Wall-clock time that the call took.
    """

    estimator: Any
    X: Any
    y: Any
    sample_weight: Any
    seconds: float


FitListener: TypeAlias = Callable[[FinishedFit], None]

_LISTENERS: dict[str, FitListener] = {}


def listen(name: str, listener: FitListener) -> None:
    """Have a listener told of every `fit` to come in this process, but not of `partial_fit`.

    Args:
        name: Who listens; a listener of the same name is replaced.
        listener: Called in the thread of the fit, before it returns. What it raises, `fit` raises.

    Example:
        >>> listen("counter", lambda fit: print(fit.seconds))
        >>> stop_listening("counter")
    """
    _LISTENERS[name] = listener


def stop_listening(name: str) -> None:
    """Tell it no more; nothing happens if it did not listen."""
    _LISTENERS.pop(name, None)


def tell(fit: FinishedFit) -> None:
    """Tell all listeners, in the order in which they began."""
    for listener in list(_LISTENERS.values()):
        listener(fit)
