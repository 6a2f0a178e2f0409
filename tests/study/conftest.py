"""A working directory of one's own and an old study in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_search import old_study

from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plan(folder: Path) -> ShrinkPlan:
    old_study("old.log")
    return scan("old.log")
