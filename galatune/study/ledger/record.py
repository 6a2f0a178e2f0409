"""The record of a controlled trial: its user attribute ``galatune``, at most 32 kB.

`report` reads studies and nothing else, so everything it says of a trial's learning rate comes from here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from galatune.study.ledger.attributes import SCHEMA

__all__ = ["OptimizerRecord", "RateEvent", "RatePoint", "TrialRecord"]

MAX_POINTS = 200
MAX_EVENTS = 100
MAX_OPTIMIZERS = 20
MAX_CHARACTERS = 200
MAX_BYTES = 32_000


@dataclass(frozen=True)
class OptimizerRecord:
    """One torch optimizer that stepped in the trial.

    Attributes:
        name: Class name, "AdamW".
        controlled: Whether galatune set its learning rate.
        probe: Source of its gradient pairs ("closure", "graph", ...), None if not controlled.
        reason: Why it was controlled or left alone, in words.
        prior: Rate and spread of ln(rate) that its control began with, None if nothing was known.
    """

    name: str
    controlled: bool
    probe: str | None
    reason: str
    prior: tuple[float, float] | None = None


@dataclass(frozen=True)
class RatePoint:
    """One point of a learning-rate curve.

    Attributes:
        optimizer: Index into `TrialRecord.optimizers`.
        step: Optimizer step, from 1.
        rate: Learning rate as applied at that step.
    """

    optimizer: int
    step: int
    rate: float


@dataclass(frozen=True)
class RateEvent:
    """One thing the controller decided or noticed.

    Attributes:
        optimizer: Index into `TrialRecord.optimizers`.
        step: Optimizer step, from 1; 0 before the first.
        kind: Short name, "non-finite", "schedule", "probe".
        reason: In words.
    """

    optimizer: int
    step: int
    kind: str
    reason: str


@dataclass(frozen=True)
class TrialRecord:
    """What was controlled in one trial and what it cost.

    Attributes:
        optimizers: Every torch optimizer that stepped, the controlled ones first. At most 20.
        steps: Optimizer steps under control, summed over optimizers; with control off, of all of them.
        probes: Steps on which a gradient pair was measured.
        gradient_evaluations: Gradients computed for the controlled steps, probes included (a
            Hessian-vector product counts 3; 2 in records of version 0.1.0).
        learning_rate: At most 200 points, thinned evenly; the highest and the last of each optimizer stay.
        events: At most 100.
        machine: "platform", "processor", "cores", "device".
        versions: Package name to version.
    """

    optimizers: tuple[OptimizerRecord, ...]
    steps: int
    probes: int
    gradient_evaluations: int
    learning_rate: tuple[RatePoint, ...] = ()
    events: tuple[RateEvent, ...] = ()
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def controlled(self) -> bool:
        """Whether any optimizer's learning rate was set by galatune."""
        return any(optimizer.controlled for optimizer in self.optimizers) and self.steps > 0

    def to_attribute(self) -> dict[str, Any]:
        """JSON-ready form, within the limits of the attribute: texts are cut until it fits.

        Points whose rate is not finite are left out: JSON has no number for it.
        """
        characters = MAX_CHARACTERS
        while len(json.dumps(body := self._body(characters))) > MAX_BYTES and characters:
            characters //= 2
        return body

    def _body(self, characters: int) -> dict[str, Any]:
        def short(text: str) -> str:
            return text[:characters]

        optimizers = self.optimizers[:MAX_OPTIMIZERS]
        curves = [self._curve(i) for i in range(len(optimizers))]
        drawn = max(sum(map(bool, curves)), 1)
        points = [point for curve in curves for point in _thin(curve, MAX_POINTS // drawn)]
        events = [event for event in self.events if event.optimizer < MAX_OPTIMIZERS][:MAX_EVENTS]
        return {
            "schema": SCHEMA,
            "optimizers": [
                {**asdict(optimizer), "name": short(optimizer.name), "reason": short(optimizer.reason)}
                for optimizer in optimizers
            ],
            "steps": self.steps,
            "probes": self.probes,
            "gradient_evaluations": self.gradient_evaluations,
            "learning_rate": [[p.optimizer, p.step, p.rate] for p in points],
            "events": [[e.optimizer, e.step, short(e.kind), short(e.reason)] for e in events],
            "machine": {name: short(text) for name, text in self.machine.items()},
            "versions": {name: short(text) for name, text in self.versions.items()},
        }

    def _curve(self, optimizer: int) -> tuple[RatePoint, ...]:
        curve = [point for point in self.learning_rate if point.optimizer == optimizer]
        return tuple(point for point in curve if math.isfinite(point.rate))

    @classmethod
    def from_attribute(cls, body: Any) -> TrialRecord | None:
        """Read the attribute back.

        Returns:
            None if there is none, or if another schema or another program wrote it: nothing is guessed.
        """
        if not isinstance(body, Mapping) or body.get("schema") != SCHEMA:
            return None
        return cls(
            optimizers=tuple(map(_optimizer, body["optimizers"])),
            steps=body["steps"],
            probes=body["probes"],
            gradient_evaluations=body["gradient_evaluations"],
            learning_rate=tuple(RatePoint(*point) for point in body["learning_rate"]),
            events=tuple(RateEvent(*event) for event in body["events"]),
            machine=body["machine"],
            versions=body["versions"],
        )


def _optimizer(body: Mapping[str, Any]) -> OptimizerRecord:
    prior = body.get("prior")  # records of version 0.1.0 have none
    return OptimizerRecord(**{**body, "prior": None if prior is None else tuple(prior)})


def _thin(points: tuple[RatePoint, ...], limit: int) -> tuple[RatePoint, ...]:
    """Every k-th point, the highest and the last one, so that at most ``limit`` remain."""
    if len(points) <= limit:
        return points
    stride = -(-len(points) // (limit - 2))
    peak = max(range(len(points)), key=lambda i: points[i].rate)
    kept = sorted({*range(0, len(points), stride), peak, len(points) - 1})
    return tuple(points[i] for i in kept)
