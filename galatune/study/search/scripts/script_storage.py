"""The storages that a script names: in memory instead, so that nothing that it has stored is ever written."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any

from optuna.storages import InMemoryStorage
from optuna.study._frozen import FrozenStudy

__all__ = ["ScriptStorage", "ScriptStorages", "StudyKey", "name_of_journal"]

StudyKey = tuple[int, int]
"""A study of the script: which storage, and which number in it."""

_OWN = "_galatune_storage"
"""What galatune keeps of a storage; it stays out of a pickled one."""

Missing = Callable[["ScriptStorage", str | None], None]
"""Asked to make a study that a script expects in its storage; None for whichever it holds."""


class ScriptStorage(InMemoryStorage):
    """A storage of the script, in memory. Pickled, it is Optuna's own one."""

    def __reduce__(self) -> Any:
        """As the class of Optuna's that it is for everyone else."""
        state = {name: value for name, value in self.__getstate__().items() if name != _OWN}
        return copyreg._reconstructor, (InMemoryStorage, object, None), state  # type: ignore[attr-defined]

    @property
    def number(self) -> int:
        """The same for every object that stands for one storage."""
        number: int = self.__dict__[_OWN][0]
        return number

    def get_study_id_from_name(self, study_name: str) -> int:
        """See `optuna.storages.InMemoryStorage`; one that the script expects there is made."""
        if study_name not in self._study_name_to_id:
            self._miss(study_name)
        return super().get_study_id_from_name(study_name)

    def get_all_studies(self) -> list[FrozenStudy]:
        """See `optuna.storages.InMemoryStorage`; a storage that was named is not empty."""
        if not self._study_name_to_id:
            self._miss(None)
        return super().get_all_studies()

    def _miss(self, name: str | None) -> None:
        _, missing = self.__dict__[_OWN]
        if missing is not None:
            missing(self, name)


class ScriptStorages:
    """Which storage in memory stands for which that the script has named.

    Args:
        missing: See `Missing`.
    """

    def __init__(self, missing: Missing) -> None:
        self._missing = missing
        self._known: dict[str, ScriptStorage] = {}
        self._made = 0
        self.named: list[str] = []

    def instead_of(self, storage: Any) -> Any:
        """The one that stands for what a script hands to Optuna: None, a URL or a storage.

        A storage that the script did not make is that of the smaller study, and stays.
        """
        if storage is None:
            return self._new(None)
        if isinstance(storage, ScriptStorage):
            return storage
        if isinstance(storage, str):
            return self._named(storage)
        if type(storage) is InMemoryStorage:
            storage.__class__ = ScriptStorage
            self._mark(storage, None)
            return storage
        backend = getattr(storage, "_backend", None)
        return backend if isinstance(backend, ScriptStorage) else storage

    def become(self, made: Any, name: str) -> None:
        """Turn an object that is about to be constructed into the storage in memory of that name."""
        made.__class__ = ScriptStorage
        made.__dict__ = self._named(name).__dict__

    def _named(self, name: str) -> ScriptStorage:
        if name not in self._known:
            self._known[name] = self._new(self._missing)
            self.named.append(name)
        return self._known[name]

    def _new(self, missing: Missing | None) -> ScriptStorage:
        storage = ScriptStorage()
        self._mark(storage, missing)
        return storage

    def _mark(self, storage: Any, missing: Missing | None) -> None:
        self._made += 1
        storage.__dict__[_OWN] = (self._made, missing)


def name_of_journal(backend: Any) -> str:
    """What tells one journal from another."""
    path = getattr(backend, "_file_path", None)
    return f"journal {path}" if path is not None else f"journal {id(backend)}"
