"""A search under control, as a user runs it: `galatune.run` on the old study's file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

import galatune
from galatune.bench.studies.meter import Meter
from galatune.bench.studies.old_study import MOST_ENQUEUED, STUDY, OldStudy
from galatune.bench.studies.ways import Way
from galatune.controller import Prior
from galatune.study.search.options import RunOptions
from galatune.study.search.prior_of_optimizer import StudyPriors

__all__ = ["Call", "MeterWatcher", "controlled_search", "known_rates"]

Call = Callable[[optuna.trial.BaseTrial], float]


def controlled_search(way: Way, call: Call, old: Path, seed: int, trials: int, meter: Meter) -> None:
    """Run the smaller search until the meter ends it.

    Args:
        way: Which options it has.
        call: The objective, its cost measured.
        old: Journal of the old study.
        seed: Of the run.
        trials: Most trials.
        meter: Is told of each finished trial.
    """
    options: dict[str, Any] = {"prior": way.prior}
    options |= {"warm_start": MOST_ENQUEUED} if way.warm else {}
    options |= {"pruner": way.pruner} if way.pruner != "as before" else {}
    with tempfile.TemporaryDirectory() as folder:
        galatune.run(
            galatune.scan(str(old), STUDY),
            call,
            into=str(Path(folder, "new.log")),
            options=RunOptions(trials=trials, repeats=0, seed=seed, **options),
            watcher=MeterWatcher(meter),
        )


def known_rates(old: OldStudy, params: Mapping[str, Any]) -> Prior | None:
    """Good rates of a configuration, if the objective builds its optimizer with the old best one."""
    plan = galatune.scan(str(old.file), STUDY)
    return StudyPriors.of(plan).of_optimizer([old.best_rate], (), params)


class MeterWatcher:
    """Tells the meter of each finished trial; see `galatune.study.search.options.Watcher`.

    Args:
        meter: Which.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._study: optuna.Study | None = None

    def run_started(self, budget: object, study: optuna.Study) -> None:
        """Keep the study, which the meter may stop."""
        self._study = study

    def goal_set(self, budget: object) -> None:
        """Nothing to do."""

    def trial_started(self, number: int, capture: object) -> None:
        """Nothing to do."""

    def said(self, line: str) -> None:
        """Nothing to do."""

    def trial_finished(self, trial: FrozenTrial) -> None:
        """Tell the meter."""
        assert self._study is not None
        self._meter.finished(self._study, trial)
