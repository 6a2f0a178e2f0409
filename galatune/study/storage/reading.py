"""Open any Optuna storage read-only: SQLite file, journal file or database server.

An SQLite file is read from a private copy, so that nothing is written to it or beside it, and so that a
schema of Optuna 2 or 3.1 can be upgraded without changing the file. A journal file is read in place through a
back end that refuses to append. A server is asked for its tables first, and none is ever created.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna

from galatune.errors import StorageError
from galatune.formatting import first_line, listed, plural, printable
from galatune.study.storage.address import (
    EXPECTED,
    backend,
    connect_limits,
    is_url,
    no_driver,
    parse_url,
    reason_of,
    redact,
    sqlite_file,
    sqlite_url,
)
from galatune.study.storage.database import FAIL_REASON, NO_VALUE, Database
from galatune.study.storage.journal import ReadOnlyJournal, whole_length
from galatune.study.storage.sqlite_copy import copy_database

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

__all__ = ["Source", "content_of", "damaged_journal", "open_source", "redact"]

Content = Literal["sqlite", "journal"]

TABLES = frozenset({"studies", "trials", "version_info"})
MOST_LISTED = 20


@dataclass(frozen=True)
class Source:
    """A storage opened read-only.

    Attributes:
        storage: As Optuna sees it. It is gone once `open_source` has ended.
        label: URL or path as it was given, without a password.
        note: What had to be done to read it, in words; None if nothing had to be done.
    """

    storage: optuna.storages.BaseStorage
    label: str
    note: str | None = None

    def names(self) -> list[str]:
        """Names of its studies, oldest first."""
        studies = sorted(self.storage.get_all_studies(), key=lambda study: study._study_id)
        return [study.study_name for study in studies]

    def study(self, name: str | None = None) -> optuna.Study:
        """Load one study.

        Args:
            name: May be left out if there is only one.

        Raises:
            StorageError: No such study, no study at all, several and none named, or its rows are damaged.
        """
        names = self.names()
        shown = listed(names, MOST_LISTED)
        if not names:
            raise StorageError(f"{self.label} holds no study. Give a storage with at least one study in it")
        if name is None and len(names) > 1:
            raise StorageError(f"{self.label} holds {len(names)} studies; name one with --study: {shown}")
        if name is not None and name not in names:
            raise StorageError(f"No study '{printable(name)}' in {self.label}; it holds: {shown}")
        chosen = name or names[0]
        try:
            with quiet():
                study = optuna.load_study(study_name=chosen, storage=self.storage)
                study.get_trials(deepcopy=False)  # read once, and kept by Optuna
        except Exception as error:  # fails in whatever way the damage asks for
            raise StorageError(
                f"Optuna cannot read study '{printable(chosen)}' in {self.label} ({type(error).__name__}: "
                f"{first_line(error)}). Mend it, or give an intact copy"
            ) from error
        return study

    def note_of(self, study: optuna.Study) -> str | None:
        """`note`, and what was read of this study otherwise than it stands there; None if nothing."""
        trials = study.get_trials(deepcopy=False)
        lost = sum(trial.system_attrs.get(FAIL_REASON) == NO_VALUE for trial in trials)
        words = f"{plural(lost, 'trial')} of {printable(study.study_name)} read as failed: {NO_VALUE}"
        return "; ".join(one for one in (self.note, words if lost else None) if one is not None) or None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's warnings of what old studies hold: choices that are lists, old distributions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


@contextmanager
def open_source(storage: str) -> Iterator[Source]:
    """Open a storage without ever changing it.

    Args:
        storage: An Optuna storage URL or a file; whether a file is SQLite or a journal is read from its
            content, not from its name.

    Yields:
        The source, readable until the ``with`` block ends.

    Raises:
        StorageError: There is no such file or server, or it is not an Optuna storage, or one that this
            version of Optuna cannot read.
    """
    with ExitStack() as stack:
        label = redact(storage)
        path = sqlite_file(storage) if is_url(storage) else Path(storage)
        if path is None:
            yield _open_server(storage, label, stack)
        elif content_of(path, label) == "journal":
            yield _open_journal(path, label)
        else:
            yield _open_sqlite(path, label, stack)


def content_of(path: Path, label: str, advice: str = EXPECTED) -> Content:
    """What kind of storage a file is, from its content.

    Args:
        path: Of the file.
        label: As it was given, without a password.
        advice: What to do if it is no storage.

    Raises:
        StorageError: No such file, not readable, empty, or neither SQLite nor journal.
    """
    try:
        if not (path.is_file() or path.is_dir()) and path.stat():  # to open a pipe may wait for ever
            raise StorageError(f"This is a device, a pipe or a socket, no file: '{label}'. {advice}")
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise StorageError(f"No such file: '{label}'. {advice}") from None
    except IsADirectoryError:
        raise StorageError(f"This is a directory: '{label}'. {advice}") from None
    except (OSError, ValueError) as error:
        raise StorageError(f"Cannot read '{label}': {first_line(error)}. {advice}") from None
    if not head:
        raise StorageError(f"This file is empty: '{label}'. {advice}")
    if head.startswith(b"SQLite format 3\x00"):
        return "sqlite"
    if re.match(rb'\s*\{\s*"op_code"', head):
        return "journal"
    raise StorageError(f"Neither an SQLite file nor an Optuna journal: '{label}'. {advice}")


def _open_journal(path: Path, label: str) -> Source:
    torn = path.stat().st_size - whole_length(path)
    words = (
        f"{label}: its end ({plural(torn, 'byte')}) is no whole entry and is left out; the file is unchanged"
    )
    note = words if torn else None
    try:
        with quiet():
            return Source(optuna.storages.JournalStorage(ReadOnlyJournal(str(path))), label, note)
    except Exception as error:  # replaying a damaged journal fails in whatever way the damage asks for
        raise damaged_journal(label, error, "Give an intact copy") from error


def damaged_journal(label: str, error: Exception, advice: str) -> StorageError:
    """The error to raise if a journal cannot be replayed."""
    why = f"{type(error).__name__}: {first_line(error)}"
    return StorageError(f"This Optuna journal is damaged: '{label}' ({why}). {advice}")


def _open_sqlite(path: Path, label: str, stack: ExitStack) -> Source:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="galatune-", ignore_cleanup_errors=True))
    copy = Path(folder, "study.db")
    try:
        copy_database(path, copy)
    except OSError as error:
        raise StorageError(f"Cannot copy '{label}' in order to read it: {first_line(error)}") from error
    version = _check_sqlite(copy, label)
    url = sqlite_url(copy)
    storage, note = _open_or_upgrade(url, label, version)
    stack.callback(_close, storage)
    return Source(storage, label, note)


def _check_sqlite(copy: Path, label: str) -> str:
    """The version of Optuna that wrote the file."""
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(copy)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if not tables >= TABLES:
                raise StorageError(f"An SQLite database, but not an Optuna study: '{label}'. {EXPECTED}")
            row = connection.execute("SELECT library_version FROM version_info").fetchone()
    except sqlite3.DatabaseError as error:
        raise StorageError(
            f"This SQLite file is damaged: '{label}' ({first_line(error)}). Give an intact copy"
        ) from error
    return printable(str(row[0])) if row else "unknown"


def _open_or_upgrade(url: str, label: str, version: str) -> tuple[optuna.storages.RDBStorage, str | None]:
    try:
        return Database(url), None
    except RuntimeError:  # an older or a newer schema
        storage = Database(url, skip_compatibility_check=True)
    except Exception as error:
        raise StorageError(f"Optuna cannot read '{label}': {first_line(error)}") from error
    runtime = optuna.__version__
    if storage.get_current_version() not in storage.get_all_versions():
        _close(storage)
        raise StorageError(
            f"Written by a newer Optuna ({version}) than the one installed ({runtime}): '{label}'. "
            "Update it with: pip install -U optuna"
        )
    try:
        _upgrade(storage)
        Database(url).remove_session()
    except Exception as error:
        _close(storage)
        raise StorageError(
            f"Written by Optuna {version}, which Optuna {runtime} cannot upgrade: '{label}'. "
            "Files of Optuna 2.10 and later can be read"
        ) from error
    return storage, f"{label}: schema of Optuna {version}, read from an upgraded copy; the file is unchanged"


def _upgrade(storage: optuna.storages.RDBStorage) -> None:
    """Optuna's own upgrade, without its log lines and its configuration of everybody's logging."""
    import logging

    occupied = logging.NullHandler()  # the migration configures a root logger that has no handler
    logging.getLogger().addHandler(occupied)
    try:
        with quiet():
            storage.upgrade()
    finally:
        logging.getLogger().removeHandler(occupied)


def _open_server(url: str, label: str, stack: ExitStack) -> Source:
    import sqlalchemy

    options = _engine_options(parse_url(url))
    try:
        engine = sqlalchemy.create_engine(url, **options)
        stack.callback(engine.dispose)
        _check_server(engine, label)
        storage = Database(url.replace("{", "{{").replace("}", "}}"), options, skip_table_creation=True)
    except StorageError:
        raise
    except sqlalchemy.exc.NoSuchModuleError as error:
        raise StorageError(f"Not a storage URL: {label}. {EXPECTED}") from error
    except ImportError as error:
        raise no_driver(url, error) from error
    except RuntimeError as error:
        raise StorageError(
            f"The schema in {label} is not that of Optuna {optuna.__version__}. Upgrade a copy of the "
            "database with: optuna storage upgrade"
        ) from error
    except Exception as error:
        raise StorageError(
            f"Cannot reach {label}: {reason_of(error, url)}. Check that the server runs and lets you in"
        ) from None
    stack.callback(_close, storage)
    return Source(storage, label)


def _engine_options(url: URL) -> dict[str, Any]:
    """Engine options for reading: give up soon, and refuse to write if the server offers that."""
    options: dict[str, Any] = {"connect_args": connect_limits(url)}
    if backend(url) == "postgresql":
        options["execution_options"] = {"postgresql_readonly": True}
    return options


def _check_server(engine: Engine, label: str) -> None:
    """Raise unless it is an Optuna storage: opening anything else would fill it with tables."""
    import sqlalchemy

    tables = set(sqlalchemy.inspect(engine).get_table_names())
    if not tables >= TABLES | {"alembic_version"}:
        raise StorageError(f"A database, but not an Optuna storage: {label}. {EXPECTED}")
    with engine.connect() as connection:
        for table in ("version_info", "alembic_version"):
            if connection.execute(sqlalchemy.text(f"SELECT 1 FROM {table}")).first() is None:
                raise StorageError(f"An Optuna storage that was never completed: {label}. {EXPECTED}")


def _close(storage: optuna.storages.RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()
