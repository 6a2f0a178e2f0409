"""A step that raises puts everything back: post hooks do not run then, so `step` is wrapped."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

__all__ = ["GuardedStep"]


class GuardedStep:
    """Wraps ``step`` of one optimizer instance, as torch's schedulers do.

    Without a reference cycle, which would keep a net's memory until the next garbage collection: a bound
    method is taken apart, and a scheduler's wrapper holds a weak reference itself.

    Args:
        optimizer: Whose step is wrapped.
        failed: Called when the step raises.
        finished: Called in any case.
    """

    def __init__(
        self, optimizer: Optimizer, *, failed: Callable[[], None], finished: Callable[[], None]
    ) -> None:
        self._own: Any = optimizer.__dict__.get("step")
        inner = optimizer.step
        function: Any = getattr(inner, "__func__", None)
        unbound: Any = function or inner

        @functools.wraps(unbound)
        def step(self_: Optimizer, *args: Any, **kwargs: Any) -> Any:
            try:
                return unbound(self_, *args, **kwargs) if function else unbound(*args, **kwargs)
            except BaseException:
                failed()
                raise
            finally:
                finished()

        del inner
        self._wrapper = step
        optimizer.step = types.MethodType(step, optimizer)  # type: ignore[method-assign]

    def remove(self, optimizer: Optimizer) -> None:
        """Undo the wrapping, unless somebody wrapped it again since; then it stays and does no harm."""
        present = optimizer.__dict__.get("step")
        if getattr(present, "__func__", None) is not self._wrapper:
            return
        if self._own is None:
            del optimizer.__dict__["step"]
        else:
            optimizer.step = self._own  # type: ignore[method-assign]
