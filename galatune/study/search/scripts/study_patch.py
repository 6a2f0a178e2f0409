"""What is changed of Optuna while a script runs, and how it is undone.

A script reaches its studies through `Study` and its storages through `get_storage` and the constructors of
Optuna's storages. Code of galatune that runs meanwhile has all of them unchanged, and its own working
directory: see `paused`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import optuna
from optuna.storages import GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from galatune.controller.torch_hooks.patch import Patch
from galatune.study.search.scripts.script_storage import ScriptStorage, ScriptStorages, name_of_journal
from galatune.study.search.working_folder import WorkingFolder

__all__ = ["ScriptCalls", "StudyPatches"]


class ScriptCalls(Protocol):
    """Answers the script's calls; each is given what Optuna would have done."""

    def made(self, study: optuna.Study, sampler: Any, pruner: Any) -> None:
        """A study object was made, with these unless they are None."""
        ...

    def optimize(self, inner: Callable[..., Any], study: optuna.Study, *args: Any, **kwargs: Any) -> Any:
        """See `optuna.Study.optimize`, like the following."""
        ...

    def ask(self, inner: Callable[..., Any], study: optuna.Study, *args: Any, **kwargs: Any) -> Any:
        """A trial."""
        ...

    def tell(self, inner: Callable[..., Any], study: optuna.Study, *args: Any, **kwargs: Any) -> Any:
        """The trial as it ended."""
        ...

    def stop(self, inner: Callable[..., Any], study: optuna.Study) -> Any:
        """The script wants no more trials."""
        ...

    def add(self, inner: Callable[..., Any], study: optuna.Study, *args: Any, **kwargs: Any) -> Any:
        """A trial that the script adds or enqueues."""
        ...


class StudyPatches:
    """Everything that is changed of Optuna for a script.

    Args:
        storages: Storages in memory.
        calls: Answers what the script does with its studies.
    """

    def __init__(self, storages: ScriptStorages, calls: ScriptCalls) -> None:
        self._storages, self._calls = storages, calls
        self._folder = WorkingFolder()
        self._patches = (
            Patch(optuna.storages, "get_storage", self._get_storage),
            Patch(RDBStorage, "__init__", self._database),
            Patch(JournalStorage, "__init__", self._journal),
            Patch(JournalFileBackend, "__init__", self._journal_file),
            Patch(GrpcStorageProxy, "__init__", self._proxy),
            Patch(optuna.Study, "__init__", self._study),
            Patch(optuna.Study, "optimize", self._of_script(calls.optimize)),
            Patch(optuna.Study, "ask", self._of_script(calls.ask)),
            Patch(optuna.Study, "tell", self._of_script(calls.tell)),
            Patch(optuna.Study, "stop", self._of_script(calls.stop)),
            Patch(optuna.Study, "add_trial", self._of_script(calls.add)),
            Patch(optuna.Study, "enqueue_trial", self._of_script(calls.add)),
        )

    @contextmanager
    def put_on(self) -> Iterator[None]:
        """While the script runs."""
        for patch in self._patches:
            patch.put_on()
        try:
            with self._folder.entered(theirs=True):
                yield
        finally:
            for patch in reversed(self._patches):
                patch.take_off()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While galatune's own code runs, inside a call of the script."""
        with self._set(active=False):
            yield

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """While the script's code runs inside that: its objective, its callbacks."""
        with self._set(active=True):
            yield

    @contextmanager
    def _set(self, *, active: bool) -> Iterator[None]:
        before = [patch.active for patch in self._patches]
        for patch in self._patches:
            patch.active = active
        try:
            with self._folder.entered(theirs=active):
                yield
        finally:
            for patch, was in zip(self._patches, before, strict=True):
                patch.active = was

    def _get_storage(self, inner: Callable[..., Any], /, storage: Any = None) -> Any:
        return self._storages.instead_of(storage)

    def _database(self, inner: Callable[..., Any], made: Any, /, url: str, *args: Any, **kwargs: Any) -> None:
        self._storages.become(made, str(url))

    def _journal(self, inner: Callable[..., Any], made: Any, /, log_storage: Any) -> None:
        self._storages.become(made, name_of_journal(log_storage))

    def _journal_file(self, inner: Callable[..., Any], made: Any, /, *args: Any, **kwargs: Any) -> None:
        given = args[0] if args else kwargs.get("file_path", kwargs.get("file_name"))
        made._file_path = str(given)

    def _proxy(self, inner: Callable[..., Any], made: Any, /, **place: Any) -> None:
        self._storages.become(made, f"grpc {sorted(place.items())}")

    def _study(
        self,
        inner: Callable[..., Any],
        study: optuna.Study,
        /,
        study_name: str,
        storage: Any,
        sampler: Any = None,
        pruner: Any = None,
    ) -> None:
        inner(study, study_name, storage, sampler, pruner)
        self._calls.made(study, sampler, pruner)

    @staticmethod
    def _of_script(answer: Callable[..., Any]) -> Callable[..., Any]:
        """Leave studies alone whose storage is not one of the script's."""

        def acting(inner: Callable[..., Any], study: optuna.Study, /, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(study._storage, ScriptStorage):
                return inner(study, *args, **kwargs)
            return answer(inner, study, *args, **kwargs)

        return acting
