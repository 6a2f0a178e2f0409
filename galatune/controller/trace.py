"""The learning-rate curve of a run in bounded memory."""

from __future__ import annotations

__all__ = ["RateTrace"]


class RateTrace:
    """Keeps the applied rate of every k-th step, doubling k when full; the last step is always kept.

    Args:
        capacity: Most points kept.
    """

    def __init__(self, capacity: int = 400) -> None:
        self._capacity = capacity
        self._stride = 1
        self._points: list[tuple[int, float]] = []
        self._last: tuple[int, float] | None = None

    def add(self, step: int, rate: float) -> None:
        """Note the rate applied at a step (from 1)."""
        self._last = (step, rate)
        if (step - 1) % self._stride:
            return
        self._points.append(self._last)
        if len(self._points) >= self._capacity:
            self._stride *= 2
            self._points = [point for point in self._points if (point[0] - 1) % self._stride == 0]

    def points(self) -> list[tuple[int, float]]:
        """(step, rate), ascending."""
        if self._last is None or (self._points and self._points[-1] == self._last):
            return list(self._points)
        return [*self._points, self._last]
