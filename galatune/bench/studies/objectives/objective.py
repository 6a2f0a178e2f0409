"""What an objective of `galatune bench studies` is, and the six there are."""

from __future__ import annotations

from typing import Protocol

from optuna.trial import BaseTrial

from galatune.bench.studies.objectives.autoencoder import Autoencoder
from galatune.bench.studies.objectives.characters import Characters
from galatune.bench.studies.objectives.digits import Digits
from galatune.bench.studies.objectives.friedman import Friedman
from galatune.bench.studies.objectives.mixture import Mixture
from galatune.bench.studies.objectives.rows import Losses, Part, Rows
from galatune.bench.studies.objectives.setting import SETTINGS, Setting
from galatune.bench.studies.objectives.shoppers import Shoppers

__all__ = ["OBJECTIVES", "SETTINGS", "Losses", "Objective", "Part", "Rows", "Setting"]


class Objective(Protocol):
    """One objective: a space, a net, an ordinary training loop.

    Attributes:
        name: As on the command line and in files.
        title: As in the tables.
        optimizers: Which it trains with.
        schedule: Shape of its learning-rate schedule.
        prunes: Whether its old study has a pruner. Each objective reports the validation loss of each
            epoch and asks the trial whether to go on.
        moved: Names of the settings that it is moved by.
        rate: Name of the learning rate in its space.
    """

    name: str
    title: str
    optimizers: str
    schedule: str
    prunes: bool
    moved: tuple[str, ...]
    rate: str

    def rows(self, seed: int, fresh: bool, setting: Setting) -> Rows:
        """Rows of the old study with this seed, or of a new search; these two never share a row."""
        ...

    def train(self, trial: BaseTrial, rows: Rows, setting: Setting) -> Losses:
        """Suggest a configuration, train it, return both losses; seed torch first.

        Raises:
            TrialPruned: The trial's pruner said so after an epoch.
        """
        ...


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (Friedman(), Shoppers(), Mixture(), Digits(), Characters(), Autoencoder())
}
