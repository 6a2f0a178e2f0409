"""Fixtures that every test may use."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No telemetry, and no log lines of every trial."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of test data: GALATUNE_DATA, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("GALATUNE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set GALATUNE_DATA")
    return folder


@pytest.fixture(scope="session")
def studies(data: Path) -> Path:
    """The folder of published studies."""
    folder = data / "studies"
    if not folder.is_dir():
        pytest.skip(f"no studies in {folder}; set GALATUNE_DATA")
    return folder


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """URL of a PostgreSQL database made for this test, empty."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    pytest.importorskip("psycopg2")
    given = os.environ.get("GALATUNE_TEST_POSTGRESQL", "postgresql+psycopg2://root@127.0.0.1:5432/test")
    options = {"connect_timeout": 3}
    server = sqlalchemy.create_engine(given, isolation_level="AUTOCOMMIT", connect_args=options)
    name = f"galatune_{uuid.uuid4().hex[:12]}"
    try:
        with server.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    except sqlalchemy.exc.OperationalError as error:
        server.dispose()
        reason = str(error.orig).splitlines()[0]
        pytest.skip(f"no PostgreSQL at GALATUNE_TEST_POSTGRESQL or 127.0.0.1:5432: {reason}")
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()
