"""Ctrl-C and SIGTERM: they stop the running trial, never the writing of a finished one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interruption"]

SIGNALS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""Handlers that are replaced, and only if they are still Python's own."""


class Interruption:
    """Raises `KeyboardInterrupt` at a signal; while something is written, right after that.

    Use it as a context manager. It does nothing outside the main thread: Python allows no handlers there.

    Attributes:
        came: Whether a signal has arrived, even if the objective swallowed the exception.
    """

    def __init__(self) -> None:
        self.came = False
        self._pid = os.getpid()
        self._holding = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number, usual in SIGNALS.items():
                if signal.getsignal(number) == usual:
                    self._previous[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing interrupts what is inside; a signal that came meanwhile is raised at its end."""
        before, self.came = self.came, False
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
            arrived, self.came = self.came, before or self.came
        if arrived and not self._holding:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise if a signal has arrived and the objective swallowed it."""
        if self.came:
            raise KeyboardInterrupt

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid and number == signal.SIGTERM:  # a worker that the objective forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.came = True
        if not self._holding:
            raise KeyboardInterrupt
