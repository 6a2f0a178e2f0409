"""The study that was made before: stored as users store theirs, and what a new search may know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

__all__ = ["MOST_ENQUEUED", "STUDY", "OldStudy", "open_journal"]

STUDY = "old"
"""Name of each old study; its file says which one it is."""

MOST_ENQUEUED = 3
"""Number of old configurations that a warm search begins with."""


@dataclass(frozen=True)
class OldStudy:
    """What is known of good configurations and rates.

    Attributes:
        trials: COMPLETE trials, the best first.
        rate: Name of the rate parameter.
        file: Its journal.
    """

    trials: tuple[FrozenTrial, ...]
    rate: str
    file: Path

    @classmethod
    def read(cls, file: Path, rate: str) -> OldStudy:
        """Read the journal of an old study."""
        study = optuna.load_study(study_name=STUDY, storage=open_journal(file))
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return cls(tuple(sorted(complete, key=_value)), rate, file)

    @property
    def best(self) -> dict[str, Any]:
        """Parameters of the best trial."""
        return dict(self.trials[0].params)

    @property
    def best_rate(self) -> float:
        """The best trial's."""
        return float(self.best[self.rate])

    @property
    def quarter(self) -> tuple[float, float]:
        """Lowest and highest rate among the best quarter of the trials, at least two."""
        rates = [trial.params[self.rate] for trial in self.trials[: max(2, len(self.trials) // 4)]]
        return min(rates), max(rates)

    def first(self, *, with_rate: bool) -> list[dict[str, Any]]:
        """Configurations that a warm search begins with: the best ones, each once."""
        found: list[dict[str, Any]] = []
        for trial in self.trials:
            params = {k: v for k, v in trial.params.items() if with_rate or k != self.rate}
            if params not in found:
                found.append(params)
        return found[:MOST_ENQUEUED]


def open_journal(file: Path) -> optuna.storages.BaseStorage:
    """Optuna's journal storage in a file."""
    return optuna.storages.JournalStorage(JournalFileBackend(str(file)))


def _value(trial: FrozenTrial) -> float:
    values: Sequence[float] = trial.values
    return values[0]
