"""The address of a storage, a URL or a path: taken apart and opened; `secrets` prints it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galatune.errors import StorageError
from galatune.formatting import first_line, printable
from galatune.study.storage.secrets import hide_secrets, redact

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = [
    "EXPECTED",
    "backend",
    "connect_limits",
    "hide_secrets",
    "is_url",
    "no_driver",
    "parse_url",
    "reason_of",
    "redact",
    "sqlite_file",
    "sqlite_url",
]

EXPECTED = (
    "Give an Optuna study: an SQLite file, a journal file or a storage URL such as sqlite:///study.db or "
    "postgresql://HOST/DATABASE"
)
"""What to do, in an error about what was given."""

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(storage: str) -> bool:
    """Whether this is a URL rather than a path."""
    return _URL.match(storage) is not None


def parse_url(url: str) -> URL:
    """Take a storage URL apart.

    Raises:
        StorageError: It is not a database URL that Optuna could open.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError(f"Not a storage URL: {redact(url)}. {EXPECTED}") from None
    if parsed.drivername.startswith("redis"):
        raise StorageError(f"Redis storages are not supported: {redact(url)}. {EXPECTED}")
    if parsed.host is not None and "@" in parsed.host:
        raise StorageError(f"The password in {redact(url)} contains an '@'. Write it as %40")
    return parsed


def backend(url: URL) -> str:
    """The kind of database, "postgresql", without loading its driver."""
    return url.drivername.partition("+")[0]


CONNECT_SECONDS = 10
READ_SECONDS = 60
"""The wait for an answer of MySQL, whose driver knows no other limit for the greeting of a server."""


def connect_limits(url: URL) -> dict[str, Any]:
    """Arguments of a driver that end the wait for a server that accepts a connection and does not answer.

    What the URL says itself stays.
    """
    driver = url.drivername.partition("+")[2]
    limits = {}
    if driver in ("", "psycopg2", "psycopg", "pymysql", "mysqldb"):  # "" is one of these
        limits["connect_timeout"] = CONNECT_SECONDS
    if driver == "pymysql":
        limits["read_timeout"] = READ_SECONDS
    return {name: seconds for name, seconds in limits.items() if name not in url.query}


def sqlite_file(url: str) -> Path | None:
    """The file behind an SQLite URL, None for a server.

    Raises:
        StorageError: Not a database URL, or an SQLite database in memory.
    """
    parsed = parse_url(url)
    if backend(parsed) != "sqlite":
        return None
    database = parsed.database or ""
    if database.startswith("file:"):
        from urllib.parse import unquote

        database = unquote(database.removeprefix("file:").partition("?")[0])
    if database in ("", ":memory:"):
        raise StorageError(f"A database in memory holds nothing to read: {redact(url)}. {EXPECTED}")
    return Path(database)


def sqlite_url(path: Path) -> str:
    """An SQLite URL of a file that Optuna opens, whatever characters its path holds.

    Raises:
        StorageError: A character that this version of SQLAlchemy cannot put into a URL.
    """
    from sqlalchemy.engine import URL, make_url

    database = str(path.absolute())
    url = URL.create("sqlite", database=database).render_as_string()
    if make_url(url).database != database:
        raise StorageError(
            f"This path cannot be written as a URL: '{printable(database)}'. Leave out '?' and '%'"
        )
    return url.replace("{", "{{").replace("}", "}}")  # Optuna expands braces


_DRIVERS = {
    "postgresql": "pip install 'galatune[postgresql]', and write postgresql://",
    "mysql": "pip install pymysql, and write mysql+pymysql://",
    "mariadb": "pip install pymysql, and write mariadb+pymysql://",
}


def no_driver(url: str, error: ImportError) -> StorageError:
    """The error for a database whose Python driver is not installed."""
    cause = error.__cause__ or error.__context__ or error
    hint = _DRIVERS.get(backend(parse_url(url)), "install the package that SQLAlchemy names for it")
    return StorageError(
        f"No driver for {redact(url)} is installed ({first_line(cause)}). Install one: {hint}"
    )


def reason_of(error: BaseException, place: str) -> str:
    """The complaint of a storage's driver in one line, without the password of the storage.

    Args:
        error: From SQLAlchemy, a driver or the system.
        place: URL or path of the storage.
    """
    return hide_secrets(first_line(getattr(error, "orig", None) or error), place)
