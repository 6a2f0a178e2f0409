"""One fit: what it learned, and what it cost."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from galatune.bench.tables.datasets import Split
from galatune.bench.tables.fixed_rates import validation_score
from galatune.bench.tables.methods import Method
from galatune.bench.tables.scores import Scores, judge

__all__ = ["Cell", "Fit", "measured"]

KILOBYTES = 1024


@dataclass(frozen=True)
class Cell:
    """Which fit.

    Attributes:
        dataset: Name.
        method: Name.
        seed: Of the split and of the method.
    """

    dataset: str
    method: str
    seed: int


@dataclass(frozen=True)
class Fit:
    """What came of it.

    Attributes:
        cell: Which.
        scores: On test rows; of a fit that failed all are None.
        seconds: Processor seconds of the fit, without reading the data; None if it failed.
        memory: Largest memory of the process until then in MB, with what was imported; None if it failed or
            the system does not tell.
        validation: Minus the loss on rows held out of the training rows, if the method tells it.
        failure: Why it failed; None if it did not.
    """

    cell: Cell
    scores: Scores = field(default_factory=Scores)
    seconds: float | None = None
    memory: float | None = None
    validation: float | None = None
    failure: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Fit:
        """The fit that `to_json` wrote.

        Raises:
            TypeError, KeyError: It is no such body.
        """
        rest = {name: body[name] for name in ("seconds", "memory", "validation", "failure")}
        return cls(Cell(**body["cell"]), Scores(**body["scores"]), **rest)


def measured(cell: Cell, split: Split, method: Method) -> Fit:
    """Fit in this process, with the threads that it has, and predict the test rows.

    Class numbers that the training rows lack have a probability of 0.
    """
    classes, y = np.unique(split.y, return_inverse=True) if split.classes else (None, split.y)
    model = method.build(bool(split.classes), cell.seed)
    began = time.process_time()
    model.fit(split.X, y)
    seconds = time.process_time() - began
    if classes is None:
        predicted = np.asarray(model.predict(split.X_test)).ravel()
    else:
        predicted = np.zeros((len(split.X_test), split.classes))
        predicted[:, classes] = model.predict_proba(split.X_test)
    return Fit(cell, judge(split, predicted), seconds, _peak_memory(), validation_score(model))


def _peak_memory() -> float | None:
    """Largest memory of this process, in MB.

    Linux lets a new program inherit the peak that ``getrusage`` tells from the process that started it, so
    that the peak of this program alone is read instead.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = [line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(lines[0][1]) / KILOBYTES if lines else None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / KILOBYTES**2 if sys.platform == "darwin" else peak / KILOBYTES
