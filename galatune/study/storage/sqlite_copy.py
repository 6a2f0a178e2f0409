"""A private copy of an SQLite file, taken without leaving a trace beside the file."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from galatune.errors import StorageError
from galatune.formatting import first_line, printable

__all__ = ["copy_database"]

BUSY_SECONDS = 5.0
ATTEMPTS = 10
PAUSE_SECONDS = 0.05
WRITE_VERSION_BYTE = 18
WRITE_VERSION_WAL = 2


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database as it stands now, even while another process writes to it.

    A database with a rollback journal is read through SQLite under a shared lock, which leaves no file
    behind. One in write-ahead mode cannot be: opening it would create ``-wal`` and ``-shm`` files. Its
    files are copied instead, again until none of them changed meanwhile; so are those of a writer that
    died or never lets go of its lock.

    Args:
        source: The database; never written to.
        target: Where the copy goes; its directory exists and is ours.

    Raises:
        StorageError: The database is damaged, or changed faster than it could be copied.
    """
    if not _write_ahead(source):
        try:
            _copy_through_sqlite(source, target)
            return
        except sqlite3.OperationalError:  # locked for good, or a dead writer's journal lies beside it
            target.unlink(missing_ok=True)
        except sqlite3.DatabaseError as error:
            raise StorageError(
                f"This SQLite file is damaged: '{printable(str(source))}' ({first_line(error)}). "
                "Give an intact copy"
            ) from error
    _copy_files(source, target)


def _write_ahead(source: Path) -> bool:
    with source.open("rb") as file:
        header = file.read(WRITE_VERSION_BYTE + 1)
    return len(header) > WRITE_VERSION_BYTE and header[WRITE_VERSION_BYTE] == WRITE_VERSION_WAL


def _copy_through_sqlite(source: Path, target: Path) -> None:
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as reader,
        closing(sqlite3.connect(target)) as writer,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()  # takes the shared lock, or raises
        reader.backup(writer)


def _copy_files(source: Path, target: Path) -> None:
    for _ in range(ATTEMPTS):
        before = _fingerprint(source)
        for suffix in ("", "-wal", "-journal"):
            copy = Path(f"{target}{suffix}")
            copy.unlink(missing_ok=True)
            beside = Path(f"{source}{suffix}")
            if beside.exists():
                shutil.copyfile(beside, copy)
        if before == _fingerprint(source) and _sound(target):
            return
        Path(f"{target}-shm").unlink(missing_ok=True)
        time.sleep(PAUSE_SECONDS)
    raise StorageError(
        "This SQLite file is damaged, or is written to faster than it can be copied: "
        f"'{printable(str(source))}'. "
        "Try again, or check it with: sqlite3 FILE 'PRAGMA integrity_check'"
    )


def _fingerprint(source: Path) -> list[tuple[int, int] | None]:
    """Size and time of the database, its write-ahead log and its journal; None for what is not there."""
    marks: list[tuple[int, int] | None] = []
    for suffix in ("", "-wal", "-journal"):
        try:
            status = Path(f"{source}{suffix}").stat()
        except FileNotFoundError:
            marks.append(None)
        else:
            marks.append((status.st_size, status.st_mtime_ns))
    return marks


def _sound(copy: Path) -> bool:
    try:
        with closing(sqlite3.connect(copy)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False
