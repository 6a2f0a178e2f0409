"""A search that a pilot begins: its trainings are paid for, and what it chose is the way to go on."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import galatune
from galatune.bench.studies.controlled_search import MeterWatcher
from galatune.bench.studies.meter import Meter, TrialCost
from galatune.bench.studies.old_study import STUDY
from galatune.bench.studies.search import NEW_SEEDS, SEEDS_APART, Task, search
from galatune.bench.studies.unit import Budget, PilotNote
from galatune.bench.studies.ways import NULL, WAYS
from galatune.study.ledger.pilot_choice import LEAVE, Way
from galatune.study.search.options import RunOptions

__all__ = ["GOES_ON", "candidates", "piloted_search"]

GOES_ON: Mapping[Way, str] = {"controlled": "galatune-prior", "fixed": "fixed", LEAVE: NULL.name}
"""What a pilot chose, and the way in which the search goes on: that of the testbed, with the same seeds."""


def piloted_search(task: Task, budget: Budget) -> tuple[PilotNote, tuple[TrialCost, ...]]:
    """Run a pilot as a user does, then the way that it chose with what is left of the cost.

    The search behind it draws what that way draws without a pilot. So the two differ by what the pilot cost.

    Args:
        task: What is searched.
        budget: What the old search costs in this setting.

    Returns:
        What the pilot chose; its trainings, and behind them the trials of the search.
    """
    meter = Meter(math.inf)
    with tempfile.TemporaryDirectory() as folder:
        report = galatune.pilot(
            galatune.scan(str(task.old.file), STUDY),
            task.metered(meter, None),
            into=str(Path(folder, "new.log")),
            options=RunOptions(seed=NEW_SEEDS + SEEDS_APART * task.seed),
            watcher=MeterWatcher(meter),
        )
    spent = meter.trials[-1]
    left = replace(
        budget,
        seconds=budget.seconds - spent.seconds,
        gradients=budget.gradients - spent.gradients,
        trials=budget.trials - len(meter.trials),
    )
    repeats, trainings = report.cost.repeats, len(meter.trials)
    note = PilotNote(GOES_ON[report.way], report.verdict, report.pairs, repeats, trainings)
    behind = [
        replace(trial, seconds=trial.seconds + spent.seconds, gradients=trial.gradients + spent.gradients)
        for trial in search(WAYS[note.way], task, left)
    ]
    return note, (*meter.trials, *behind)


def candidates(note: PilotNote, trials: tuple[TrialCost, ...]) -> tuple[TrialCost, ...]:
    """The trials as a user finds them: nothing takes a training of the pilot for a result of the search."""
    pilot = [replace(trial, value=None) for trial in trials[: note.trainings]]
    return (*pilot, *trials[note.trainings :])
