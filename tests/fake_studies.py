"""Small studies with known values, durations and records, for tests of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.record import OptimizerRecord, RateEvent, RatePoint, TrialRecord

MACHINE = {"platform": "Linux", "processor": "x86_64", "cores": "2", "device": "cpu"}
START = datetime(2025, 3, 1, 12, 0)
STATES = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL, "running": TrialState.RUNNING}

Outcome = float | tuple[float, ...] | str
"""A value, several values, or one of "pruned", "failed", "running"."""


def record(machine: Mapping[str, str] = MACHINE, steps: int = 400) -> TrialRecord:
    """What a controlled trial leaves behind."""
    return TrialRecord(
        optimizers=(OptimizerRecord("AdamW", True, "graph", "it steps inside the objective"),),
        steps=steps,
        probes=70,
        gradient_evaluations=steps + 140,
        learning_rate=tuple(RatePoint(0, step, 0.01 / step) for step in range(1, steps, 10)),
        events=(RateEvent(0, 40, "schedule", "the schedule of the training goes on"),),
        machine=machine,
        versions={"torch": "2.9"},
    )


def fake_study(
    outcomes: Sequence[Outcome],
    *,
    name: str = "old",
    directions: Sequence[str] = ("minimize",),
    seconds: float | None = 60.0,
    stages: Mapping[int, str] | None = None,
    controlled: bool = False,
    machine: Mapping[str, str] | None = MACHINE,
    params: Sequence[Mapping[str, float]] | None = None,
    storage: str | None = None,
) -> optuna.Study:
    """A study with one trial an outcome.

    Args:
        outcomes: What became of each trial.
        name: Study name.
        directions: One an objective.
        seconds: Duration of each trial, None for trials without recorded times.
        stages: Trial number to "confirm" or "polish".
        controlled: Whether trials carry a record and the study says that galatune made it.
        machine: It ran on; None for unknown.
        params: Of each trial; by default ``width`` counts up and an uncontrolled study has ``lr`` too.
        storage: URL, memory by default.
    """
    study = optuna.create_study(study_name=name, directions=list(directions), storage=storage)
    if controlled:
        study.set_user_attr("galatune", run_attribute())
    elif machine is not None:
        study.set_user_attr("galatune_machine", dict(machine))
    for number, outcome in enumerate(outcomes):
        attributes: dict[str, Any] = {}
        if controlled:
            attributes["galatune"] = record(machine or {}).to_attribute()
        if stages and number in stages:
            attributes["galatune_stage"] = stages[number]
        chosen = (
            params[number] if params else {"width": float(number), **({} if controlled else {"lr": 0.01})}
        )
        study.add_trial(_trial(number, outcome, seconds, chosen, attributes))
    return study


def run_attribute(source: str = "old") -> dict[str, Any]:
    """What `run` writes into the smaller study."""
    rate = {
        "name": "lr",
        "role": "rate",
        "distribution": "float 1e-05 to 0.1, log",
        "placeholder": 0.002,
        "dropped": True,
        "evidence": "named lr, on a log scale",
    }
    return {
        "schema": 1,
        "plan": {"study": source, "learning_rate": [rate], "kept": ["width"]},
        "source": {"storage": "postgresql://ada:secret@db/tests", "study": source, "sampler": "TPESampler"},
        "options": {"trials": 10},
        "sampler": "RandomSampler",
        "pruner": "NopPruner",
        "seed": 3,
        "versions": {"optuna": "5.0.0"},
        "machine": MACHINE,
        "stopped_because": "10 trials were asked for",
    }


def _trial(
    number: int,
    outcome: Outcome,
    seconds: float | None,
    params: Mapping[str, float],
    attributes: dict[str, Any],
) -> FrozenTrial:
    state = STATES[outcome] if isinstance(outcome, str) else TrialState.COMPLETE
    values = None if isinstance(outcome, str) else outcome if isinstance(outcome, tuple) else (outcome,)
    start = START + timedelta(seconds=number * (seconds or 0))
    end = start + timedelta(seconds=seconds or 0)
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        values=list(values) if values else None,
        datetime_start=start,
        datetime_complete=end if state.is_finished() else None,
        params=dict(params),
        distributions={key: FloatDistribution(0.0, 1e6) for key in params},
        user_attrs=attributes,
        system_attrs={},
        intermediate_values={},
    )
