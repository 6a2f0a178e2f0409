"""All fits that are wanted, one after another, each in a process of its own with one thread; resumable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from filelock import FileLock, Timeout

from galatune.bench.controller.results import make_folder
from galatune.bench.data import tables_folder
from galatune.bench.json_lines import JsonLines
from galatune.bench.sources import hash_of_sources
from galatune.bench.tables.datasets import DataSet
from galatune.bench.tables.fit import Cell, Fit
from galatune.bench.tables.methods import METHODS, Method
from galatune.errors import GalatuneError
from galatune.formatting import printable, shortened

__all__ = ["Plan", "fit_alone", "run_fits", "tidy"]

COMMON = ("bench/tables/datasets.py", "bench/tables/fit.py", "bench/tables/scores.py")
"""What decides every result, whatever the method: rows, how they are fitted, scores."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

LAST_WORDS = 300
"""Characters of what a process that failed said last."""


@dataclass(frozen=True)
class Plan:
    """What is to be compared.

    Attributes:
        sets: Data sets.
        methods: Ours among them.
        splits: Splits of each set, seeds 0 to splits - 1; None for 10 of a small set and 5 of a large one.
    """

    sets: Sequence[DataSet]
    methods: Sequence[Method]
    splits: int | None = None

    def cells(self) -> list[Cell]:
        """All fits, split by split, so that whatever has been done was done by all methods."""
        counts = {one.name: self.splits or one.splits for one in self.sets}
        return [
            Cell(one.name, method.name, seed)
            for seed in range(max(counts.values()))
            for one in self.sets
            if seed < counts[one.name]
            for method in self.methods
            if (one.classes or not method.classifies_only) and seed < (method.most_splits or seed + 1)
        ]


def run_fits(plan: Plan, folder: Path, hours: float, progress: Callable[[int, int], None]) -> list[Fit]:
    """Run what has no result yet, until time is up.

    Args:
        plan: What is wanted.
        folder: Of the results; they are appended to ``tables.jsonl`` there.
        hours: After this time the fit that runs is ended, and none is begun.
        progress: Called with (fits done, fits in all).

    Returns:
        The fits that have a result, failed ones too, in the order of the plan. Failed ones are tried again
        by the next call.

    Raises:
        GalatuneError: The results cannot be read or written, or another bench writes there.
    """
    deadline = time.monotonic() + 3600 * hours
    make_folder(folder)
    try:
        with FileLock(folder / "tables.lock", timeout=0):
            return _run(plan, JsonLines(folder / "tables.jsonl"), deadline, progress)
    except Timeout as error:
        raise GalatuneError(
            f"another bench tables writes to {folder}, and the two would slow each other; wait for it"
        ) from error


def _run(plan: Plan, lines: JsonLines, deadline: float, progress: Callable[[int, int], None]) -> list[Fit]:
    keys = _keys(plan)
    known = dict(_known(lines, keys))
    wanted = plan.cells()
    missing = [cell for cell in wanted if cell not in known or known[cell].failure is not None]
    done = len(wanted) - len(missing)
    progress(done, len(wanted))
    for cell in missing:
        fit = fit_alone(cell, deadline - time.monotonic())
        if fit is None:
            break
        known[cell] = fit
        lines.add({"key": keys[cell.dataset, cell.method], **fit.to_json()})
        done += 1
        progress(done, len(wanted))
    return [known[cell] for cell in wanted if cell in known]


def fit_alone(cell: Cell, seconds: float) -> Fit | None:
    """Fit in a new process with one thread, in a folder of its own.

    Args:
        cell: Which fit.
        seconds: It is ended after this time.

    Returns:
        None if time was up.
    """
    if seconds <= 0:
        return None
    given = {"GALATUNE_DATA": str(tables_folder().parent.resolve()), "CUDA_VISIBLE_DEVICES": ""}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "fit.json"
        # Peers warn where they do not converge with their defaults.
        words = ["-W", "ignore", "-m", "galatune.bench.tables.one_fit"]
        words += [cell.dataset, cell.method, str(cell.seed), str(file)]
        try:
            ended = subprocess.run(
                [sys.executable, *words],
                cwd=folder,
                env={**os.environ, **dict.fromkeys(THREADS, "1"), **given},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        if ended.returncode == 0 and file.exists():
            return Fit.from_json(json.loads(file.read_text(encoding="utf-8")))
    return Fit(cell, failure=_last_words(ended))


def _last_words(ended: subprocess.CompletedProcess[bytes]) -> str:
    if ended.returncode < 0:
        return f"ended by signal {-ended.returncode}"
    said = ended.stderr.decode(errors="replace").strip().splitlines() or [f"status {ended.returncode}"]
    return printable(shortened(said[-1], LAST_WORDS))


def tidy(fits: Sequence[Fit]) -> pd.DataFrame:
    """One row per fit: its set, method and seed, its scores, seconds, memory in MB, and why it failed."""
    rows = []
    for fit in fits:
        body = fit.to_json()
        rows.append({**body.pop("cell"), **body.pop("scores"), **body})
    return pd.DataFrame(rows)


def _keys(plan: Plan) -> dict[tuple[str, str], str]:
    return {
        (one.name, method.name): hash_of_sources(
            (*COMMON, *method.sources), method.packages, f"{one.name} {one.content} {method.name}"
        )
        for one in plan.sets
        for method in plan.methods
    }


def _known(lines: JsonLines, keys: dict[tuple[str, str], str]) -> Iterator[tuple[Cell, Fit]]:
    """Fits that the present code, data and releases would give again."""
    for body in lines:
        try:
            fit = Fit.from_json(body)
            place = fit.cell.dataset, fit.cell.method
            if fit.cell.method in METHODS and body["key"] == keys.get(place):
                yield fit.cell, fit
        except (TypeError, KeyError, AttributeError) as error:
            raise lines.not_ours(error) from error
