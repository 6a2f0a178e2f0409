"""The storage of the smaller study: never the old one's file, but it may be its database on a server."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from galatune.errors import PlanError, StorageError
from galatune.formatting import printable
from galatune.study.storage.address import (
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
from galatune.study.storage.database import Database
from galatune.study.storage.journal import WholeJournal
from galatune.study.storage.reading import content_of, damaged_journal

__all__ = ["default_target", "find_target", "open_target", "refuse_storage", "same_place", "storage_errors"]

JOURNAL_SUFFIXES = (".log", ".journal")
BUSY_SECONDS = 60
ATTEMPTS = 8
LONGEST_STEM = 120
LONGEST_NAME = 512
"""What a database takes as the name of a study."""
SUFFIX = "-gala"
ANOTHER = "Name another place with --into"
_DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}


def default_target(study: str) -> tuple[str, str]:
    """File and study name of the smaller study.

    A study's name may hold anything. In the file name, everything but letters, digits, dots, dashes
    and underscores becomes a dash, so that it stays in the working directory.

    Args:
        study: Name of the old study.

    Returns:
        The file in the working directory, and the study name.

    >>> default_target("mnist")
    ('mnist-gala.db', 'mnist-gala')
    >>> default_target("../runs/a b")
    ('runs-a-b-gala.db', '../runs/a b-gala')
    """
    stem = re.sub(r"[^\w.-]+", "-", study).lstrip("-.")
    while len(stem.encode()) > LONGEST_STEM:
        stem = stem[:-1]
    return f"{stem or 'study'}-gala.db", f"{study[: LONGEST_NAME - len(SUFFIX)]}{SUFFIX}"


def open_target(
    into: str | None, study: str, *, source: str, name: str | None = None
) -> optuna.storages.BaseStorage:
    """Open the storage that the smaller study is written to, making it if it does not exist.

    It may be the old study's database on a server, where the smaller study has a name of its own; a file of
    the old study is never written to.

    Args:
        into: File or storage URL; None for the default file of this study. A new file named ``.log`` or
            ``.journal`` becomes a journal, any other an SQLite file; of an existing one the content
            decides.
        study: Name of the old study.
        source: Storage of the old study, as it was given.
        name: Name of the smaller study, if it is not the default.

    Raises:
        PlanError: It is the old study's own file, or has its name in its database.
        StorageError: It cannot be made or opened, or is something else than an Optuna storage.
    """
    place = default_target(study)[0] if into is None else into
    path = sqlite_file(place) if is_url(place) else Path(place)
    _refuse_old_study(place, path, study, name, source)
    try:
        if path is None:
            return _open_database(place, {"connect_args": connect_limits(parse_url(place))})
        return _open_file(Path(os.path.realpath(path)), redact(place))
    except StorageError:
        raise
    except ImportError as error:
        raise no_driver(place, error) from error
    except Exception as error:
        raise StorageError(f"Cannot write to {redact(place)}: {reason_of(error, place)}. {ANOTHER}") from None


def _refuse_old_study(place: str, path: Path | None, study: str, name: str | None, source: str) -> None:
    if not same_place(place, source):
        return
    if path is not None:
        raise PlanError(
            f"The smaller study cannot go into the old study's own file: {redact(place)}. "
            "Name another file or URL with --into"
        )
    if name is not None and _alike(name, study):
        raise PlanError(
            f"The smaller study cannot have the old one's name {printable(study)!r} in the same database. "
            "Name it with --name"
        )


def _alike(one: str, other: str) -> bool:
    """Whether a database may take two names for one: some compare without case."""
    return one.strip().casefold() == other.strip().casefold()


def find_target(study: str, into: str | None = None, name: str | None = None) -> tuple[str, str]:
    """The storage and name of the smaller study of an old one; nothing is opened or made.

    Args:
        study: Name of the old study.
        into: File or storage URL, if it is not the default file.
        name: Name of the smaller study, if it is not the default.

    Returns:
        Storage, ready for `galatune.study.storage.reading.open_source`, and study name.

    Raises:
        StorageError: There is no such file.
    """
    place, usual = default_target(study)
    place, found = into or place, name or usual
    path = sqlite_file(place) if is_url(place) else Path(place)
    if path is not None and not path.exists():
        raise StorageError(
            f"No smaller study of '{printable(study)}' yet: there is no file '{redact(place)}'. "
            "Make it with galatune run, or say where it is with --into"
        )
    return place, found


def _open_file(path: Path, label: str) -> optuna.storages.BaseStorage:
    if not path.parent.is_dir():
        raise StorageError(
            f"No such directory: '{printable(str(path.parent))}'. Make it, or name another with --into"
        )
    new = not path.exists() or (path.is_file() and path.stat().st_size == 0)
    if new:
        kind = "journal" if path.suffix.lower() in JOURNAL_SUFFIXES else "sqlite"
    else:
        kind = content_of(path, label, ANOTHER)
    if kind == "journal":
        return _open_journal(path, label)
    if not new:
        _refuse_foreign(path, label)
    timeout = {"connect_args": {"timeout": BUSY_SECONDS}}
    database = _open_database(sqlite_url(path), timeout)
    database.serialize()
    return database


def _open_journal(path: Path, label: str) -> optuna.storages.JournalStorage:
    try:
        return optuna.storages.JournalStorage(WholeJournal(path))
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Whole lines of JSON that Optuna did not write.
        raise damaged_journal(label, error, ANOTHER) from error


def _open_database(url: str, options: dict[str, Any] | None = None) -> Database:
    """Open a database, making Optuna's tables; several processes may do so at the same moment.

    Optuna looks for each table and then makes it, so that the slower of two processes fails although all is
    well: what it missed is there when it looks again.
    """
    from sqlalchemy.exc import DatabaseError

    for attempt in range(ATTEMPTS):
        try:
            return Database(url, options)
        except (DatabaseError, optuna.exceptions.StorageInternalError) as error:
            text = str(getattr(error, "__cause__", None) or error).lower()
            raced = "already exists" in text or "unique" in text or "duplicate" in text
            if not raced or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.1 * (attempt + 1))
    raise AssertionError("unreachable")


def _refuse_foreign(path: Path, label: str) -> None:
    """Optuna would put its tables into any SQLite database."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "studies" not in tables:
        raise StorageError(
            f"An SQLite database of something else than Optuna: '{label}'. Name another file with --into"
        )


