"""The grid of a study that Optuna's GridSampler drew: its cells, with and without the rate."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from galatune.study.ledger.attributes import GRID_CELL, GRID_VALUES

__all__ = ["Grid", "grid_of"]


@dataclass(frozen=True)
class Grid:
    """What is left of a grid.

    Attributes:
        values: Parameter to its values, by name.
        cells: Number of combinations.
        old_cells: The same with what is dropped.

    Example:
        >>> Grid({"width": [4, 8], "depth": [1, 2, 3]}, 6, 30).cell(5)
        {'width': 8, 'depth': 3}
    """

    values: Mapping[str, Sequence[Any]]
    cells: int
    old_cells: int

    def text(self) -> str:
        """One sentence."""
        return f"GridSampler: a grid of {self.cells} cells without the rate instead of {self.old_cells}."

    def cell(self, place: int) -> dict[str, Any]:
        """The combination at a place, from 0."""
        found: dict[str, Any] = {}
        for name in reversed(list(self.values)):
            place, index = divmod(place, len(self.values[name]))
            found[name] = self.values[name][index]
        return {name: found[name] for name in self.values}

    def places(self, params: Mapping[str, Any]) -> list[int]:
        """Where a configuration stands in the grid; empty if it is not of it."""
        place = 0
        for name, values in self.values.items():
            same = [index for index, value in enumerate(values) if _are_equal(value, params.get(name))]
            if name not in params or not same:
                return []
            place = place * len(values) + same[0]
        return [place]


def _are_equal(one: Any, other: Any) -> bool:
    """By text, for NaN equals nothing and True equals 1; an integer is the same number as a float."""
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (one, other))
    return repr(one) == repr(other) or (numbers and one == other)


def grid_of(trials: Sequence[FrozenTrial], dropped: Collection[str]) -> Grid | None:
    """The grid of the last trial that GridSampler drew, without what is dropped.

    Returns:
        None if there is no such trial, nothing of its grid is dropped, or nothing is left of it.
    """
    drawn = [trial.system_attrs for trial in trials if GRID_CELL in trial.system_attrs]
    body = drawn[-1].get(GRID_VALUES) if drawn else None
    if not isinstance(body, Mapping) or not all(isinstance(v, list) and v for v in body.values()):
        return None
    values = {name: body[name] for name in sorted(body) if name not in dropped}
    if not values or len(values) == len(body):
        return None
    count = math.prod(map(len, values.values()))
    return Grid(values, count, math.prod(map(len, body.values())))
