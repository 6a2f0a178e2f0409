"""What the trials of a run lie in, in whatever process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna

from galatune.errors import StorageError
from galatune.formatting import printable
from galatune.study.search.create import study_names

__all__ = ["not_deleted", "quiet"]

DELETED = "Record does not exist"
"""What storages say of a study or a trial that is gone."""


@contextmanager
def not_deleted(storage: optuna.storages.BaseStorage, study: optuna.Study) -> Iterator[None]:
    """Say in one line that somebody deletes the study, or the trial, that runs."""
    name = study.study_name
    try:
        yield
    except KeyError as error:
        if DELETED not in str(error):
            raise
        there = name in study_names(storage)
        what = "a running trial of study" if there else "study"
        raise StorageError(
            f"{what} {printable(name)!r} was deleted by another process; the same command "
            f"{'continues' if there else 'begins it again'}"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's line per trial: the watcher says it."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
