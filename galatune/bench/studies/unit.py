"""One unit of the testbed: an objective, a setting, a seed and a way, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from galatune.bench.studies.meter import TrialCost

__all__ = ["AGAIN", "AXES", "OLD", "SHARES", "Axis", "Budget", "Outcome", "PilotNote", "Unit"]

Axis = Literal["seconds", "gradients", "trials"]

AXES: tuple[Axis, ...] = ("seconds", "gradients", "trials")
"""In what a cost is counted: processor seconds of trainings, gradient evaluations, trials."""

SHARES = (1 / 3, 2 / 3, 1.0)
"""Shares of the old search's cost at which the best configuration so far is judged."""

AGAIN = "again"
"""The setting in which nothing but the rows changed."""

OLD = "old"
"""Way of the old study itself."""


@dataclass(frozen=True)
class Unit:
    """What is to be run.

    Attributes:
        objective: Name of the objective.
        setting: Name of the setting: "again" or what was changed.
        way: Name of the way, or `OLD`.
        seed: Decides the old study: its rows, its sampler and its trainings. The new search has its own.
    """

    objective: str
    setting: str
    way: str
    seed: int


@dataclass(frozen=True)
class Budget:
    """What the old search costs if it is run again in this setting: what the null spent.

    Attributes:
        seconds: Processor seconds of its trainings.
        gradients: Gradient evaluations.
        trials: Number of trials.
    """

    seconds: float
    gradients: float
    trials: float

    def at(self, axis: Axis) -> float:
        """On that axis."""
        return float(getattr(self, axis))


@dataclass(frozen=True)
class PilotNote:
    """What a pilot chose, at the beginning of a search.

    Attributes:
        way: Name of the way in which the search went on.
        verdict: "go" with control, "no-go" or "undecided".
        pairs: Pairs that are complete.
        repeats: Repeats of the old best: the first trials of the outcome.
        trainings: Those and the trainings of the pairs, which follow them.
    """

    way: str
    verdict: str
    pairs: int
    repeats: int
    trainings: int


@dataclass(frozen=True)
class Outcome:
    """What a unit gave.

    Attributes:
        unit: Which.
        trials: Its trials, with what was spent when each was finished.
        best_at: Per axis, for each of `SHARES`: the place in ``trials`` of the best trial so far.
        retrained: Per place: test losses of its configuration, trained with new seeds in its own way.
        error: Why it failed, None if it did not.
        pilot: The pilot that it began with, None if there was none.
    """

    unit: Unit
    trials: tuple[TrialCost, ...] = ()
    best_at: Mapping[Axis, tuple[int, ...]] = field(default_factory=dict)
    retrained: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    error: str | None = None
    pilot: PilotNote | None = None

    @property
    def spent(self) -> Budget:
        """By the whole search."""
        if not self.trials:
            return Budget(0.0, 0.0, 0.0)
        last = self.trials[-1]
        return Budget(last.seconds, float(last.gradients), float(len(self.trials)))

    def losses(self, axis: Axis, share: int) -> tuple[float, ...]:
        """Test losses of what was best at one of `SHARES` of the old search's cost.

        Args:
            axis: In what the cost is counted.
            share: Place in `SHARES`.
        """
        return self.retrained[self.best_at[axis][share]]

    def to_json(self) -> dict[str, Any]:
        """For a line of the results."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Outcome:
        """Back from `to_json`; JSON has made strings of the places."""
        return cls(
            Unit(**body["unit"]),
            tuple(TrialCost(**trial) for trial in body["trials"]),
            {axis: tuple(body["best_at"][axis]) for axis in AXES if axis in body["best_at"]},
            {int(place): tuple(losses) for place, losses in body["retrained"].items()},
            body["error"],
            None if body.get("pilot") is None else PilotNote(**body["pilot"]),
        )
