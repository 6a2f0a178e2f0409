from __future__ import annotations

import pytest
from tiny_task import line_task

from galatune.bench.controller.tasks import TASKS


@pytest.fixture(autouse=True)
def _line_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "line", line_task())
