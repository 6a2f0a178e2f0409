"""An objective that takes one step and sleeps, and notes how long its process used the database."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from sqlalchemy import event
from sqlalchemy.pool import Pool

__all__ = ["Sleeping", "noted_storage", "space"]


def space() -> dict[str, optuna.distributions.BaseDistribution]:
    """What it suggests."""
    return {
        "width": optuna.distributions.IntDistribution(2, 64),
        "weight_decay": optuna.distributions.FloatDistribution(1e-6, 1e-2, log=True),
        "lr": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True),
    }


@dataclass(frozen=True)
class Sleeping:
    """One step of SGD, then sleep.

    Attributes:
        seconds: Of sleep.
        folder: Takes a file per process: seconds in the database when its first trial had slept and when its
            last one had.
    """

    seconds: float
    folder: str

    def __call__(self, trial: optuna.Trial) -> float:
        """The loss after the step."""
        meter = _meter()
        for name, distribution in space().items():
            trial._suggest(name, distribution)
        weight = torch.nn.Parameter(torch.full((int(trial.params["width"]),), 0.5))
        optimizer = torch.optim.SGD(
            [weight], lr=trial.params["lr"], weight_decay=trial.params["weight_decay"]
        )
        loss = (weight * weight).sum()
        loss.backward()
        optimizer.step()
        time.sleep(self.seconds)
        meter.note(Path(self.folder, f"{os.getpid()}.txt"))
        return float((weight * weight).sum().item())


def noted_storage(folder: Path) -> float:
    """Seconds in which all processes together used the database, from their first trial to their last."""
    noted = [file.read_text().split() for file in folder.glob("*.txt")]
    return sum(float(last) - float(first) for first, last in noted)


class _Meter:
    """Measures how long connections to databases are in use: from a call's first statement to its commit."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._first: float | None = None

    def note(self, file: Path) -> None:
        if self._first is None:
            self._first = self.seconds
        file.write_text(f"{self._first} {self.seconds}")

    def taken(self, _connection: Any, record: Any, _proxy: Any) -> None:
        record.info["taken"] = time.perf_counter()

    def given_back(self, _connection: Any, record: Any) -> None:
        self.seconds += time.perf_counter() - record.info.pop("taken")


@functools.cache
def _meter() -> _Meter:
    """That of this process; every connection is measured until it ends."""
    meter = _Meter()
    event.listen(Pool, "checkout", meter.taken)
    event.listen(Pool, "checkin", meter.given_back)
    return meter
