"""One tidy CSV: a row a run, written as soon as it is done, so that a stopped bench goes on."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from galatune.bench.runs import Result, Run, execute
from galatune.errors import GalatuneError

__all__ = ["Collection"]

RUN_COLUMNS = tuple(field.name for field in fields(Run))
COLUMNS = (*RUN_COLUMNS, *(field.name for field in fields(Result) if field.name != "run"))


class Collection:
    """Results on disk.

    Args:
        folder: Made where it does not exist; the CSV is ``results.csv`` in it.

    Raises:
        GalatuneError: The CSV there has other columns.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "results.csv"
        self.results = _read(self.path)

    def get(self, runs: Iterable[Run]) -> list[Result]:
        """Results of runs that are there."""
        return [self.results[run] for run in runs if run in self.results]

    def complete(self, runs: Sequence[Run], jobs: int, progress: Callable[[int, int], None]) -> None:
        """Train whatever is not there yet.

        Args:
            runs: What is wanted.
            jobs: Processes side by side; 1 stays in this one.
            progress: Called with (runs done, runs in all).
        """
        missing = [run for run in dict.fromkeys(runs) if run not in self.results]
        total = len(set(runs))
        progress(total - len(missing), total)
        for done, result in enumerate(_execute(missing, jobs), start=total - len(missing) + 1):
            self.results[result.run] = result
            _append(self.path, result)
            progress(done, total)


def _execute(runs: Sequence[Run], jobs: int) -> Iterable[Result]:
    if jobs == 1 or len(runs) < 2:
        yield from map(execute, runs)
        return
    # A fresh interpreter each: a forked one would share torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(runs)), mp_context=context) as pool:
        for future in as_completed([pool.submit(execute, run) for run in runs]):
            yield future.result()


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
        row["method"],
        row["schedule"],
        float(row["rate"]),
        int(row["seed"]),
        row["equal_gradients"] == "True",
        float(row["scale"]),
        row["dtype"],
    )
    return Result(
        run,
        float(row["loss"]),
        float(row["start"]),
        int(row["steps"]),
        int(row["gradient_evaluations"]),
        float(row["peak_rate"]) if row["peak_rate"] else None,
    )


def _append(path: Path, result: Result) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        if new:
            writer.writeheader()
        row = asdict(result)
        writer.writerow({**row.pop("run"), **row})
