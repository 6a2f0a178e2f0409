"""From a study to a `ShrinkPlan`: what is dropped, what is kept, what is refused, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from optuna.distributions import CategoricalChoiceType

Role = Literal["rate", "schedule", "multiplier"]


@dataclass(frozen=True)
class RateDimension:
    """A parameter of the study that sets the learning rate or its schedule.

    Attributes:
        name: As suggested by the objective.
        role: "rate" (dropped), "schedule" or "multiplier" (reported; dropped when asked).
        distribution: In words, "float 1e-05 to 0.001, log".
        placeholder: The constant that the objective is answered with once dropped. A legal value of the
            distribution: the old study's best, else the middle on its scale.
        dropped: Whether the smaller study leaves it out.
        evidence: Why it is taken for what it is.
    """

    name: str
    role: Role
    distribution: str
    placeholder: CategoricalChoiceType
    dropped: bool
    evidence: str


@dataclass(frozen=True)
class Refusal:
    """A parameter that looks like a learning rate and is none of ours."""

    name: str
    reason: str


@dataclass(frozen=True)
class TrialCounts:
    """Trials by state."""

    total: int
    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int


@dataclass(frozen=True)
class Projection:
    """What the smaller search might cost, from the old study alone: never a measured number.

    Attributes:
        way: "replay" or "until-match".
        trials: Projected number of trials.
        hours: Projected hours, None where the old study recorded no durations.
        assumption: In words.
    """

    way: str
    trials: int
    hours: float | None
    assumption: str


@dataclass(frozen=True)
class ShrinkPlan:
    """A study seen through galatune's eyes.

    Attributes:
        storage: URL or path as it was given, without a password.
        study: Study name.
        directions: "minimize" or "maximize", one an objective.
        trials: Counts by state.
        hours: Sum of the durations of all finished trials, None where none was recorded.
        learning_rate: Rates, schedules and multipliers.
        kept: Everything that is not dropped.
        refused: Look-alikes, with the reason.
        unique_configurations: Distinct configurations over trials of every state once the dropped
            dimensions are left out.
        projected: What the smaller search might cost.
    """

    storage: str
    study: str
    directions: tuple[str, ...]
    trials: TrialCounts
    hours: float | None
    learning_rate: tuple[RateDimension, ...]
    kept: tuple[str, ...]
    refused: tuple[Refusal, ...]
    unique_configurations: int
    projected: tuple[Projection, ...]

    @property
    def placeholders(self) -> dict[str, CategoricalChoiceType]:
        """Dropped dimension to the constant that stands in for it."""
        return {d.name: d.placeholder for d in self.learning_rate if d.dropped}

    def to_json(self) -> dict[str, Any]:
        """The keys of ``galatune scan --json``."""
        raise NotImplementedError


def scan(storage: str, study: str | None = None) -> ShrinkPlan:
    """Read-only."""
    raise NotImplementedError
