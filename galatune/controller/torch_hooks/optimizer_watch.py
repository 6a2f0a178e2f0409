"""Seeing every optimizer that is made, is loaded or steps, while anybody watches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import register_optimizer_step_pre_hook

from galatune.controller.torch_hooks.lr_schedule import (
    follow_schedulers,
    scheduler_made,
    unfollow_schedulers,
)
from galatune.controller.torch_hooks.optimizer_step import SharedHook
from galatune.controller.torch_hooks.patch import Patch
from galatune.controller.torch_hooks.traced_rates import make_rates_plain

__all__ = ["OptimizerWatcher", "watched_by", "watchers"]


class OptimizerWatcher(Protocol):
    """Told what happens to optimizers."""

    def made(self, optimizer: Optimizer) -> None:
        """It was constructed."""

    def loaded(self, optimizer: Optimizer) -> None:
        """It has loaded a state."""

    def stepping(self, optimizer: Optimizer) -> None:
        """It is about to step."""


_lock = threading.RLock()
_active: list[tuple[int, OptimizerWatcher]] = []
"""(thread that began to watch, watcher), in the order of beginning."""


def watchers() -> list[OptimizerWatcher]:
    """All that watch at present, in whatever thread."""
    return [watcher for _, watcher in list(_active)]


@contextmanager
def watched_by(watcher: OptimizerWatcher) -> Iterator[None]:
    """Tell the watcher of what happens within the block, and in threads that watch nothing of their own."""
    own = (threading.get_ident(), watcher)
    with _lock:
        if not _active:
            for patch in _patches:
                patch.put_on()
            _hook.use()
        _active.append(own)
    try:
        yield
    finally:
        with _lock:
            _active.remove(own)
            if not _active:
                for patch in _patches:
                    patch.take_off()
                _hook.leave()
                unfollow_schedulers()


def _innermost() -> OptimizerWatcher | None:
    """The last one that this thread began; a thread that began none works for the last one of all."""
    if not _active:
        return None
    me = threading.get_ident()
    with _lock:
        mine = [watcher for thread, watcher in _active if thread == me]
        return mine[-1] if mine else _active[-1][1] if _active else None


def _made(inner: Any, optimizer: Optimizer, /, *args: Any, **kwargs: Any) -> None:
    inner(optimizer, *args, **kwargs)
    follow_schedulers(optimizer)
    if (watcher := _innermost()) is not None:
        watcher.made(optimizer)


def _loaded(inner: Any, optimizer: Optimizer, /, *args: Any, **kwargs: Any) -> None:
    inner(optimizer, *args, **kwargs)
    if (watcher := _innermost()) is not None:
        watcher.loaded(optimizer)


def _stepping(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    make_rates_plain(optimizer)  # what was set by hand
    if (watcher := _innermost()) is not None:
        watcher.stepping(optimizer)


_patches = (
    Patch(Optimizer, "__init__", _made),
    Patch(Optimizer, "load_state_dict", _loaded),
    Patch(LRScheduler, "__init__", scheduler_made),
)
_hook = SharedHook(register_optimizer_step_pre_hook, _stepping)
