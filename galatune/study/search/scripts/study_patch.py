"""What is changed of Optuna while a script runs, and how it is undone.

A script reaches its studies through `Study` and its storages through `get_storage` and the constructors of
Optuna's storages. Code of galatune that runs meanwhile has all of them unchanged, and its own working
directory: see `paused`. Threads that the script has started are the script's meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
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

    def starting(self, inner: Callable[..., Any], process: BaseProcess, /) -> None:
        """A process of the script is about to start."""
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
        self._here = threading.local()
        here, of = self._of_thread, self._of_study
        self._patches = (
            Patch(optuna.storages, "get_storage", here(self._get_storage)),
            Patch(RDBStorage, "__init__", here(self._database)),
            Patch(JournalStorage, "__init__", here(self._journal)),
            Patch(JournalFileBackend, "__init__", here(self._journal_file)),
            Patch(GrpcStorageProxy, "__init__", here(self._proxy)),
            Patch(optuna.Study, "__init__", here(self._study)),
            Patch(optuna.Study, "optimize", here(of(calls.optimize))),
            Patch(optuna.Study, "ask", here(of(calls.ask))),
            Patch(optuna.Study, "tell", here(of(calls.tell))),
            Patch(optuna.Study, "stop", here(of(calls.stop))),
            Patch(optuna.Study, "add_trial", here(of(calls.add))),
            Patch(optuna.Study, "enqueue_trial", here(of(calls.add))),
            Patch(BaseProcess, "start", here(calls.starting)),
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
        with self._set(theirs=False):
            yield

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """While the script's code runs inside that: its objective, its callbacks."""
        with self._set(theirs=True):
            yield

    @contextmanager
    def _set(self, *, theirs: bool) -> Iterator[None]:
        before = getattr(self._here, "theirs", True)
        self._here.theirs = theirs
        try:
            with self._folder.entered(theirs=theirs):
                yield
        finally:
            self._here.theirs = before

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

    def _of_thread(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        """Leave galatune's own calls alone; any other thread than one of its own is the script's."""

        def acting(inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            if not getattr(self._here, "theirs", True):
                return inner(*args, **kwargs)
            return answer(inner, *args, **kwargs)

        return acting

    def _of_study(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        """Leave studies alone whose storage is not one of the script's."""

        def acting(inner: Callable[..., Any], study: optuna.Study, /, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(study._storage, ScriptStorage):
                return inner(study, *args, **kwargs)
            return answer(inner, study, *args, **kwargs)

        return self._of_thread(acting)
