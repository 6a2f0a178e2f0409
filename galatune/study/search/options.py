"""The options of a run, its watcher, and the search that is made of both."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from galatune.controller.options import Options
from galatune.controller.rule.guard import Guard
from galatune.study.search.pruning import Pruning
from galatune.study.search.select_optimizers import RateKnowledge

if TYPE_CHECKING:
    from galatune.controller.controlled import Capture
    from galatune.study.ledger.match import Goal
    from galatune.study.scan.plan import ShrinkPlan
    from galatune.study.search.objective import Objective
    from galatune.study.search.rate_bound import RateBound
    from galatune.study.search.stopping import Budget

__all__ = ["RunOptions", "Search", "Watcher"]


class Watcher(Protocol):
    """Is told how a run proceeds; see `galatune.cli.progress`."""

    def run_started(self, budget: Budget, study: optuna.Study) -> None:
        """Before the first trial; the study may hold earlier ones."""
        ...

    def goal_set(self, goal: Goal) -> None:
        """Once the old best was repeated: the goal of the search, unless it was known before."""
        ...

    def trial_started(self, number: int, capture: Capture) -> None:
        """``capture.learning_rate`` is the current rate, at any time."""
        ...

    def trial_finished(self, trial: FrozenTrial) -> None:
        """With its final state."""
        ...

    def said(self, line: str) -> None:
        """A line about the processes of the run."""
        ...


@dataclass(frozen=True)
class RunOptions:
    """Options of a run.

    Attributes:
        trials: Number of trials; None for as many as the old study finished, until its best is matched.
        until_match: End as soon as the old best is matched.
        tolerance: Share of |median - best| of the old values that counts as no difference.
        patience: Trials without a better value that end the search, None for no such bound.
        repeats: How often the old best is repeated at its own rates before the search, on top of ``trials``:
            their mean is the goal. 0 for its one value; so with several objectives in any case.
        confirm: Whether a match counts only once the mean of as many repeats of it, on top of ``trials``, has
            reached the goal as well. None: if the old best is repeated.
        seed: Of the sampler and, with the trial's number added, of each trial.
        min_lr: See `galatune.attach`, like the next four.
        max_lr: Upper bound of the rate as applied. None: both bounds come from the old study if that is one
            of reinforcement learning (`rate_bound`), else there is none. Infinity: none in any case.
        probe: Source of the gradient pairs.
        step_scale: Multiplier on the estimated rate.
        per_group: Whether each parameter group has a rate of its own.
        max_growth_per_step: See `galatune.Guard`; None for its default.
        prior: Whether control starts from what the old study knows of good rates.
        control: "on", or "off": the dropped rates are fixed at the old best's, and nothing is controlled.
            None: as a pilot of the study or of the plan chose, else "on".
        warm_start: The best configurations of the old study that are tried first, without their rates.
        polish: The best configurations that are run again with other rates once the search is over.
        sampler: A name of `galatune.study.search.sampler.SAMPLERS`, "grid", or a sampler of Optuna's,
            which is used as it is. None: "grid" if the old study had one, else "tpe".
        pruner: A name of `galatune.study.search.pruning.PRUNERS`, or a pruner of Optuna's. None: no pruner if
            the old study has no PRUNED trial, else the median pruner.
        workers: Processes that run its trials, on this machine.
    """

    trials: int | None = None
    until_match: bool = False
    tolerance: float = 0.01
    patience: int | None = None
    repeats: int = 3
    confirm: bool | None = None
    seed: int = 0
    min_lr: float = Options.min_lr
    max_lr: float | None = None
    probe: str = "auto"
    step_scale: float | None = Options.step_scale
    per_group: bool = Options.per_group
    max_growth_per_step: float | None = None
    prior: bool = True
    control: str | None = None
    warm_start: int = 0
    polish: int = 0
    sampler: str | BaseSampler | None = None
    pruner: str | BasePruner | None = None
    workers: int = 1

    def controller_options(self) -> dict[str, Any]:
        """The options of `galatune.controlled`.

        Raises:
            ControlError: The growth is out of range.
        """
        names = ("min_lr", "max_lr", "probe", "step_scale", "per_group")
        growth = self.max_growth_per_step
        guard = None if growth is None else Guard(max_growth_per_step=growth)
        given = {name: getattr(self, name) for name in names}
        return {**given, "max_lr": self._max_lr, "guard": guard}

    def bounded(self, bound: RateBound | None) -> RunOptions:
        """With these bounds, unless an upper one is given; a lower one that is given stays if it can."""
        if bound is None or self.max_lr is not None:
            return self
        return replace(self, max_lr=bound.highest, min_lr=min(self.min_lr or bound.lowest, bound.highest))

    @property
    def _max_lr(self) -> float:
        return Options.max_lr if self.max_lr is None else self.max_lr

    def to_json(self) -> dict[str, Any]:
        """For the study's attribute; an infinite bound is None, since JSON has no infinity.

        A pruner or a sampler is the name of its class.
        """
        given = (self.pruner, self.sampler)
        pruner, sampler = (
            type(one).__name__ if isinstance(one, BasePruner | BaseSampler) else one for one in given
        )
        body = asdict(replace(self, pruner=pruner, sampler=sampler))
        body["max_lr"] = self.max_lr if math.isfinite(self._max_lr) else None
        return body


@dataclass(frozen=True)
class Search:
    """One smaller search: what every trial of it needs.

    Attributes:
        study: The smaller study.
        plan: What is dropped.
        objective: The old study's objective, unchanged.
        options: How its trials run.
        budget: Says when it is over.
        watcher: Told how it proceeds, None for nobody.
        knowledge: What its trials have shown of the objective.
        pruning: Its pruner.
        step_scale_factor: See `galatune.attach`.
    """

    study: optuna.Study
    plan: ShrinkPlan
    objective: Objective
    options: RunOptions
    budget: Budget
    watcher: Watcher | None = None
    knowledge: RateKnowledge = field(default_factory=RateKnowledge)
    pruning: Pruning = field(default_factory=Pruning)
    step_scale_factor: float = 1.0

    def control(self) -> dict[str, Any]:
        """The options of `galatune.controlled`."""
        return {**self.options.controller_options(), "step_scale_factor": self.step_scale_factor}
