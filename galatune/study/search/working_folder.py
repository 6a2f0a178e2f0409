"""The working directory: the user's code may change it, and galatune's own paths stay what they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["WorkingFolder"]


class WorkingFolder:
    """Two working directories that take turns: galatune's own, and that of the user's code.

    Both are the present one at first. One that was deleted meanwhile is left as it is.
    """

    def __init__(self) -> None:
        self._places = dict.fromkeys((False, True), os.getcwd())  # noqa: PTH109  # a path to go back to
        self._theirs = False

    @contextmanager
    def entered(self, *, theirs: bool) -> Iterator[None]:
        """While the user's code runs, or within that galatune's own."""
        before = self._theirs
        self._go(theirs=theirs)
        try:
            yield
        finally:
            self._go(theirs=before)

    def _go(self, *, theirs: bool) -> None:
        with suppress(OSError):
            self._places[self._theirs] = os.getcwd()  # noqa: PTH109
        self._theirs = theirs
        with suppress(OSError):
            os.chdir(self._places[theirs])
