"""Choose and reach a tracking store, with short timeouts and without its log messages."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from urllib.parse import quote, urlsplit

from filelock import FileLock

from galatune.errors import ReportError, StorageError
from galatune.study.storage.address import redact, sqlite_file
from galatune_mlflow.patience import TIMEOUT_SETTING, PatientClient, failure, seconds_for, within

__all__ = [
    "DEFAULT_URI",
    "artifact_location",
    "is_new_store",
    "limits",
    "open_client",
    "tracking_uri_or_default",
]

DEFAULT_URI = "sqlite:///mlflow.db"
CONNECT_SECONDS = 5
LIMITS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    TIMEOUT_SETTING: "8",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""By default MLflow tries seven times, for minutes or as long as a server asks it to, and prints to stdout.
Settings of the user stay."""


def tracking_uri_or_default(tracking_uri: str | None) -> str:
    """Return the given URI, else MLFLOW_TRACKING_URI, else a SQLite file in the working directory.

    MLflow's own default is not used, since an old ``./mlruns`` changes it.
    """
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


@contextmanager
def open_client(uri: str) -> Iterator[PatientClient]:
    """Open a client for the length of the block, without a global tracking URI or an active run.

    A server that accepts connections and does not answer is given up within `patience.CALL_SECONDS`.

    Args:
        uri: Tracking URI.

    Raises:
        ReportError: The store cannot be reached, or it refuses. The message says what to do.
    """
    _reach(uri)
    seconds = seconds_for(file_store=_store_file(uri) is not None)
    _refuse_study(uri, seconds)
    from mlflow import MlflowClient  # its import sets log levels, so that it comes before _quiet

    with limits(), _quiet():
        try:
            with _made_once(uri):
                client = within(seconds, partial(MlflowClient, tracking_uri=uri))
        except Exception as error:  # stores are plugins, with exceptions of their own
            raise failure(uri, error) from None
        yield PatientClient(client, uri, seconds)


@contextmanager
def _made_once(uri: str) -> Iterator[None]:
    """Let one process make a store in a file while the others wait.

    Two that make its tables at once leave a store that no process can open any more.
    """
    path = _store_file(uri)
    if path is None:
        yield
        return
    place = f"{Path.home()} {path.resolve()}"  # users do not share locks
    with FileLock(Path(gettempdir(), f"galatune-{sha256(place.encode()).hexdigest()[:16]}.lock")):
        yield


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
    try:
        return sqlite_file(uri) if uri.startswith("sqlite:") else None
    except StorageError:
        raise ReportError(
            f"{redact(uri)} names no file; write sqlite:/// and the file, such as {DEFAULT_URI}"
        ) from None


def _reach(uri: str) -> None:
    """Notice within seconds, before MLflow's retries, that a server cannot be reached."""
    try:
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or any(map(os.environ.get, ("HTTP_PROXY", "HTTPS_PROXY"))):
            return
        if not parts.hostname:
            raise ValueError("it names no host; write http://, the host, a colon and the port")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise failure(uri, error) from None


def _refuse_study(uri: str, seconds: float | None) -> None:
    """Refuse a database that holds a study, in which MLflow would make its tables.

    Raises:
        ReportError: The database is an Optuna storage, or it cannot be read.
    """
    if urlsplit(uri).scheme in ("", "http", "https", "file", "databricks"):
        return
    path = _store_file(uri)
    if path is not None and is_new_store(uri):
        return
    address = uri if path is None else f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro&uri=true"
    try:
        tables = within(seconds, partial(_tables, address))
    except Exception as error:  # drivers have exceptions of their own
        raise failure(uri, getattr(error, "orig", None) or error) from None
    if {"studies", "trials"} <= tables:
        raise ReportError(
            f"{redact(uri)} holds Optuna studies, and MLflow would put its own tables into it; name another "
            "place with --sink-to"
        )


def _tables(address: str) -> set[str]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(address)
    try:
        return set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()


@contextmanager
def limits() -> Iterator[None]:
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
