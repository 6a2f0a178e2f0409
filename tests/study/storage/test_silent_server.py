"""A server that accepts a connection and never answers ends in one line."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from galatune.errors import StorageError
from galatune.study.storage import address
from galatune.study.storage.reading import open_source
from galatune.study.storage.writing import open_target


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Its port; the kernel accepts, and nobody reads."""
    monkeypatch.setattr(address, "CONNECT_SECONDS", 2)  # libpq's least
    monkeypatch.setattr(address, "READ_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "postgresql+psycopg2", "postgresql+psycopg", "mysql+pymysql"])
def test_a_silent_server_is_given_up(silent: int, kind: str) -> None:
    url = f"{kind}://ada:s3cret@127.0.0.1:{silent}/tests"
    with pytest.raises(StorageError, match="Cannot reach") as error, open_source(url):
        pass
    assert "s3cret" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "mysql+pymysql"])
def test_a_silent_server_takes_no_smaller_study(silent: int, kind: str) -> None:
    with pytest.raises(StorageError, match="Cannot write"):
        open_target(f"{kind}://127.0.0.1:{silent}/tests", "old", source="old.db")


def test_limits_that_the_url_sets_stay() -> None:
    url = address.parse_url("mysql+pymysql://h/x?read_timeout=600")
    assert address.connect_limits(url) == {"connect_timeout": address.CONNECT_SECONDS}
