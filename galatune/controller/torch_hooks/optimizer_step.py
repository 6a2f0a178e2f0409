"""The step of an optimizer: hooks on all of them that go with their last user, and a step that may raise."""

from __future__ import annotations

import functools
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

__all__ = ["GuardedStep", "LostHooks", "SharedHook", "StepHooks", "closure_of", "with_closure"]


def closure_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any] | None:
    """The closure among the arguments of a step hook: the optimizer, and what its step was called with."""
    closure: Callable[[], Any] | None = args[1] if len(args) > 1 else kwargs.get("closure")
    return closure


def with_closure(
    args: tuple[Any, ...], kwargs: dict[str, Any], closure: Callable[[], Any], then: Callable[[Any], None]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """These arguments with another closure: after its first call, ``then`` gets what it returned."""
    called = False

    def telling() -> Any:
        nonlocal called
        returned = closure()
        if not called:
            called = True
            with torch.no_grad():
                then(returned)
        return returned

    if len(args) > 1:
        return (args[0], telling, *args[2:]), kwargs
    return args, {**kwargs, "closure": telling}


class SharedHook:
    """One of torch's hooks on every optimizer, registered while anybody uses it.

    Args:
        register: `register_optimizer_step_pre_hook` or `register_optimizer_step_post_hook`.
        hook: What to register.

    Example:
        >>> from torch.optim.optimizer import register_optimizer_step_pre_hook
        >>> hook = SharedHook(register_optimizer_step_pre_hook, lambda optimizer, args, kwargs: None)
        >>> hook.use()
        >>> hook.registered
        True
        >>> hook.leave()
        >>> hook.registered
        False
    """

    def __init__(self, register: Callable[[Any], RemovableHandle], hook: Callable[..., Any]) -> None:
        self._register, self._hook = register, hook
        self._handle: RemovableHandle | None = None
        self._users, self._lock = 0, threading.RLock()

    @property
    def registered(self) -> bool:
        """True while anybody uses it."""
        return self._handle is not None

    def use(self) -> None:
        """One more user."""
        with self._lock:
            self._users += 1
            if self._handle is None:
                self._handle = self._register(self._hook)

    def leave(self) -> None:
        """One user less; the hook goes with the last one."""
        with self._lock:
            self._users -= 1
            if not self._users and self._handle is not None:
                self._handle.remove()
                self._handle = None


class LostHooks(SharedHook):
    """Warns of copied and unpickled optimizers: they have the state of control, but not its hooks.

    Each controller uses it. A copy uses it for good, since nobody knows when its optimizer is gone.

    Args:
        key: Of a parameter group, under which its state is found.

    Attributes:
        controlled: Optimizers under control.
    """

    def __init__(self, key: str) -> None:
        # After the step, since `controlled` may have taken the optimizer over at its start.
        super().__init__(register_optimizer_step_post_hook, self._warn)
        self.controlled: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._key = key
        self._warned: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._unstepped: dict[int, tuple[weakref.ref[Optimizer], Callable[[Optimizer], None]]] = {}

    def await_step(self, optimizer: Optimizer, told: Callable[[Optimizer], None]) -> None:
        """Until its first step: tell of another one, not under control, that steps its parameters."""
        key = id(optimizer)
        self._unstepped[key] = (weakref.ref(optimizer, lambda _: self._unstepped.pop(key, None)), told)

    def has_stepped(self, optimizer: Optimizer) -> None:
        """It steps, or is not going to."""
        self._unstepped.pop(id(optimizer), None)

    def sharing_groups(self, optimizer: Optimizer) -> Optimizer | None:
        """A controlled optimizer with the same parameter groups: it wraps this one, or is wrapped by it."""
        groups = {id(group) for group in optimizer.param_groups}
        for other in list(self.controlled):
            if any(id(group) in groups for group in other.param_groups):
                return other
        return None

    def _wraps_controlled(self, optimizer: Optimizer) -> bool:
        """Whether it has the parameters of a controlled one, as a wrapper with groups of its own."""
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        return any(
            id(p) in own for other in list(self.controlled) for g in other.param_groups for p in g["params"]
        )

    def _look_for_others(self, stepped: Optimizer) -> None:
        """Whether it stepped parameters of an optimizer that is under control and did not step."""
        own = {id(p) for group in stepped.param_groups for p in group["params"]}
        for key, (reference, told) in list(self._unstepped.items()):
            waiting = reference()
            if waiting is None or waiting is stepped:
                continue
            if any(id(p) in own for group in waiting.param_groups for p in group["params"]):
                self._unstepped.pop(key, None)
                told(stepped)

    def _warn(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._unstepped and optimizer not in self.controlled:
            self._look_for_others(optimizer)
        if not optimizer.param_groups:
            return
        if self._key not in optimizer.param_groups[0] or optimizer in self.controlled:
            return
        if optimizer in self._warned or self.sharing_groups(optimizer) is not None:
            return
        if self._wraps_controlled(optimizer):
            for group in optimizer.param_groups:  # it copies the groups of the one in it
                group.pop(self._key, None)
            return
        self._warned.add(optimizer)
        warnings.warn(
            f"this {type(optimizer).__name__} is a copy of a controlled optimizer and is not under control; "
            "galatune.attach(optimizer) continues where the original was",
            stacklevel=2,
        )


class GuardedStep:
    """Wraps ``step`` of one optimizer: if it raises, torch's post hooks do not run, and this cleans up.

    It makes no reference cycle, which would keep a net's memory until the next garbage collection: a bound
    method is taken apart, and the wrapper is a function with a weak reference, like that of a scheduler.

    Args:
        optimizer: Whose step is wrapped.
        failed: Called if the step raises.
        finished: Called in any case.
    """

    def __init__(
        self, optimizer: Optimizer, *, failed: Callable[[], None], finished: Callable[[], None]
    ) -> None:
        self._own: Any = optimizer.__dict__.get("step")
        inner = optimizer.step
        function: Any = getattr(inner, "__func__", None)
        unbound: Any = function or inner
        present = weakref.ref(optimizer)

        @functools.wraps(unbound)
        def guarded(self_: Optimizer, *args: Any, **kwargs: Any) -> Any:
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


class StepHooks:
    """All that a controller puts on its optimizer: torch's hooks, and a step that may raise.

    Args:
        optimizer: It.
        lost: Counts as one user of it, as long as the optimizer lives.
        around: Called before a step, and after one that did not raise.
        ending: Called if a step raises, and after each step.
        state: Called after a state was loaded, and with one that is being saved.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lost: LostHooks,
        around: tuple[Callable[..., Any], Callable[..., None]],
        ending: tuple[Callable[[], None], Callable[[], None]],
        state: tuple[Callable[..., None], Callable[..., None]],
    ) -> None:
        self._handles = [
            optimizer.register_step_pre_hook(around[0]),
            optimizer.register_step_post_hook(around[1]),
            optimizer.register_load_state_dict_post_hook(state[0]),
            optimizer.register_state_dict_post_hook(state[1]),
        ]
        self._guarded = GuardedStep(optimizer, failed=ending[0], finished=ending[1])
        self._lost = lost
        lost.controlled.add(optimizer)
        lost.use()
        self._release = weakref.finalize(optimizer, lost.leave)
        self._release.atexit = False

    def remove(self, optimizer: Optimizer) -> None:
        """Take everything off again."""
        for handle in self._handles:
            handle.remove()
        self._guarded.remove(optimizer)
        self._lost.controlled.discard(optimizer)
        self._lost.has_stepped(optimizer)
        self._release()
