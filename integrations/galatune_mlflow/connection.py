"""Choose and reach a tracking store, with short timeouts and without its log messages."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from galatune.errors import ReportError
from galatune.formatting import printable
from galatune.study.storage.address import redact, sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["DEFAULT_URI", "artifact_location", "is_new_store", "open_client", "tracking_uri_or_default"]

DEFAULT_URI = "sqlite:///mlflow.db"
CONNECT_SECONDS = 5
LIMITS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""By default MLflow tries seven times, for minutes, and prints to stdout. Settings of the user stay."""


def tracking_uri_or_default(tracking_uri: str | None) -> str:
    """Return the given URI, else MLFLOW_TRACKING_URI, else a SQLite file in the working directory.

    MLflow's own default is not used, since an old ``./mlruns`` changes it.
    """
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


@contextmanager
def open_client(uri: str) -> Iterator[MlflowClient]:
    """Open a client for the length of the block, without a global tracking URI or an active run.

    Args:
        uri: Tracking URI.

    Raises:
        ReportError: The store cannot be reached, or it refuses. The message says what to do.
    """
    _reach(uri)
    _refuse_study(uri)
    from alembic.util.exc import CommandError
    from mlflow import MlflowClient  # its import sets log levels, so that it comes before _quiet
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    with _limits(), _quiet():
        try:
            yield MlflowClient(tracking_uri=uri)
        except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
            raise ReportError(_failure(uri, str(error))) from None


def is_new_store(uri: str) -> bool:
    """Whether this SQLite store does not exist yet; making it takes MLflow about 7 seconds."""
    path = _store_file(uri)
    return path is not None and (not path.exists() or path.stat().st_size == 0)


def artifact_location(uri: str) -> str | None:
    """Return a folder next to a SQLite store, None for a server, which has its own.

    MLflow's default is ``./mlruns``, and a folder of that name changes where it looks next time.
    """
    path = _store_file(uri)
    return None if path is None else (path.absolute().parent / "mlartifacts").as_uri()


def _store_file(uri: str) -> Path | None:
    return sqlite_file(uri) if uri.startswith("sqlite:") else None


def _reach(uri: str) -> None:
    """Notice within seconds, before MLflow's retries, that a server cannot be reached."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or any(map(os.environ.get, ("HTTP_PROXY", "HTTPS_PROXY"))):
        return
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ReportError(_failure(uri, str(error))) from None


def _refuse_study(uri: str) -> None:
    """Refuse a database that holds a study, in which MLflow would make its tables.

    Raises:
        ReportError: The database is an Optuna storage, or it cannot be read.
    """
    if urlsplit(uri).scheme in ("", "http", "https", "file", "databricks"):
        return
    import sqlalchemy

    path = _store_file(uri)
    if path is not None:
        if is_new_store(uri):
            return
        address = f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro&uri=true"
    else:
        address = uri
    try:
        engine = sqlalchemy.create_engine(address)
        try:
            tables = set(sqlalchemy.inspect(engine).get_table_names())
        finally:
            engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise ReportError(_failure(uri, str(getattr(error, "orig", None) or error))) from None
    if {"studies", "trials"} <= tables:
        raise ReportError(
            f"{redact(uri)} holds Optuna studies, and MLflow would put its own tables into it; name another "
            "place with --sink-to"
        )


def _failure(uri: str, reason: str) -> str:
    line = printable(reason.strip().splitlines()[0]) if reason.strip() else "no reason given"
    return (
        f"MLflow at {redact(uri)} did not take the report: {_without_credentials(line, uri)[:300]}. The "
        "studies are unchanged; the same galatune report command sends what is missing later"
    )


def _without_credentials(line: str, uri: str) -> str:
    """Remove what drivers and HTTP libraries repeat of the URI."""
    line = line.replace(uri, redact(uri))
    try:
        password = urlsplit(uri).password
    except ValueError:
        password = None
    return line.replace(password, "***") if password else line


@contextmanager
def _limits() -> Iterator[None]:
    """Set `LIMITS` in the environment, the only place where MLflow reads them."""
    added = {name: value for name, value in LIMITS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log: a new store is made in fifty migrations with a line each."""
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
