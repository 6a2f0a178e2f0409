"""Loads all that a worker needs: torch, Optuna and SQLAlchemy import much of it only when they are used."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg2  # noqa: F401
from kill_worker import work
from tiny_search import old_study

HERE = Path.cwd()
with TemporaryDirectory() as folder:
    old_study(str(Path(folder, "old.log")))
    work(folder, "new.db", trials=1)
    os.chdir(HERE)