def refuse_storage(path: Path, *places: str) -> None:
    """Make sure that a file about to be written is no study: neither one of these storages nor any other.

    Args:
        path: About to be written.
        *places: Storages that are being read, as they were given.

    Raises:
        StorageError: It is one, under whatever name, link or spelling.
    """
    study = any(same_place(str(path), place) for place in places)
    if not study and path.is_file() and path.stat().st_size:
        try:
            study = content_of(path, str(path)) is not None
        except StorageError:
            return  # an ordinary file
    if study:
        raise StorageError(
            f"'{printable(str(path))}' holds a study and would be overwritten. Name another file"
        )


def same_place(one: str, other: str) -> bool:
    """Whether two storages, URLs or paths, are the same file or database."""
    files = [sqlite_file(place) if is_url(place) else Path(place) for place in (one, other)]
    if files[0] is None and files[1] is None:
        return _server(one) == _server(other)
    if files[0] is None or files[1] is None:
        return False
    if files[0].exists() and files[1].exists():
        return files[0].samefile(files[1])
    return os.path.realpath(files[0]) == os.path.realpath(files[1])


def _server(url: str) -> tuple[str, str, int | None, str | None]:
    parsed = parse_url(url)
    kind = backend(parsed)
    host = "127.0.0.1" if parsed.host in (None, "", "localhost") else str(parsed.host)
    return kind, host.lower(), parsed.port or _DEFAULT_PORTS.get(kind), parsed.database


@contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """Turn a full disk or a lost server into a `StorageError`. What the objective raises is caught before."""
    path = sqlite_file(place) if is_url(place) else Path(place)
    path = None if path is None else path.absolute()  # the objective may change the working directory
    try:
        yield
    except Exception as error:
        if not _of_a_storage(error):
            raise
        cause = error.__cause__ or error
        reason = reason_of(cause, place)
        if path is not None and not path.exists():
            raise StorageError(
                f"The smaller study's file {redact(place)} is gone: something deleted or moved it during the "
                "run. Put it back and the same command continues; without it, that begins anew"
            ) from None
        if _read_only(cause, reason):
            raise StorageError(
                f"The smaller study's storage {redact(place)} cannot be written to: {reason}. Let this user "
                "write to it, or name another with --into"
            ) from None
        raise StorageError(
            f"Lost the smaller study's storage {redact(place)}: {reason}. Its finished trials are kept; the "
            "same command continues"
        ) from None


def _read_only(cause: BaseException, reason: str) -> bool:
    """Whether the same command would fail again."""
    refused = isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return refused or re.search("read-?only|permission denied", reason, re.IGNORECASE) is not None


def _of_a_storage(error: Exception) -> bool:
    raised_by = type(error).__module__.partition(".")[0]
    system = isinstance(error, OSError) and not isinstance(error, BrokenPipeError)
    return system or raised_by == "sqlalchemy" or isinstance(error, optuna.exceptions.StorageInternalError)
