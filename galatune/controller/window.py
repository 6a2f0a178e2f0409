"""The last few values of something, kept as plain numbers in a slot's memory."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Window"]


@dataclass(frozen=True)
class Window:
    """A running median and spread over the last values.

    Args:
        name: Start of the keys ``name_0``, ``name_1``, ... and ``name_count`` in the memory.
        length: How many values are kept.
        fewest: With fewer there is no median yet.

    Example:
        >>> window, memory = Window("loss", length=3, fewest=2), {}
        >>> for value in (5.0, 1.0, 2.0, 3.0):
        ...     window.add(memory, value)
        >>> window.median(memory), window.median({})
        (2.0, None)
        >>> sorted(memory)
        ['loss_0', 'loss_1', 'loss_2', 'loss_count']
    """

    name: str
    length: int = 15
    fewest: int = 5

    def add(self, memory: MutableMapping[str, Any], value: float) -> None:
        """Put the value in the place of the oldest one."""
        count = int(memory.get(f"{self.name}_count", 0))
        memory[f"{self.name}_{count % self.length}"] = value
        memory[f"{self.name}_count"] = count + 1

    def clear(self, memory: MutableMapping[str, Any]) -> None:
        """Keep nothing."""
        memory[f"{self.name}_count"] = 0

    def median(self, memory: Mapping[str, Any]) -> float | None:
        """Of the values kept, None while there are too few."""
        kept = self._kept(memory)
        return statistics.median(kept) if len(kept) >= self.fewest else None

    def spread(self, memory: Mapping[str, Any]) -> float:
        """Largest value kept less the smallest one; infinite while there are too few."""
        kept = self._kept(memory)
        return max(kept) - min(kept) if len(kept) >= self.fewest else math.inf

    def _kept(self, memory: Mapping[str, Any]) -> list[float]:
        count = min(int(memory.get(f"{self.name}_count", 0)), self.length)
        return [float(memory[f"{self.name}_{i}"]) for i in range(count)]
