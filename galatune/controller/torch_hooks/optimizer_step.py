"""A step that raises puts everything back: post hooks do not run then, so `step` is wrapped."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

__all__ = ["GuardedStep"]


class GuardedStep:
    """Wraps ``step`` of one optimizer instance, as torch's schedulers do.

    Without a reference cycle, which would keep a net's memory until the next garbage collection: a bound
    method is taken apart, and the wrapper, like a scheduler's, is a function that holds a weak reference.

    Args:
        optimizer: Whose step is wrapped.
        started: Called before the step.
        failed: Called when the step raises.
        finished: Called in any case.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        started: Callable[[], None],
        failed: Callable[[], None],
        finished: Callable[[], None],
    ) -> None:
        self._own: Any = optimizer.__dict__.get("step")
        inner = optimizer.step
        function: Any = getattr(inner, "__func__", None)
        unbound: Any = function or inner
        present = weakref.ref(optimizer)

        @functools.wraps(unbound)
        def guarded(self_: Optimizer, *args: Any, **kwargs: Any) -> Any:
            started()
            try:
                return unbound(self_, *args, **kwargs) if function else unbound(*args, **kwargs)
            except BaseException:
                failed()
                raise
            finally:
                finished()

        @functools.wraps(unbound)
        def step(*args: Any, **kwargs: Any) -> Any:
            return guarded(present(), *args, **kwargs)  # type: ignore[arg-type]

        step.__func__ = guarded  # type: ignore[attr-defined]  # schedulers take a bound method apart
        self._wrapper = step
        optimizer.step = step  # type: ignore[method-assign]

    def remove(self, optimizer: Optimizer) -> None:
        """Undo the wrapping, unless somebody wrapped it again since; then it stays and does no harm."""
        if optimizer.__dict__.get("step") is not self._wrapper:
            return
        if self._own is None:
            del optimizer.__dict__["step"]
        else:
            optimizer.step = self._own  # type: ignore[method-assign]
