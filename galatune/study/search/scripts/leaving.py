"""Ending a script from inside, at the end of its search or for an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import optuna

from galatune.errors import GalatuneError

__all__ = ["Ending", "ScriptLeft", "end_here"]


class ScriptLeft(BaseException):
    """Ends the script from inside; like `SystemExit`, no error."""


def end_here() -> BaseException:
    """Ends the script, or a thread that it has started, of which nobody would catch the former."""
    return ScriptLeft() if threading.current_thread() is threading.main_thread() else SystemExit()


class Ending:
    """An error of galatune's, or a Ctrl-C, ends the script whatever that catches.

    Args:
        ended: Told the error.
    """

    def __init__(self, ended: Callable[[BaseException], None]) -> None:
        self._ended = ended

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (GalatuneError, KeyboardInterrupt, optuna.exceptions.StorageInternalError)):
            self._ended(error)
            raise end_here() from error
