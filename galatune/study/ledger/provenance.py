"""How a smaller study was made: the study attribute ``galatune``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna

from galatune.study.ledger.attributes import GOAL, MACHINE, PILOT, RECORD, SCHEMA, UNFINISHED

if TYPE_CHECKING:
    from optuna.study._frozen import FrozenStudy

    from galatune.study.storage.reading import Source

CONTROL_OPTIONS = ("min_lr", "max_lr", "probe", "step_scale", "per_group", "max_growth_per_step")
"""Options of a run that say how its rates are controlled; without control they have no meaning."""

FINISHED = ("complete", "pruned", "failed")
"""Counts of a plan that are trials that have ended."""

__all__ = ["CONTROL_OPTIONS", "Provenance", "note_stop", "old_names", "old_study"]


@dataclass(frozen=True)
class Provenance:
    """What `run` wrote into the smaller study; empty for an ordinary one.

    Attributes:
        made_by_galatune: Whether there was anything to read.
        schema: Of the attribute, None if unknown.
        plan: The `ShrinkPlan` as JSON.
        source: The old study: "storage", "study", "sampler", "best_value"; "bounds", if the rate's bounds
            come from it: how, in words; "pilot", if a pilot chose
            the way: its choice, in words.
        objective: "train.py:objective", None if unknown.
        objective_sha256: Of that file, None if unknown.
        options: Options of the run.
        sampler: Class name, None if unknown.
        pruner: Class name, None if unknown.
        pruner_because: Why it is that one, in one sentence; None if there is nothing to say.
        seed: Of the sampler, None if unknown.
        versions: Package name to version.
        machine: "platform", "processor", "cores", "device"; empty if unknown.
        stopped_because: In words, None while the run is unfinished.
        goal: The goal with the repeats of the old best, as `ledger.goal` reads it; empty if there is none.
        pilot: The terms of its pilot, as `ledger.pilot` reads them; empty if there was none.
    """

    made_by_galatune: bool = False
    schema: int | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    objective: str | None = None
    objective_sha256: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sampler: str | None = None
    pruner: str | None = None
    pruner_because: str | None = None
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    stopped_because: str | None = None
    goal: Mapping[str, Any] = field(default_factory=dict)
    pilot: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unfinished(self) -> bool:
        """Whether the same command would go on, because `run` was killed or interrupted."""
        return self.made_by_galatune and self.stopped_because in (None, UNFINISHED)

    @property
    def fixed_rates(self) -> str | None:
        """That the rates were fixed (``--control off``), with their values; None if they were controlled."""
        if self.options.get("control") != "off":
            return None
        place = "at the old best" if self.old_trials.get("complete") else "in the middle of the range"
        dimensions = map(_mapping, self.plan.get("learning_rate") or ())
        fixed = [f"{d.get('name')}={d.get('placeholder')!s:.20}" for d in dimensions if d.get("dropped")]
        return f"rate fixed {place}: {', '.join(fixed)}; nothing was controlled"

    @property
    def old_trials(self) -> Mapping[str, int]:
        """Trials of the old study by "complete", "pruned" and "failed", as the plan counts them."""
        counts = _mapping(self.plan.get("trials"))
        return {state: counts[state] for state in FINISHED if isinstance(counts.get(state), int)}

    @property
    def old_pruned(self) -> tuple[int, int]:
        """PRUNED trials of the old study and its finished ones; 0 if they are unknown."""
        return self.old_trials.get("pruned", 0), sum(self.old_trials.values())

    @classmethod
    def of(cls, study: optuna.Study | FrozenStudy) -> Provenance:
        """Read it. Attributes are untrusted: what does not have the agreed shape is left out, not guessed."""
        attributes = study.user_attrs
        body = _mapping(attributes.get(RECORD))
        objective = _mapping(body.get("objective"))
        machine = body.get("machine") or attributes.get(MACHINE)
        return cls(
            made_by_galatune=bool(body),
            schema=_whole(body.get("schema")),
            plan=_mapping(body.get("plan")),
            source=_mapping(body.get("source")),
            objective=_text(objective.get("reference")),
            objective_sha256=_text(objective.get("sha256")),
            options=_mapping(body.get("options")),
            sampler=_text(body.get("sampler")),
            pruner=_text(body.get("pruner")),
            pruner_because=_text(body.get("pruner_because")),
            seed=_whole(body.get("seed")),
            versions=_texts(body.get("versions")),
            machine=_texts(machine),
            stopped_because=_text(body.get("stopped_because")),
            goal=_mapping(attributes.get(GOAL)),
            pilot=_mapping(attributes.get(PILOT)),
        )

    def write(self, study: optuna.Study) -> None:
        """Write it into a smaller study whose run begins; the goal has an attribute of its own."""
        body = {
            "schema": SCHEMA,
            "plan": dict(self.plan),
            "source": dict(self.source),
            "objective": {"reference": self.objective, "sha256": self.objective_sha256},
            "options": dict(self.options),
            "sampler": self.sampler,
            "pruner": self.pruner,
            "pruner_because": self.pruner_because,
            "seed": self.seed,
            "versions": dict(self.versions),
            "machine": dict(self.machine),
        }
        study.set_user_attr(RECORD, body)


def old_names(source: Source) -> list[str]:
    """Names of the studies that `galatune run` has not made, oldest first; of all if it made all."""
    made = {
        study.study_name
        for study in source.storage.get_all_studies()
        if Provenance.of(study).made_by_galatune
    }
    names = source.names()
    return [name for name in names if name not in made] or names


def old_study(source: Source, name: str | None = None) -> optuna.Study:
    """Load the study that is named, else the only one of a storage that `galatune run` has not made.

    Raises:
        StorageError: There is none, or several and none named.
    """
    names = old_names(source)
    return source.study(names[0] if name is None and len(names) == 1 else name)


def note_stop(study: optuna.Study, reason: str) -> None:
    """Write into a smaller study why its search ended.

    Args:
        study: The smaller study; `Provenance.write` was there before.
        reason: In words; `UNFINISHED` if the search is not over.
    """
    body = _mapping(study.user_attrs.get(RECORD))  # anybody may have overwritten it
    study.set_user_attr(RECORD, {**body, "stopped_because": reason})


def _mapping(body: Any) -> Mapping[str, Any]:
    return body if isinstance(body, Mapping) else {}


def _texts(body: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in _mapping(body).items()}


def _text(body: Any) -> str | None:
    return body if isinstance(body, str) else None


def _whole(body: Any) -> int | None:
    return body if isinstance(body, int) else None
