"""One row per trial: what it reached, how long it took, what it computed.

Everything is read from the study alone, so that a report can be made again years later.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.attributes import (
    PILOT,
    POLISH,
    REASON,
    RECORD,
    REPEATS,
    STAGE,
    WARM_START,
)
from galatune.study.ledger.constraints import feasible, known_to_the_sampler_alone
from galatune.study.ledger.pilot_arm import PilotArm
from galatune.study.ledger.polish import Polish
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.record import TrialRecord
from galatune.study.ledger.trial_counts import is_interrupted, never_begun, seconds_of
from galatune.study.storage.database import FAIL_REASON

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ledger", "TrialRow", "WarmTrial", "ledger", "warm_trials"]

STAGES = ("search", "warm-start", "repeat", "pilot", "confirm", "polish")
OLD_CONFIGURATIONS = ("repeat", "pilot")
"""Stages that run old configurations to compare ways; a constraint hides them from Optuna."""

FINISHED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        number: Optuna's trial number.
        state: "COMPLETE", "PRUNED", "FAIL", "RUNNING" or "WAITING".
        values: Objective values, None unless the trial is COMPLETE.
        seconds: Wall-clock duration, None if it was not recorded.
        start: When it started, None if unknown.
        end: When it finished, None if unknown or unfinished.
        stage: "search", "warm-start" (of it, an old configuration that was enqueued), "repeat" (the old best
            configuration at its own rates, without control), "pilot" (an old configuration under control or
            with the rate fixed), "confirm" (a match run once more) or "polish"
            (one of the best run once more with another rate).
        params: What the sampler chose.
        steps: Optimizer steps under control (all of them with control off), None if nothing was recorded.
        probes: Steps on which a gradient pair was measured, None if nothing was recorded.
        gradient_evaluations: Gradients computed, probes included, None if nothing was recorded.
        record: What galatune left in the trial, None in an ordinary trial.
        reason: Why a FAIL trial failed, None if unknown.
        feasible: Whether it violates no constraint.
        polish: How its rate differs, if it is of the stage "polish"; None in every other trial.
        old_trial: Number of the old trial whose configuration was enqueued; None in every other trial.
        pilot: Its place in a pair, if it is of the stage "pilot"; None in every other trial.
        repeat_of: Number of the trial of the same study that it repeats, None if it repeats none.
        repeats: How many such repeats there are, itself counted.
        interrupted: Whether it was stopped from outside: another trial has its configuration and its ticket.
    """

    number: int
    state: str
    values: tuple[float, ...] | None = None
    seconds: float | None = None
    start: datetime | None = None
    end: datetime | None = None
    stage: str = "search"
    params: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    probes: int | None = None
    gradient_evaluations: int | None = None
    record: TrialRecord | None = None
    reason: str | None = None
    feasible: bool = True
    old_trial: int | None = None
    polish: Polish | None = None
    pilot: PilotArm | None = None
    repeat_of: int | None = None
    repeats: int = 1
    interrupted: bool = False

    @property
    def finished(self) -> bool:
        """Whether it has ended: only then is its cost known."""
        return self.state in FINISHED

    @property
    def scored(self) -> bool:
        """Whether it is COMPLETE with finite values and feasible: only then has it a quality.

        A repeat of the old best and a trial of a pilot have none: they are no trials of the search.
        """
        return self.stage not in OLD_CONFIGURATIONS and self.has_result

    @property
    def has_result(self) -> bool:
        """`scored`, whatever its stage."""
        return self.values is not None and self.feasible and all(map(math.isfinite, self.values))

    @property
    def value(self) -> float | None:
        """The objective value, None if there are several."""
        return self.values[0] if self.values is not None and len(self.values) == 1 else None


@dataclass(frozen=True)
class WarmTrial:
    """A trial of the smaller study whose configuration is that of an old trial, enqueued first."""

    number: int
    old_trial: int


@dataclass(frozen=True)
class Ledger:
    """A study as a list of costs.

    Attributes:
        study: Study name.
        directions: "minimize" or "maximize", one per objective.
        rows: By trial number, trials of every state.
        provenance: What `run` wrote into the study.
        constrained: Whether the sampler knew constraints that the objective does not set.
        storage: URL or path that it was read from, without a password; None if unknown.
    """

    study: str
    directions: tuple[str, ...]
    rows: tuple[TrialRow, ...]
    provenance: Provenance = field(default_factory=Provenance)
    constrained: bool = False
    storage: str | None = None

    @property
    def finished(self) -> tuple[TrialRow, ...]:
        """Trials that have ended: these are counted."""
        return tuple(row for row in self.rows if row.finished)

    @property
    def complete(self) -> tuple[TrialRow, ...]:
        """COMPLETE trials with finite values that violate no constraint: only these have a quality."""
        return tuple(row for row in self.rows if row.scored)

    @property
    def repeats(self) -> tuple[TrialRow, ...]:
        """Repeats of the old best that are COMPLETE with finite values; none of them is in `complete`."""
        return tuple(row for row in self.rows if row.stage == "repeat" and row.has_result)

    @property
    def by_state(self) -> dict[str, int]:
        """Number of trials in each state that occurs."""
        counts = Counter(row.state for row in self.rows)
        return {state.name: counts[state.name] for state in TrialState if counts[state.name]}

    @property
    def hours(self) -> float | None:
        """Sum of the recorded durations of all finished trials, None if none was recorded.

        A lower bound if `untimed` is not 0.
        """
        known = [row.seconds for row in self.finished if row.seconds is not None]
        return math.fsum(known) / 3600 if known else None

    @property
    def untimed(self) -> int:
        """Finished trials without a recorded duration."""
        return sum(row.seconds is None for row in self.finished)

    @property
    def machines(self) -> tuple[Mapping[str, str], ...]:
        """Every machine that is known to have run trials of this study, each once."""
        seen = [row.record.machine for row in self.rows if row.record is not None and row.record.machine]
        if not seen and self.provenance.machine:
            seen = [self.provenance.machine]
        found: list[Mapping[str, str]] = []
        for machine in seen:
            if machine not in found:
                found.append(machine)
        return tuple(found)

    def frame(self) -> pd.DataFrame:
        """The rows as a table, parameters as ``param.<name>``, values as ``value`` or ``value.<i>``."""
        import pandas as pd

        return pd.DataFrame([_flat(self.study, row, len(self.directions)) for row in self.rows])


