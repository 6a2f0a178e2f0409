"""The tasks of the testbed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from galatune.bench.controller.tasks.images import IMAGES
from galatune.bench.controller.tasks.tables import TABLES
from galatune.bench.controller.tasks.task import Batch, Task, Training
from galatune.bench.controller.tasks.text import TEXT
from galatune.errors import GalatuneError

__all__ = ["TASKS", "Batch", "Task", "Training", "available", "find_tasks"]

LONG = (
    "digits-mlp",
    "digits-dropout",
    "friedman1",
    "friedman3",
    "table-letter",
    "table-diamonds",
    "table-online_shoppers",
    "table-hypothyroid",
)
"""Tasks that exist at other lengths as well, as ``<name>-<steps>``."""

LONG_STEPS = (4_000, 20_000)

TASKS = {task.name: task for task in (*IMAGES, *TABLES, *TEXT)}
"""Every task, by name."""
TASKS |= {f"{n}-{s}": replace(TASKS[n], name=f"{n}-{s}", steps=s) for s in LONG_STEPS for n in LONG}


def find_tasks(names: str) -> list[Task]:
    """Return tasks by a comma-separated list of names.

    Raises:
        GalatuneError: A name is unknown, the data of a task are missing, or the list is empty.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise GalatuneError(f"no task is named in {names!r}; use {', '.join(TASKS)}")
    for name in wanted:
        if name not in TASKS:
            raise GalatuneError(f"no task {name!r}; use {', '.join(TASKS)}")
        missing = _missing(TASKS[name])
        if missing is not None:
            raise GalatuneError(f"task {name} needs {missing}; say where with GALATUNE_DATA")
    return [TASKS[name] for name in dict.fromkeys(wanted)]


def available(names: str) -> list[Task]:
    """Return tasks like `find_tasks`, without those whose data are missing."""
    return [TASKS[name] for name in names.split(",") if _missing(TASKS[name]) is None]


def _missing(task: Task) -> str | None:
    return task.needs if task.needs is not None and not Path(task.needs).exists() else None
