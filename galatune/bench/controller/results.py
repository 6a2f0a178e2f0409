"""Results on disk: one CSV row per run, written as soon as it is done, so that a stopped bench goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from galatune.bench.controller.runs import Result, Run, execute
from galatune.bench.processes import side_by_side
from galatune.errors import GalatuneError

__all__ = ["Collection", "make_folder"]

RUN_COLUMNS = tuple(field.name for field in fields(Run))
COLUMNS = (*RUN_COLUMNS, *(field.name for field in fields(Result) if field.name != "run"))


class Collection:
    """All results in a folder.

    A last line that was not written to its end (a full disk, a killed process) is ignored, and the next
    result replaces it.

    Args:
        folder: Holds ``results.csv``; it is made if it does not exist.

    Raises:
        GalatuneError: The folder cannot be made, or the CSV there cannot be read or has other columns.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.path = folder / "results.csv"
        whole = _whole_lines(self.path)
        self._size: int | None = len(whole)  # until the first row is written
        self.results = _read(self.path, whole.decode("utf-8"))

    def get(self, runs: Iterable[Run]) -> list[Result]:
        """Return the results of those runs that have one."""
        return [self.results[run] for run in runs if run in self.results]

    def complete(self, runs: Sequence[Run], jobs: int, progress: Callable[[int, int], None]) -> None:
        """Train what has no result yet.

        Args:
            runs: What is wanted.
            jobs: Number of processes side by side; 1 trains in this process.
            progress: Called with (runs done, runs in all).

        Raises:
            GalatuneError: The CSV cannot be written; what is in it stays.
        """
        missing = [run for run in dict.fromkeys(runs) if run not in self.results]
        total = len(set(runs))
        progress(total - len(missing), total)
        if missing:
            self._append()  # a folder that cannot be written is noticed before hours of training
        for done, result in enumerate(side_by_side(execute, missing, jobs), start=total - len(missing) + 1):
            self.results[result.run] = result
            self._append(result)
            progress(done, total)

    def _append(self, *results: Result) -> None:
        try:
            with self.path.open("ab") as file:
                if self._size is not None:
                    file.truncate(self._size)
                file.write(_lines(results, heading=self._size == 0))
            self._size = None
        except OSError as error:
            raise GalatuneError(
                f"cannot write {self.path}: {error.strerror}; trainings that are in it stay, and the same "
                "command goes on from there"
            ) from error


def make_folder(folder: Path) -> None:
    """Make a folder if it does not exist.

    Raises:
        GalatuneError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GalatuneError(
            f"cannot make the folder {folder}: {error.strerror}; name another with --out"
        ) from error


def _whole_lines(path: Path) -> bytes:
    if not path.exists():
        return b""
    if not path.is_file():
        raise GalatuneError(f"{path} is not a file; name another folder with --out")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GalatuneError(
            f"cannot read {path}: {error.strerror}; name another folder with --out"
        ) from error
    whole = content[: content.rfind(b"\n") + 1]
    if not whole and not _lines([], heading=True).startswith(content):
        raise _other_columns(path)
    return whole


def _other_columns(path: Path) -> GalatuneError:
    return GalatuneError(f"{path} holds other columns; name another folder with --out")


def _read(path: Path, text: str) -> dict[Run, Result]:
    if not text:
        return {}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if reader.fieldnames is None or tuple(reader.fieldnames) != COLUMNS:
        raise _other_columns(path)
    results = {}
    for row in reader:
        try:
            result = _result(row)
        except (ValueError, TypeError, AttributeError) as error:
            raise GalatuneError(
                f"line {reader.line_num} of {path} is no result ({error}); take it out or name another "
                "folder with --out"
            ) from error
        results[result.run] = result
    return results


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
        float(row["seconds"]),
        float(row["state_bytes"]),
        tuple(_point(point) for point in row["rates"].split()),
        float(row["regret"]) if row["regret"] else None,
    )


def _point(text: str) -> tuple[int, float]:
    step, rate = text.split(":")
    return int(step), float(rate)


def _lines(results: Iterable[Result], *, heading: bool) -> bytes:
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, COLUMNS)
    if heading:
        writer.writeheader()
    for result in results:
        row = asdict(result)
        rates = " ".join(f"{step}:{rate!r}" for step, rate in result.rates)
        writer.writerow({**row.pop("run"), **row, "rates": rates})
    return lines.getvalue().encode("utf-8")
