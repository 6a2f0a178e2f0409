"""A process that the objective forked never comes back from the objective: it is not a second run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["only_in_this_process"]


@contextmanager
def only_in_this_process() -> Iterator[None]:
    """End every other process that arrives at the end of the block, however it arrives there.

    A child that returns from the objective, or raises through it, would tell the study how the trial of its
    parent ended, and then run trials of its own. It ends as it would have in a script: with the status of its
    `SystemExit`, with 0 if it returned, else with 1.
    """
    process = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != process:
            _leave(error)
        raise
    if os.getpid() != process:
        _leave(None)


def _leave(error: BaseException | None) -> None:
    status = int(error is not None)
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status & 0xFF)
