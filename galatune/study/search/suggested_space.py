"""The search space as an objective suggests it: its learning rates are found while it runs."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalChoiceType
from optuna.trial import FrozenTrial, TrialState

from galatune.controller.torch_hooks.traced_numbers import Origin
from galatune.formatting import listed, printable
from galatune.study.ledger.attributes import DROPPED
from galatune.study.ledger.trial_counts import count_states
from galatune.study.scan.dimensions import RateDimension, find_dimensions
from galatune.study.scan.distributions import middle
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.placeholder_trial import PlaceholderTrial
from galatune.study.search.pruning import CurveWatch
from galatune.study.search.stored_choices import as_stored

__all__ = ["SpaceTrial", "SuggestedSpace", "plan_of"]

_SPACE, _TRACES = "_galatune_space", "_galatune_traces"


class SuggestedSpace:
    """What is known of the space: from the study's trials, and from what this process has suggested.

    Args:
        lr: Parameters that are learning rates in any case.
        keep: Parameters that stay in any case.
        drop_schedule: Whether schedules and multipliers are dropped as well.

    Attributes:
        controlled: Whether a rate was controlled in a trial that the study had before.
    """

    def __init__(self, lr: Collection[str], keep: Collection[str], *, drop_schedule: bool) -> None:
        self._lr, self._keep, self._drop_schedule = set(lr), set(keep), drop_schedule
        self._seen: dict[str, BaseDistribution] = {}
        self._trials: list[FrozenTrial] = []
        self._best: list[FrozenTrial] = []
        self._dropped: dict[str, RateDimension] = {}
        self._unsure: dict[str, RateDimension] = {}
        self.controlled = self._given_back = False
        self._lock = threading.RLock()

    def begin(self, study: optuna.Study) -> None:
        """A trial begins: look once at what the study had before."""
        with self._lock:
            if self._trials:
                return
            states = (TrialState.COMPLETE, TrialState.PRUNED)
            self._trials = study.get_trials(deepcopy=False, states=states)
            self.controlled = any(DROPPED in one.user_attrs for one in self._trials)
            if len(study.directions) == 1:
                with suppress(ValueError):  # none is complete, or none meets the constraints
                    self._best = [study.best_trial]
            for trial in self._trials:
                self._seen.update(trial.distributions)
            if self._seen:
                self._decide()

    def dimension(self, name: str, distribution: BaseDistribution) -> RateDimension | None:
        """The learning rate that a suggested parameter is; None if it is searched."""
        with self._lock:
            if name not in self._seen:
                self._seen[name] = distribution
                self._decide()
            return self._dropped.get(name)

    def searched(self, names: Collection[str]) -> str | None:
        """Why no learning rate was found among these parameters; None if one is known by now, or was."""
        with self._lock:
            if self._given_back or not self._dropped.keys().isdisjoint(names):
                return None
            if perhaps := [one for one in self._unsure.values() if one.name in names]:
                first, name = perhaps[0], printable(perhaps[0].name)
                return f"{name} may be a learning rate ({first.evidence}); say so with lr=[{name!r}]"
            among = listed(names) or "no parameters"
            return f"no learning rate is recognised among {among}; name it with lr=[...]"

    def give_back(self, names: Collection[str]) -> None:
        """These are searched from now on."""
        with self._lock:
            self._given_back = True
            self._keep |= set(names)
            self._lr -= set(names)
            self._decide()

    def __getstate__(self) -> dict[str, Any]:
        """A trial may be copied or pickled."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.RLock()

    def _decide(self) -> None:
        params = {name: middle(one) for name, one in self._seen.items()}
        together = optuna.trial.create_trial(
            state=TrialState.RUNNING, params=params, distributions=self._seen, value=None
        )
        found = find_dimensions(
            [*self._trials, together],
            self._best,
            lr=self._lr & set(self._seen),
            keep=self._keep & set(self._seen),
            drop_schedule=self._drop_schedule,
        )
        self._dropped = {one.name: one for one in found.learning_rate if one.dropped}
        self._unsure = {one.name: one for one in found.learning_rate if one.role == "unsure"}


class SpaceTrial(PlaceholderTrial):
    """A trial that learns what to answer with a constant while the objective suggests.

    Make one with `over`.
    """

    @classmethod
    def over(
        cls,
        trial: optuna.trial.Trial,
        space: SuggestedSpace | None,
        curve: CurveWatch,
        *,
        traces: bool,
    ) -> SpaceTrial:
        """Put a trial under this class, anew for each call of the objective.

        Args:
            trial: Of ``study.optimize``.
            space: Says what is dropped; None drops nothing.
            curve: Decides whether it is pruned, if a rate is dropped.
            traces: Whether rates are numbers that know where they come from.
        """
        self = cls.adopt(trial, {}, curve=curve)
        assert isinstance(self, SpaceTrial)
        self.__dict__[_SPACE], self.__dict__[_TRACES] = (space, {}), traces
        return self

    @property
    def dropped(self) -> list[RateDimension]:
        """What was answered with a constant so far."""
        return list(self.__dict__[_SPACE][1].values())

    def keep_answers(self) -> None:
        """Store the constants as parameters: the trial has trained with them."""
        for dimension in self.dropped:
            distribution = as_stored(self.distributions[dimension.name])
            value = distribution.to_internal_repr(self.params[dimension.name])
            self.storage.set_trial_param(self._trial_id, dimension.name, value, distribution)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """See `optuna.trial.Trial`."""
        self._find(name, optuna.distributions.IntDistribution(low, high, log=log, step=step))
        return super().suggest_int(name, low, high, step=step, log=log)

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        self._find(name, as_stored(distribution))
        return super()._suggest(name, distribution)

    def should_prune(self) -> bool:
        """See `optuna.trial.Trial`; the study's pruner is heard as ever if no rate is dropped."""
        return super().should_prune() if self.dropped else optuna.trial.Trial.should_prune(self)

    def _find(self, name: str, distribution: BaseDistribution) -> None:
        space, dropped = self.__dict__[_SPACE]
        if space is None or name in dropped or name in self._cached_frozen_trial.params:
            return
        dimension = space.dimension(name, distribution)
        if dimension is None:
            return
        dropped[name] = dimension
        # A rate that was enqueued is the constant.
        answer: CategoricalChoiceType = self._fixed_params.get(name, dimension.placeholder)
        origin = Origin(name) if self.__dict__[_TRACES] and dimension.role != "schedule" else None
        self.answer(name, answer, origin)


def plan_of(dropped: Sequence[RateDimension]) -> ShrinkPlan:
    """A plan that says what is dropped, and nothing else."""
    return ShrinkPlan(
        storage="",
        study="",
        directions=(),
        trials=count_states([]),
        hours=None,
        learning_rate=tuple(dropped),
        kept=(),
        refused=(),
        unique_configurations=0,
        projected=(),
    )
