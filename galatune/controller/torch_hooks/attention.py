"""Attention that can be differentiated twice: torch's math kernel, for the forwards of a probed step only.

Torch's choice of kernel is one for the whole process. So it is made as late as possible, around a call of a
module, and undone right after; another thread uses the math kernel as well in the meantime. If the user has
switched that kernel off (it keeps the whole attention matrix), it stays off.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn import Module
from torch.nn.attention import SDPBackend, sdpa_kernel

from galatune.controller.torch_hooks.backward import nodes
from galatune.controller.torch_hooks.patch import Patch

__all__ = ["MathForwards", "is_fused", "math_kernel"]

FUSED = "ScaledDotProduct"
"""How the names of fused kernels' nodes start; those of the math kernel are products and a softmax."""

_lock = threading.RLock()
_threads: list[int] = []
"""Threads whose modules are to use the math kernel, one entry for each `MathForwards` that is open."""

_blocks = 0
_chosen = ExitStack()
"""Undoes the choice of kernel once no `math_kernel` block is left, in any thread."""


class MathForwards:
    """From now until `close`, modules that this thread calls for a gradient use the math kernel.

    Example:
        >>> forwards, net = MathForwards(), torch.nn.MultiheadAttention(4, 1)
        >>> x = torch.ones(3, 4)
        >>> is_fused([net(x, x, x, need_weights=False)[0]])
        False
        >>> forwards.close()
        >>> is_fused([net(x, x, x, need_weights=False)[0]])
        True
    """

    def __init__(self) -> None:
        thread = threading.get_ident()
        with _lock:
            _threads.append(thread)
            _patch.put_on()
        self._leave = weakref.finalize(self, _leave, thread)

    def close(self) -> None:
        """Everything is as it was; once more does no harm. It is called when the object is collected, too."""
        self._leave()


def _leave(thread: int) -> None:
    with _lock:
        _threads.remove(thread)
        if not _threads:
            _patch.take_off()


@contextmanager
def math_kernel() -> Iterator[None]:
    """Within the block attention is computed by the math kernel, unless that is switched off."""
    global _blocks
    with _lock:
        if not _blocks and torch.backends.cuda.math_sdp_enabled():
            _chosen.enter_context(sdpa_kernel(SDPBackend.MATH))
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                _chosen.close()


def is_fused(outputs: Iterable[Any]) -> bool:
    """Whether a fused kernel of attention is in the graph behind these tensors."""
    return any(node.name().startswith(FUSED) for node in nodes(outputs))


def _call(inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    wanted = torch.is_grad_enabled() and threading.get_ident() in _threads
    if not wanted or torch.compiler.is_compiling():
        return inner(*args, **kwargs)
    with math_kernel():
        return inner(*args, **kwargs)


# Not a module hook: those warn of compiled modules, and are not told of an interrupt.
_patch = Patch(Module, "__call__", _call)
