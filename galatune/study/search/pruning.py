"""Pruning in the smaller study: which pruner it has, what that compares, and from when on it decides.

A controlled training begins with tiny steps, so its first reports look bad beside those of a training whose
rate was right from the start. So curves are compared with controlled curves only, and no trial is pruned
before its rate has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import PlanError
from galatune.formatting import plural
from galatune.study.ledger.attributes import RECORD, REPORTED_BEFORE, STAGE
from galatune.study.ledger.ending import PRUNED_AFTER
from galatune.study.ledger.record import RateEvent

if TYPE_CHECKING:
    from galatune.controller.controlled import Capture

__all__ = ["PRUNERS", "CurveWatch", "OldPruning", "Pruning", "pruning_for"]

BEST_QUARTER = 25.0
"""Percentage of trials that the percentile pruner keeps, as in Optuna's example."""

PRUNERS: Mapping[str, Callable[[int], BasePruner]] = {
    "none": lambda _: NopPruner(),
    "median": lambda warm_up: MedianPruner(n_warmup_steps=warm_up),
    "percentile": lambda warm_up: PercentilePruner(BEST_QUARTER, n_warmup_steps=warm_up),
    "successive-halving": lambda _: SuccessiveHalvingPruner(),
    "hyperband": lambda _: HyperbandPruner(),
}
"""What ``--pruner`` may name: from the first step at which a trial may be pruned to Optuna's pruner."""

SHARE = 3
"""Whatever the rate does, pruning begins once one in so many reports was made."""

EARLY_MOST, LATE_MOST = 2.0, 1.5
"""Largest share of pruned trials, as a multiple of the old study's, unless a pruner is given: for trials
whose rate arrived before a `SHARE` of the reports, and for the others. Controlled curves lie close together,
and noise alone takes most of them below the median at some report; but what a pruner saves beyond the old one
would be reported as a saving of control. More than 1, since a trial ends later now and probes cost; the more,
the longer it had its rate."""

UNRECORDED = "a storage does not record which pruner it had, --pruner names another"
ARRIVES = "no trial is pruned before its rate has arrived"


@dataclass(frozen=True)
class OldPruning:
    """What the old study shows of its pruning.

    Attributes:
        pruned: Number of PRUNED trials.
        finished: Number of finished trials.
        first_step: Smallest step at which one was pruned, 0 if none reported anything.
        reports: Reports of the COMPLETE trial that made most.
        objectives: Number of objectives.
    """

    pruned: int = 0
    finished: int = 0
    first_step: int = 0
    reports: int = 0
    objectives: int = 1

    @property
    def share(self) -> float:
        """PRUNED trials among the finished ones."""
        return self.pruned / self.finished if self.finished else 0.0

    @classmethod
    def of(cls, old: optuna.Study) -> OldPruning:
        """Read it from the old study."""
        trials = old.get_trials(deepcopy=False)
        pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
        steps = [trial.last_step for trial in pruned if trial.last_step is not None]
        return cls(
            pruned=len(pruned),
            finished=sum(trial.state.is_finished() for trial in trials),
            first_step=min(steps, default=0),
            reports=_most_reports(trials),
            objectives=len(old.directions),
        )


@dataclass(frozen=True)
class Pruning:
    """The pruner of the smaller study.

    Attributes:
        pruner: Optuna's.
        reason: Which one and why, in one sentence; None if there is nothing to say, neither study pruning.
        old_reports: See `OldPruning.reports`.
        old_share: `OldPruning.share`, which limits how many trials are pruned; None for no limit.
    """

    pruner: BasePruner = field(default_factory=NopPruner)
    reason: str | None = None
    old_reports: int = 0
    old_share: float | None = None


def pruning_for(old: OldPruning, chosen: str | BasePruner | None, *, controls: bool = True) -> Pruning:
    """The pruner that was chosen, or the one that follows from the old study.

    Without PRUNED trials there that is none: its savings would be reported as those of control.

    Args:
        old: What the old study shows.
        chosen: A name of `PRUNERS`, a pruner of Optuna's, or None.
        controls: Whether a rate is controlled, which then has to arrive first.

    Raises:
        PlanError: There is no such pruner, or the study has several objectives.
    """
    named = isinstance(chosen, str) and chosen in PRUNERS
    if not (chosen is None or isinstance(chosen, BasePruner) or named):
        raise PlanError(f"--pruner must be one of {', '.join(PRUNERS)}, however: {chosen!r:.80}")
    if old.objectives > 1:
        if chosen not in (None, "none") and not isinstance(chosen, NopPruner):
            raise PlanError(
                f"a pruner compares one value, however: the study has {old.objectives} objectives; leave "
                "--pruner out"
            )
        return Pruning()
    seen = f"the old study pruned {old.pruned} of {plural(old.finished, 'trial')}" if old.pruned else None
    pruner, why = _chosen(old, chosen, seen)
    if why is not None and not controls:
        why = why.replace(f"; {ARRIVES}", "")
    return Pruning(pruner, why, old.reports, None if chosen else old.share)