def ledger(study: optuna.Study, storage: str | None = None) -> Ledger:
    """Read a study's costs.

    Args:
        study: Any Optuna study, made by galatune or not.
        storage: URL or path that it was read from, without a password.

    Returns:
        One row per trial, in the order of trial numbers, without those that never began.

    Examples:
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(study_name="s")
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
        >>> ledger(study).by_state
        {'COMPLETE': 3}
    """
    trials = [trial for trial in study.get_trials(deepcopy=False) if not never_begun(trial)]
    trials.sort(key=lambda trial: trial.number)
    return Ledger(
        study=study.study_name,
        directions=tuple(direction.name.lower() for direction in study.directions),
        rows=tuple(_row(trial) for trial in trials),
        provenance=Provenance.of(study),
        constrained=known_to_the_sampler_alone(trials),
        storage=storage,
    )


def _row(trial: FrozenTrial) -> TrialRow:
    record = _record(trial.user_attrs.get(RECORD))
    # Without control a trial may train with something else than torch: nothing was counted then.
    counted = None if record and not record.optimizers and trial.state == TrialState.COMPLETE else record
    stage = trial.user_attrs.get(STAGE, "warm-start" if WARM_START in trial.user_attrs else "search")
    finished, repeated = trial.state.is_finished(), _repeated(trial)
    reason = trial.user_attrs.get(REASON, trial.system_attrs.get(FAIL_REASON))
    return TrialRow(
        number=trial.number,
        state=trial.state.name,
        values=_values(trial),
        seconds=seconds_of(trial),
        start=trial.datetime_start,
        end=trial.datetime_complete if finished else None,
        stage=stage if stage in STAGES else "search",
        params=dict(trial.params),
        steps=counted.steps if counted else None,
        probes=counted.probes if counted else None,
        gradient_evaluations=counted.gradient_evaluations if counted else None,
        record=record,
        reason=str(reason) if trial.state == TrialState.FAIL and reason else None,
        feasible=stage in OLD_CONFIGURATIONS
        or feasible(trial),  # marked, so that Optuna takes it for no best
        polish=Polish.from_attribute(trial.user_attrs.get(POLISH)) if stage == "polish" else None,
        old_trial=_whole(trial.user_attrs.get(WARM_START)),
        pilot=PilotArm.from_attribute(trial.user_attrs.get(PILOT)) if stage == "pilot" else None,
        repeat_of=repeated[0],
        repeats=repeated[1],
        interrupted=is_interrupted(trial),
    )


def warm_trials(rows: Ledger) -> tuple[WarmTrial, ...]:
    """The finished trials of a warm start."""
    found = [(row.number, row.old_trial) for row in rows.finished if not row.interrupted]
    return tuple(WarmTrial(number, old) for number, old in found if old is not None)


def _whole(number: Any) -> int | None:
    return number if isinstance(number, int) else None


def _repeated(trial: FrozenTrial) -> tuple[int | None, int]:
    """The trial that a trial repeats, and how many such repeats there are."""
    body = trial.user_attrs.get(REPEATS)
    given = body if isinstance(body, Mapping) else {}
    number, count = given.get("trial"), given.get("of")
    return number if isinstance(number, int) else None, count if isinstance(count, int) and count > 0 else 1


def _values(trial: FrozenTrial) -> tuple[float, ...] | None:
    if trial.state != TrialState.COMPLETE or trial.values is None:  # a journal that somebody edited
        return None
    return tuple(map(float, trial.values))


def _record(body: Any) -> TrialRecord | None:
    """The record, None if it does not have the agreed shape: nothing is guessed."""
    try:
        return TrialRecord.from_attribute(body)
    except (KeyError, TypeError, ValueError):
        return None


def _flat(study: str, row: TrialRow, objectives: int) -> dict[str, Any]:
    names = ["value"] if objectives == 1 else [f"value.{i}" for i in range(objectives)]
    return {
        "study": study,
        "trial": row.number,
        "state": row.state,
        "stage": row.stage,
        **dict(zip(names, row.values or [None] * objectives, strict=True)),
        "seconds": row.seconds,
        "start": row.start,
        "steps": row.steps,
        "probes": row.probes,
        "gradient_evaluations": row.gradient_evaluations,
        "reason": row.reason,
        **{f"param.{name}": value for name, value in row.params.items()},
    }
