"""What a worker prints, a whole line at a time."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Lines"]


class Lines:
    r"""Makes lines of what comes in pieces.

    A line that is drawn again and again, as tqdm does it, is one line: as it looked in the end.

    Args:
        say: Called with each line.

    Example:
        >>> lines = Lines(print)
        >>> lines.add(b"epoch 1\nepo")
        epoch 1
        >>> lines.add(b"10 %\r90 %\r100 %\r\n")
        100 %
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._rest = say, b""

    def add(self, piece: bytes) -> None:
        """Say the lines that this completes."""
        *whole, rest = (self._rest + piece).split(b"\n")
        for line in whole:
            self._say_last(line)
        kept = rest.rstrip(b"\r")
        self._rest = kept.rpartition(b"\r")[2] + rest[len(kept) :]

    def end(self) -> None:
        """Say what is left."""
        if self._rest:
            self._say_last(self._rest)
        self._rest = b""

    def _say_last(self, line: bytes) -> None:
        shown = line.rstrip(b"\r").rpartition(b"\r")[2]
        self._say(shown.decode("utf-8", errors="replace"))
