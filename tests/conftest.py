"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

REPOSITORY = Path(__file__).parents[1]

# One thread for each process of the tests: several at once share the cores, and sums do not depend on them.
# Set before numpy and torch are loaded, which read it once.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

WHOLE = (
    "test_mlflow_autolog.py",
    "test_mlflow_sink.py",
    "test_distributed.py",
    "test_wheel.py",
    "cli/test_report.py",
)
"""Files that one worker runs whole: their tests share something that takes seconds to make."""
FIRST = ("test_examples.py", "test_readme.py")
"""Files of tests that take many seconds: begun last, they would keep one worker busy alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Each test goes to the worker that is free first, except the files that stay whole."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.endswith(WHOLE) else nodeid

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No telemetry, and no log lines of every trial."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts this process and its children: a shell starts background jobs that ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def port() -> Iterator[int]:
    """A free port of this worker, below those that the system gives to others."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for number in range(20_000 + 100 * worker, 20_100 + 100 * worker):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", number))
            except OSError:
                continue
        yield number
        return
    pytest.fail(f"none of the 100 ports of worker {worker} is free")


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
    yield from _database("GALATUNE_TEST_POSTGRESQL", "postgresql+psycopg2://root@127.0.0.1:5432/test")


@pytest.fixture
def mysql_url() -> Iterator[str]:
    """URL of a MySQL or MariaDB database made for this test, empty."""
    yield from _database("GALATUNE_TEST_MYSQL", "mysql+pymysql://root@127.0.0.1:3306/test")


@pytest.fixture(params=["postgresql", "mysql"])
def server_url(request: pytest.FixtureRequest) -> str:
    """URL of a database on a server of either kind, made for this test, empty."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def _database(variable: str, default: str) -> Iterator[str]:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    given = os.environ.get(variable, default)
    options = {"connect_timeout": 3}
    server = sqlalchemy.create_engine(given, isolation_level="AUTOCOMMIT", connect_args=options)
    name = f"galatune_{uuid.uuid4().hex[:12]}"
    try:
        with server.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    except sqlalchemy.exc.OperationalError as error:
        server.dispose()
        reason = str(error.orig).splitlines()[0]
        pytest.skip(f"no server at {variable} or {server.url.host}:{server.url.port}: {reason}")
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            force = " WITH (FORCE)" if server.dialect.name == "postgresql" else ""
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name}{force}"))
        server.dispose()
