"""Optuna's storage in a database, from whose tables somebody may have deleted rows."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

__all__ = ["FAIL_REASON", "NO_VALUE", "Database", "note"]

_Found = TypeVar("_Found")

NO_VALUE = "marked complete, but the storage holds no value of it"
"""The reason of a trial that is read as FAIL because its value is gone."""

FAIL_REASON = "fail_reason"
"""System attribute in which Optuna puts the reason of a FAIL."""


_READS: ContextVar[bool] = ContextVar("reads", default=False)
"""Whether the transaction that begins only reads."""


class Database(optuna.storages.RDBStorage):
    """Optuna's storage, which gets along with rows that are gone.

    Optuna itself fails at a COMPLETE trial without all its values. Once a trial was deleted it gives a number
    a second time, and then shows one of the two trials alone.
    """

    _remembers = False

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._objectives: dict[int, list[int]] = {}  # of each study, once they were asked for

    def serialize(self) -> None:
        """Of an SQLite file: begin each transaction that writes with the lock for writing.

        SQLite has no rows to lock: two processes would both find a trial waiting, and both make it running.
        What was read last is remembered until the file changes, since most of the time of a read goes into
        making objects of rows.
        """
        from sqlalchemy import event

        self._remembered: dict[Hashable, Any] = {}
        self._remembered_version: int | None = None
        self._watching = self.engine.raw_connection()
        self._remembers = True
        event.listen(self.engine, "begin", self._begin)

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "_remembers": False, "_remembered": {}, "_watching": None}

    def _begin(self, connection: Any) -> None:
        connection.exec_driver_sql("BEGIN" if _READS.get() else "BEGIN IMMEDIATE")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        token = _READS.set(True)
        try:
            yield
        finally:
            _READS.reset(token)

    def _recalled(self, what: Hashable, read: Callable[[], _Found]) -> _Found:
        """What was read last, if nobody has written since; else read it."""
        with self._reading():
            if not self._remembers:
                return read()
            version = self._version()
            if version != self._remembered_version:
                self._remembered, self._remembered_version = {}, version
            remembered = self._remembered
            if what not in remembered:
                remembered[what] = read()
            found: _Found = remembered[what]
            return found

    def _version(self) -> int:
        """Changes whenever somebody writes; it is asked for before what it belongs to.

        SQLite counts for each connection what others write. This one writes nothing.
        """
        cursor = self._watching.cursor()
        try:
            (count,) = cursor.execute("PRAGMA data_version").fetchone()
            return int(count)
        finally:
            cursor.close()

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `optuna.storages.BaseStorage`, like the following."""
        what = ("trial", trial_id)
        return copy.deepcopy(self._recalled(what, lambda: super(Database, self).get_trial(trial_id)))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Of a study."""
        return dict(self._recalled(study_id, lambda: super(Database, self).get_study_user_attrs(study_id)))

    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        """Set several attributes in one transaction, of an SQLite file in one statement.

        Args:
            trial_id: Of the trial in this storage.
            attributes: Name to value.

        Raises:
            RuntimeError: The trial is finished.
        """
        from optuna.storages._rdb import models, storage
        from sqlalchemy.dialects.sqlite import insert

        model = models.TrialUserAttributeModel
        with storage._create_scoped_session(self.scoped_session, True) as session:
            if not self._remembers:  # no SQLite file
                for name, value in attributes.items():
                    self._set_trial_attr_without_commit(session, model, trial_id, name, value)
                return
            trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session)
            self.check_trial_is_updatable(trial_id, trial.state)
            texts = {name: json.dumps(value) for name, value in attributes.items()}
            rows = [{"trial_id": trial_id, "key": name, "value_json": text} for name, text in texts.items()]
            added = insert(model).values(rows)
            changed = {"value_json": added.excluded.value_json}
            session.execute(added.on_conflict_do_update([model.trial_id, model.key], set_=changed))

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

    def _get_trials(
        self, study_id: int, states: Any, included_trial_ids: set[int], trial_id_greater_than: int
    ) -> list[FrozenTrial]:
        asked = (study_id, states, set(included_trial_ids), trial_id_greater_than)
        if states is not None:
            with self._reading():
                return self._read_trials(*asked)
        what = ("trials", study_id)
        (_, _, included, after), trials = self._recalled(what, lambda: (asked, self._read_trials(*asked)))
        wanted = {one for one in included_trial_ids if one <= trial_id_greater_than}
        if after > trial_id_greater_than or any(one <= after and one not in included for one in wanted):
            self._remembered.pop(what)
            return self._get_trials(*asked)
        return [one for one in trials if one._trial_id > trial_id_greater_than or one._trial_id in wanted]

    def _read_trials(self, *asked: Any) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = super()._get_trials(*asked)
        seen: set[int] = set()
        free = 1 + max((trial.number for trial in trials), default=-1)
        for trial in trials:  # in the order in which they were made
            if trial.number in seen:
                trial.number, free = free, free + 1
            seen.add(trial.number)
        if self._remembers:
            self._remembered.update({("trial", trial._trial_id): trial for trial in trials})
        return trials

    def _build_frozen_trial_from_trial_model(self, trial: Any) -> FrozenTrial:
        if trial.state != TrialState.COMPLETE or self._has_its_values(trial):
            return super()._build_frozen_trial_from_trial_model(trial)
        frozen = super()._build_frozen_trial_from_trial_model(
            _WithoutValues(trial)  # type: ignore[arg-type]  # has all that is read of a row
        )
        frozen.state = TrialState.FAIL
        frozen._system_attrs[FAIL_REASON] = NO_VALUE
        return frozen

    def _has_its_values(self, trial: Any) -> bool:
        if trial.study_id not in self._objectives:
            self._objectives[trial.study_id] = sorted(one.objective for one in trial.study.directions)
        known = sorted(row.objective for row in trial.values)
        finite = all(row.value is not None for row in trial.values if row.value_type.name == "FINITE")
        return known == self._objectives[trial.study_id] and finite


class _WithoutValues:
    """A row of the table of trials, seen without its values; the row itself belongs to a session."""

    values = ()

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)


def note(trial: optuna.trial.Trial, attributes: Mapping[str, Any]) -> None:
    """Set several attributes of a running trial, in one transaction if its storage has them.

    Args:
        trial: The trial.
        attributes: Name to value.

    Raises:
        RuntimeError: The trial is finished.
    """
    backend = getattr(trial.storage, "_backend", None)
    if not isinstance(backend, Database):
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        return
    backend.set_trial_user_attrs(trial._trial_id, attributes)
    trial._cached_frozen_trial.user_attrs.update(attributes)
