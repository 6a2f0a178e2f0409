"""From a study to a `ShrinkPlan`: what is dropped, what is kept, what is refused, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import optuna
from optuna.distributions import CategoricalChoiceType
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import PlanError
from galatune.formatting import duration, printable
from galatune.study.ledger.constraints import known_to_the_sampler_alone
from galatune.study.ledger.trial_counts import (
    RunningTrial,
    TrialCounts,
    count_states,
    hours_of,
    running_trials,
    total_hours,
    unique_configurations,
)
from galatune.study.scan.dimensions import RateDimension, Refusal, Role, find_dimensions
from galatune.study.storage.reading import open_source, quiet

__all__ = [
    "MOST_ALIKE",
    "Projection",
    "RateDimension",
    "Refusal",
    "Role",
    "RunningTrial",
    "ShrinkPlan",
    "TrialCounts",
    "plan_study",
    "scan",
    "scan_all",
]


MOST_ALIKE = 3
"""Trials where nothing but rates was searched, so that they differ in their seed alone."""


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
            dimensions are left out. A trial that has suggested nothing yet has none.
        projected: What the smaller search might cost.
        running: The trials without an end.
        constrained: Whether the sampler knew constraints that the objective does not set: the smaller search
            cannot know them.
        note: What had to be done to read the storage, in words; None where nothing had to.
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
    running: tuple[RunningTrial, ...] = ()
    constrained: bool = False
    note: str | None = None

    @property
    def placeholders(self) -> dict[str, CategoricalChoiceType]:
        """Dropped dimension to the constant that stands in for it."""
        return {d.name: d.placeholder for d in self.learning_rate if d.dropped}

    def to_json(self) -> dict[str, Any]:
        """The keys of ``galatune scan --json``."""
        body = asdict(self)
        for key in ("directions", "learning_rate", "kept", "refused", "projected", "running"):
            body[key] = list(body[key])
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ShrinkPlan:
        """Read a plan back.

        Raises:
            PlanError: It was not written by `to_json`.
        """
        try:
            return cls(
                storage=body["storage"],
                study=body["study"],
                directions=tuple(body["directions"]),
                trials=TrialCounts(**body["trials"]),
                hours=body["hours"],
                learning_rate=tuple(RateDimension(**dimension) for dimension in body["learning_rate"]),
                kept=tuple(body["kept"]),
                refused=tuple(Refusal(**refusal) for refusal in body["refused"]),
                unique_configurations=body["unique_configurations"],
                projected=tuple(Projection(**projection) for projection in body["projected"]),
                running=tuple(RunningTrial(**running) for running in body.get("running", ())),
                constrained=bool(body.get("constrained", False)),
                note=body.get("note"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise PlanError(
                f"Not a plan of galatune's ({type(error).__name__} {error}). Make one: galatune scan --json"
            ) from error


def scan(
    storage: str,
    study: str | None = None,
    *,
    lr: Collection[str] = (),
    keep: Collection[str] = (),
    drop_schedule: bool = False,
) -> ShrinkPlan:
    """Find what can be left out of a study. Read-only.

    Args:
        storage: Optuna storage URL, SQLite file or journal file.
        study: Study name; may be left out where the storage holds one.
        lr: Parameters that are learning rates whatever they look like.
        keep: Parameters that stay whatever they look like.
        drop_schedule: Drop schedules and multipliers as well.

    Raises:
        StorageError: The study cannot be opened, found or read.
        PlanError: ``lr`` or ``keep`` name a parameter that the study does not have.
    """
    with open_source(storage) as source:
        plan = plan_study(source.study(study), source.label, lr=lr, keep=keep, drop_schedule=drop_schedule)
        return replace(plan, note=source.note)


def scan_all(
    storage: str, *, lr: Collection[str] = (), keep: Collection[str] = (), drop_schedule: bool = False
) -> tuple[ShrinkPlan, ...]:
    """`scan` every study of a storage, oldest first.

    A parameter that ``lr`` or ``keep`` name has to exist in one of the studies only.

    Raises:
        StorageError: The storage cannot be opened or holds no study.
        PlanError: ``lr`` or ``keep`` name a parameter that no study has.
    """
    with open_source(storage) as source:
        names = source.names()
        studies = [source.study(name) for name in names] if len(names) > 1 else [source.study()]
        wishes = _wishes_by_study(studies, lr, keep) if len(studies) > 1 else [(lr, keep)]
        return tuple(
            replace(
                plan_study(study, source.label, lr=own_lr, keep=own_keep, drop_schedule=drop_schedule),
                note=source.note,
            )
            for study, (own_lr, own_keep) in zip(studies, wishes, strict=True)
        )


def _wishes_by_study(
    studies: Sequence[optuna.Study], lr: Collection[str], keep: Collection[str]
) -> list[tuple[Collection[str], Collection[str]]]:
    """Of ``lr`` and ``keep``, for each study the parameters that it has."""
    known = [_parameters(study) for study in studies]
    everywhere = set().union(*known)
    for name in (*lr, *keep):
        if name not in everywhere:
            listed = ", ".join(map(printable, sorted(everywhere))) or "none at all"
            raise PlanError(f"No study has a parameter '{printable(name)}'; they have: {listed}")
    return [(own.intersection(lr), own.intersection(keep)) for own in known]


def _parameters(study: optuna.Study) -> set[str]:
    return {name for trial in study.get_trials(deepcopy=False) for name in trial.params}


def plan_study(
    study: optuna.Study,
    storage: str,
    *,
    lr: Collection[str] = (),
    keep: Collection[str] = (),
    drop_schedule: bool = False,
) -> ShrinkPlan:
    """`scan` for a study that is open already.

    Args:
        study: The old study; only read.
        storage: Where it lies, without a password.
        lr: Parameters that are learning rates whatever they look like.
        keep: Parameters that stay whatever they look like.
        drop_schedule: Drop schedules and multipliers as well.

    Raises:
        PlanError: ``lr`` or ``keep`` name a parameter that the study does not have.
    """
    with quiet():
        trials = study.get_trials(deepcopy=False)
    found = find_dimensions(trials, _best_first(study), lr=lr, keep=keep, drop_schedule=drop_schedule)
    dropped = {dimension.name for dimension in found.learning_rate if dimension.dropped}
    counts = count_states(trials)
    hours = total_hours(trials)
    unique = unique_configurations(trials, dropped)
    mean = None if hours is None else hours / sum(1 for trial in trials if hours_of(trial) is not None)
    return ShrinkPlan(
        storage=storage,
        study=study.study_name,
        directions=tuple(direction.name.lower() for direction in study.directions),
        trials=counts,
        hours=hours,
        learning_rate=found.learning_rate,
        kept=found.kept,
        refused=found.refused,
        unique_configurations=unique,
        projected=_project(counts, unique, mean, len(study.directions), found.kept) if dropped else (),
        running=running_trials(trials),
        constrained=known_to_the_sampler_alone(trials),
    )


def _best_first(study: optuna.Study) -> list[FrozenTrial]:
    """Trials to take placeholders from: the best first, or the middle of the Pareto front."""
    if len(study.directions) > 1:
        front = sorted(study.best_trials, key=lambda trial: trial.values)
        middle = len(front) // 2
        return front[middle:] + front[:middle]
    try:
        best = [study.best_trial]
    except ValueError:  # no complete trial, or none that meets the constraints
        return []
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return best + sorted(complete, key=lambda trial: sign * trial.values[0])


def _project(
    counts: TrialCounts, unique: int, mean: float | None, objectives: int, kept: Collection[str]
) -> tuple[Projection, ...]:
    pace = (
        "its durations were not recorded"
        if mean is None
        else f"{duration(mean)} each as in the old study on average; control costs extra"
    )
    ways = [("replay", unique, f"every remaining configuration once; {pace}")]
    if objectives == 1 and counts.complete:
        bound = "as many trials as the old study finished" if kept else "the same configuration, other seeds"
        most = counts.finished if kept else min(counts.finished, MOST_ALIKE)
        ways.append(("until-match", most, f"at most, {bound}; {pace}"))
    return tuple(Projection(way, n, None if mean is None else n * mean, words) for way, n, words in ways)
