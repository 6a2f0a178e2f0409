"""Optuna's storage in a database, from whose tables somebody may have deleted rows."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

__all__ = ["FAIL_REASON", "NO_VALUE", "Database"]

NO_VALUE = "marked complete, but the storage holds no value of it"
"""The reason of a trial that is read as FAIL because its value is gone."""

FAIL_REASON = "fail_reason"
"""System attribute in which Optuna puts the reason of a FAIL."""


class Database(optuna.storages.RDBStorage):
    """Optuna's storage, which gets along with rows that are gone.

    Optuna itself fails at a COMPLETE trial without all its values. Once a trial was deleted it gives a number
    a second time, and then shows one of the two trials alone.
    """

    def fill_gaps(self, study_id: int) -> None:
        """Make a waiting trial for each number that is missing: it is run in the place of the deleted one."""
        from optuna.storages._rdb import models, storage

        with storage._create_scoped_session(self.scoped_session) as session:
            rows = session.query(models.TrialModel.number).filter_by(study_id=study_id)
            numbers = {number for (number,) in rows}
            session.add_all(
                models.TrialModel(study_id=study_id, number=number, state=TrialState.WAITING)
                for number in range(max(numbers, default=-1))
                if number not in numbers
            )

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = super()._get_trials(*args, **kwargs)
        seen: set[int] = set()
        free = 1 + max((trial.number for trial in trials), default=-1)
        for trial in trials:  # in the order in which they were made
            if trial.number in seen:
                trial.number, free = free, free + 1
            seen.add(trial.number)
        return trials

    def _build_frozen_trial_from_trial_model(self, trial: Any) -> FrozenTrial:
        if trial.state != TrialState.COMPLETE or _has_its_values(trial):
            return super()._build_frozen_trial_from_trial_model(trial)
        frozen = super()._build_frozen_trial_from_trial_model(
            _WithoutValues(trial)  # type: ignore[arg-type]  # has all that is read of a row
        )
        frozen.state = TrialState.FAIL
        frozen._system_attrs[FAIL_REASON] = NO_VALUE
        return frozen


class _WithoutValues:
    """A row of the table of trials, seen without its values; the row itself belongs to a session."""

    values = ()

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)


def _has_its_values(trial: Any) -> bool:
    objectives = sorted(direction.objective for direction in trial.study.directions)
    known = sorted(row.objective for row in trial.values)
    finite = all(row.value is not None for row in trial.values if row.value_type.name == "FINITE")
    return known == objectives and finite
