"""One tidy CSV: a row a run, written as soon as it is done, so that a stopped bench goes on."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from galatune.bench.methods import Result, Run, plan_runs, train
from galatune.bench.tasks import Task
from galatune.errors import GalatuneError

__all__ = ["collect"]

COLUMNS = (*(field.name for field in fields(Run)), "loss", "gradient_evaluations")


def collect(
    tasks: Sequence[Task], seeds: int, out: Path, progress: Callable[[int, int], None]
) -> list[Result]:
    """Train whatever is not in the CSV yet.

    Args:
        tasks: What to train.
        seeds: Seeds 0 to seeds - 1.
        out: Folder; made where it does not exist. The CSV is ``results.csv`` in it.
        progress: Called with (runs done, runs in all).

    Raises:
        GalatuneError: The CSV there is not ours.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.csv"
    done = _read(path)
    wanted = [(task, run) for task in tasks for run in plan_runs(task, seeds)]
    results = []
    for i, (task, run) in enumerate(wanted):
        progress(i, len(wanted))
        if run not in done:
            done[run] = train(task, run)
            _append(path, done[run])
        results.append(done[run])
    progress(len(wanted), len(wanted))
    return results


def _read(path: Path) -> dict[Run, Result]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if reader.fieldnames is None or tuple(reader.fieldnames) != COLUMNS:
            raise GalatuneError(f"{path} holds other columns; name another folder with --out")
        results = [_result(row) for row in reader]
    return {result.run: result for result in results}


def _result(row: dict[str, Any]) -> Result:
    run = Run(
        row["task"],
        row["setup"],
        row["method"],
        float(row["rate"]),
        float(row["scale"]),
        row["dtype"],
        int(row["seed"]),
    )
    return Result(run, float(row["loss"]), int(row["gradient_evaluations"]))


def _append(path: Path, result: Result) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        if new:
            writer.writeheader()
        row = asdict(result)
        writer.writerow({**row.pop("run"), **row})
