"""A grid of which each cell belongs to one ticket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.attributes import WARM_START
from galatune.study.scan.grid import Grid
from galatune.study.search.quota import held_tickets, ticket_of

__all__ = ["SeededGrid"]


class SeededGrid(BaseSampler):
    """Draws every cell of a grid once, in a random order, before any is drawn again.

    The order follows from the seed, and the cell from the ticket, so that neither an interruption nor a
    second process leaves one out. Cells that a warm start has tried are not drawn in the first round.

    Args:
        seed: Of the whole run.
        grid: Its cells.
    """

    name = "GridSampler"

    def __init__(self, seed: int, grid: Grid) -> None:
        self._seed, self._grid = seed, grid
        self._cell: dict[str, Any] = {}
        self._other: BaseSampler = TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Choose the cell of this trial."""
        ticket = ticket_of(study, trial)
        mixed = np.random.SeedSequence([self._seed, ticket]).generate_state(1)
        self._other = TPESampler(seed=int(mixed[0]))
        self._cell = self._grid.cell(self._place(study, ticket))

    def _place(self, study: optuna.Study, ticket: int) -> int:
        """Which cell belongs to a ticket that the sampler draws."""
        warm = {t: trial for t, trial in held_tickets(study).items() if WARM_START in trial.user_attrs}
        fixed = [trial.system_attrs.get("fixed_params", {}) for trial in warm.values()]
        tried = {place for params in fixed for place in self._grid.places(params)}
        turn = ticket - sum(one < ticket for one in warm)
        left = [place for place in self._order(0) if place not in tried]
        if turn < len(left):
            return left[turn]
        turn -= len(left)
        return self._order(1 + turn // self._grid.cells)[turn % self._grid.cells]

    def _order(self, turn: int) -> list[int]:
        order = np.random.default_rng([self._seed, turn]).permutation(self._grid.cells)
        return [int(place) for place in order]

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: a grid knows values, and no distributions."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing, likewise."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of the cell; of a parameter that is not of the grid, what TPE draws."""
        if param_name in self._cell:
            return self._cell[param_name]
        return self._other.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing is learned; the budget says when the grid is done."""