def _chosen(
    old: OldPruning, chosen: str | BasePruner | None, seen: str | None
) -> tuple[BasePruner, str | None]:
    if isinstance(chosen, BasePruner):
        return chosen, f"Pruner: {type(chosen).__name__}, as given; {ARRIVES}."
    if chosen is None and seen is None:
        return NopPruner(), None
    if chosen == "none":
        return NopPruner(), None if seen is None else f"Pruner: none, as given; {seen}."
    pruner = PRUNERS[chosen or "median"](old.first_step)
    name = type(pruner).__name__
    if chosen is not None:
        return pruner, f"Pruner: {name}, as given; {ARRIVES}."
    since = f" from step {old.first_step} on" if old.first_step else ""
    return pruner, f"Pruner: {name}{since}, since {seen} ({UNRECORDED}); {ARRIVES}."


class CurveWatch:
    """Decides whether one running trial is pruned.

    Args:
        trial: From `study.ask`, before the objective is called.
        pruning: Of the smaller study.

    Attributes:
        capture: What is controlled in the present call of the objective. A copy of the trial in another
            process has none, and waits for its share of the reports.
    """

    def __init__(self, trial: optuna.trial.Trial, pruning: Pruning) -> None:
        frozen = trial._cached_frozen_trial
        self.capture: Capture | None = None
        self._pruning = pruning
        self._held, self._early, self._ended = 0, False, ""
        self._exempt = STAGE in frozen.user_attrs  # a repeat that is to confirm a match has to end
        if frozen.intermediate_values:  # queued with reports that no controlled training made
            self._exempt = True
            trial.set_user_attr(REPORTED_BEFORE, True)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "capture": None}

    def prunes(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial is to end now.

        The pruner is asked each time, also if the answer does not count yet: it may note at which value a
        trial came to which step.

        Args:
            study: The smaller study.
            trial: With what it has reported.
        """
        if self._exempt or isinstance(study.pruner, NopPruner):
            return False
        seen = _only_comparable(study, trial._trial_id)
        others = [one for one in seen.get_trials(deepcopy=False) if one.number != trial.number]
        made, most = len(trial.intermediate_values), _most_reports(others) or self._pruning.old_reports
        arrived, share_made = self._arrived(), bool(most) and SHARE * made >= most
        self._early |= arrived and not share_made
        if not study.pruner.prune(seen, trial):
            return False
        if not (arrived or share_made):
            self._held += 1
            return False
        if not self._is_allowed(others):
            return False
        why = "its rate had arrived" if arrived else f"a trial makes {plural(most, 'report')}"
        self._ended = f"{PRUNED_AFTER} {plural(made, 'report')}: {why}"
        return True

    def _arrived(self) -> bool:
        return self.capture is not None and self.capture.rates_arrived

    def _is_allowed(self, others: list[FrozenTrial]) -> bool:
        """Whether one more pruned trial is not much more than the old study would have pruned."""
        share = self._pruning.old_share
        if share is None:
            return True
        pruned = 1 + sum(one.state == TrialState.PRUNED for one in others)
        return pruned <= (EARLY_MOST if self._early else LATE_MOST) * share * (1 + len(others))

    def events(self, pruned: bool) -> list[RateEvent]:
        """What is to be said of it in the record of the trial.

        Args:
            pruned: Whether the trial ended so.
        """
        said = []
        if self._held:
            said.append(f"not pruned at {plural(self._held, 'report')}: its rate had not arrived")
        if pruned and self._ended:
            said.append(self._ended)
        return [RateEvent(0, 0, "pruning", words) for words in said]


class _ComparableTrials:
    """A storage in which a pruner sees one running trial and finished trials under control, no others.

    It is a storage and not a study, since some pruners make studies of their own from it.
    """

    def __init__(self, storage: BaseStorage, own: int) -> None:
        self._storage, self._own = storage, own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = self._storage.get_all_trials(study_id, deepcopy=deepcopy, states=states)
        return [trial for trial in found if trial._trial_id == self._own or _is_comparable(trial)]

    get_best_trial = BaseStorage.get_best_trial  # with the trials of the method above


def _only_comparable(study: optuna.Study, own: int) -> optuna.Study:
    """The study as a pruner is to see it."""
    storage = cast(BaseStorage, _ComparableTrials(study._storage, own))
    return optuna.Study(study.study_name, storage, study.sampler, study.pruner)


def _is_comparable(trial: FrozenTrial) -> bool:
    """Whether all that a trial reported comes from a training of the smaller search."""
    if trial.user_attrs.get(STAGE) in ("repeat", "pilot"):
        return False
    record = trial.user_attrs.get(RECORD)
    controlled = isinstance(record, Mapping) and bool(record.get("steps"))
    ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return ended and controlled and REPORTED_BEFORE not in trial.user_attrs


def _most_reports(trials: list[FrozenTrial]) -> int:
    complete = (trial for trial in trials if trial.state == TrialState.COMPLETE)
    return max((len(trial.intermediate_values) for trial in complete), default=0)
