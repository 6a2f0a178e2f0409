"""The progress of a long measurement and the time that is left, on stderr."""

from __future__ import annotations

import sys
import time

import click

__all__ = ["Countdown"]

BETWEEN_LINES = 60.0
"""Seconds, if stderr is not a terminal."""


class Countdown:
    """Called with (done, in all) whenever something is done.

    Args:
        noun: What is counted, in the plural.
    """

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._total = -1
        self._began = self._said = time.monotonic()
        self._done_before = 0

    def __call__(self, done: int, total: int) -> None:
        """Say how far it is: on a terminal each time in one line, elsewhere at most once a minute."""
        now = time.monotonic()
        if total != self._total:
            self._total, self._began, self._done_before = total, now, done
        line = f"{done} of {total} {self._noun}{self._left(done, now)}"
        if sys.stderr.isatty():
            click.echo(f"\r{line:<60}", err=True, nl=done == total)
        elif now - self._said >= BETWEEN_LINES:
            self._said = now
            click.echo(line, err=True)

    def _left(self, done: int, now: float) -> str:
        ran, to_run = done - self._done_before, self._total - done
        if not ran or not to_run:
            return ""
        left = (now - self._began) / ran * to_run
        return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"
