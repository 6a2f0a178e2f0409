"""A store of MLflow that tests copy, since it takes long to make."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite store; making one takes MLflow about 7 seconds."""
    from galatune_mlflow.connection import open_client

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with open_client(f"sqlite:///{path}") as client:
        client.search_experiments()
    return path


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path) -> str:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
