"""The loss of each step, as the loop computes it; it stays on its device until it can be read."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from galatune.controller.rule.loss_trend import LossTrend, Rise
from galatune.controller.torch_hooks.backward import attend, listen, unlisten
from galatune.controller.torch_hooks.distributed import Ranks

__all__ = ["LossWatch"]


class LossWatch:
    """Listens to backward calls: if what they start from is one number, it is the loss.

    Several calls before a step (accumulation, several losses) add up, as their gradients do: only those that
    changed the gradient of one watched parameter, and none from before its gradient was set to None. Only the
    thread that steps is listened to. The factor of a GradScaler is taken out. No graph is walked, and no
    device is waited for.

    Attributes:
        trend: The losses so far.
        judges: Whether losses are added to it.
        maximized: Whether a loss that falls is the bad one.
    """

    def __init__(self) -> None:
        self._parameter: weakref.ref[Tensor] | None = None
        self._thread = threading.get_ident()
        self._last: Tensor | None = None
        self._mark: tuple[int, int] | None = None
        self._total: Tensor | None = None
        self._calls, self._several = 0, False
        self._usual_calls: int | None = None
        self._loss: Tensor | float | None = None
        self._comparable = False
        self._copy: HostCopy | None = None
        self._ranks = Ranks()
        self.trend, self.judges, self.maximized = LossTrend(), False, False

    def begin(self, parameters: Sequence[Tensor]) -> None:
        """Listen to backward calls."""
        self.follow(parameters)
        listen(self)
        attend(self, True)

    def close(self) -> None:
        """Listen no more."""
        unlisten(self)
        self.forget()

    def forget(self) -> None:
        """What was seen does not count: a checkpoint was loaded."""
        self._last = self._total = self._copy = None
        self._calls, self._several = 0, False

    def follow(self, parameters: Sequence[Tensor]) -> None:
        """Tell by the last of these parameters that has a gradient which losses are the optimizer's."""
        present = None if self._parameter is None else self._parameter()
        if present is None or present.grad is None:
            able = [p for p in parameters if p.requires_grad]
            chosen = next((p for p in reversed(able) if p.grad is not None), able[-1] if able else None)
            self._parameter = None if chosen is None else weakref.ref(chosen)

    def saw_backward(self, outputs: Sequence[Any], grad_outputs: Any, inputs: Any) -> None:
        """See `galatune.controller.torch_hooks.backward.Listener`."""
        if threading.get_ident() != self._thread:
            return  # another training: it may go backward while this one does
        mark = _mark(None if self._parameter is None else self._parameter())
        self._settle(mark)
        self._mark = mark
        if mark is None:
            self._total, self._calls, self._several = None, 0, False
        for output in outputs:
            if isinstance(output, Tensor) and output.numel() == 1:
                self._several = self._several or self._last is not None
                loss = _unscaled(output)
                self._last = loss if self._last is None else self._last + loss

    def end_step(self, returned: Any = None) -> Rise:
        """With the gradients of a step there its loss is complete: what it says beside those before.

        Args:
            returned: What the step's closure returned, which is the loss if it is one number.
        """
        self._thread = threading.get_ident()
        self._settle(_mark(None if self._parameter is None else self._parameter()))
        loss: Tensor | float | None = self._total
        if isinstance(returned, (int, float)) or (isinstance(returned, Tensor) and returned.numel() == 1):
            loss = returned.detach() if isinstance(returned, Tensor) else returned
        # A number on the host is read at once: no tensor is kept between steps.
        self._loss = float(loss) if isinstance(loss, Tensor) and is_on_host(loss) else loss
        self._comparable = self._usual_calls in (None, self._calls) and not self._several
        self._usual_calls = self._calls
        self._total, self._calls, self._several = None, 0, False
        comparable = self.comparable() if self.judges else None
        if comparable is None:
            return Rise.NONE
        self.trend, rise = self.trend.add(-comparable if self.maximized else comparable)
        return rise

    def mean(self, parameters: Sequence[Tensor]) -> float | None:
        """The loss of this step, None if it is not known; waits for the device.

        Args:
            parameters: Of the optimizer; the loss is the mean over the ranks that share them.
        """
        own = None if self._loss is None else float(self._loss)
        return self._ranks.mean_loss(own, parameters)

    def comparable(self) -> float | None:
        """The loss of this step if it is on the host, else that of the step before if it has arrived.

        Asked once per step. None after another number of backward calls than the step before had (as at
        the end of an epoch), and if two numbers were differentiated at once.
        """
        loss = self._loss if self._comparable else None
        if not isinstance(loss, Tensor):
            return None if loss is None else float(loss)
        before, self._copy = self._copy, HostCopy(loss)
        return None if before is None else before.value()

    def _settle(self, mark: tuple[int, int] | None) -> None:
        """Whether the last loss changed the gradient, and so is the optimizer's."""
        last, self._last = self._last, None
        if last is not None and mark != self._mark:
            self._total = last if self._total is None else self._total + last
            self._calls += 1


class HostCopy:
    """A number on its way from a device."""

    def __init__(self, number: Tensor) -> None:
        self._host = torch.empty((), dtype=number.dtype, pin_memory=True)
        self._host.copy_(number.reshape(()), non_blocking=True)
        self._done = torch.get_device_module(number.device).Event()
        self._done.record()

    def value(self) -> float | None:
        """The number, None if it has not arrived."""
        return float(self._host) if self._done.query() else None


def is_on_host(number: Tensor) -> bool:
    """Whether it can be read without waiting."""
    return number.device.type == "cpu"


def _mark(parameter: Tensor | None) -> tuple[int, int] | None:
    """Changes with each backward call that reaches the parameter."""
    gradient = None if parameter is None else parameter.grad
    return None if gradient is None else (id(gradient), gradient._version)


def _unscaled(loss: Tensor) -> Tensor:
    """The loss without the factor of a GradScaler, a float32 tensor; a loop's own numbers are float64."""
    node = loss.grad_fn
    if node is None or node.name() != "MulBackward0":
        return loss.detach()
    factor = node._saved_other  # type: ignore[attr-defined]
    scaled = isinstance(factor, Tensor) and factor.dtype == torch.float32 and factor.numel() == 1
    unscaled: Tensor = loss.detach() / factor if scaled and not factor.requires_grad else loss.detach()
    return unscaled
