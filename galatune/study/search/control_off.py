"""A trial of ``--control off``: the dropped rates are fixed, and nothing is controlled."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from galatune.controller.controlled import Capture, Choice, LeftAlone, device_of
from galatune.controller.options import Options
from galatune.controller.torch_hooks.lr_schedule import RateCurve
from galatune.controller.torch_hooks.optimizer_watch import watched_by
from galatune.controller.torch_hooks.random_state import reseeded, seed_everything
from galatune.errors import PlanError
from galatune.formatting import printable
from galatune.study.ledger.machine import this_machine, versions
from galatune.study.ledger.provenance import CONTROL_OPTIONS
from galatune.study.ledger.record import OptimizerRecord, RateEvent, RatePoint, TrialRecord
from galatune.study.search.attempt import Outcome, outcome_of
from galatune.study.search.options import RunOptions, Search
from galatune.study.search.placeholder_trial import PlaceholderTrial
from galatune.study.search.pruning import CurveWatch

__all__ = ["FixedRates", "check_control", "fixed_attempt"]


def check_control(options: RunOptions) -> None:
    """Refuse what contradicts a rate that is fixed.

    Raises:
        PlanError: ``control`` is neither "on" nor "off", or it is "off" and an option is of control.
    """
    if options.control not in ("on", "off", None):
        raise PlanError(f"--control must be on or off, however: {options.control!r:.80}")
    if options.control != "off":
        return
    for name in CONTROL_OPTIONS:
        if getattr(options, name) != getattr(RunOptions(), name):
            said = "max-growth" if name == "max_growth_per_step" else name.replace("_", "-")
            raise PlanError(
                f"--control off fixes the rate, so --{said} has no meaning; leave one of them out"
            )


class FixedRates(Capture):
    """Counts the steps of every optimizer, and controls none.

    Attributes:
        optimizers: Class name of each optimizer that stepped, in the order of first steps.
        steps: Steps of each of them.
    """

    rates_arrived = True  # they were there from the first step

    def __init__(self) -> None:
        super().__init__(Options(), lambda *_: Choice(False, "its rate is fixed"))
        self.optimizers: list[str] = []
        self.steps: list[int] = []
        self._curves: list[RateCurve] = []
        self._place: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._latest: float | None = None

    @property
    def learning_rate(self) -> float | None:
        """Rate of the last step, None before any."""
        return self._latest

    def stepping(self, optimizer: Any) -> None:
        """An optimizer is about to step; of one within another, only the inner one counts."""
        super().stepping(optimizer)
        place = self._place.get(optimizer)
        if place is None:
            return
        self.steps[place] += 1
        self._latest = max(self._initial[optimizer].present(), default=0.0)
        self._curves[place].add(self.steps[place], self._latest)

    def loaded(self, optimizer: Any) -> None:
        """A state that was loaded needs nothing."""

    def _leave(self, optimizer: Any, left: LeftAlone) -> None:
        super()._leave(optimizer, left)
        if not self.optimizers:
            self.device = device_of(optimizer)
        self._place[optimizer] = len(self.optimizers)
        self.optimizers.append(left.name)
        self.steps.append(0)
        self._curves.append(RateCurve())

    def record(self, fixed: Mapping[str, Any], events: list[RateEvent]) -> TrialRecord:
        """What a trial leaves behind: as many gradients as steps, since nothing was probed.

        Args:
            fixed: Dropped dimension to the value that it was fixed at.
            events: What is to be said beside.
        """
        values = ", ".join(f"{printable(name)}={value!s:.20}" for name, value in fixed.items())
        reason = f"nothing is controlled: {values} fixed"
        return TrialRecord(
            optimizers=tuple(OptimizerRecord(name, False, None, reason) for name in self.optimizers),
            steps=sum(self.steps),
            probes=0,
            gradient_evaluations=sum(self.steps),
            learning_rate=tuple(
                RatePoint(place, step, rate)
                for place, curve in enumerate(self._curves)
                for step, rate in curve.points()
            ),
            events=tuple(events),
            machine={**this_machine(), "device": self.device},
            versions=versions(),
        )


def fixed_attempt(
    search: Search, trial: optuna.trial.Trial, seed: int, fixed: Mapping[str, Any]
) -> tuple[Outcome, TrialRecord, PlaceholderTrial]:
    """Call the objective once, with the dropped dimensions fixed and the optimizers left alone.

    Args:
        search: The smaller search.
        trial: From `study.ask`.
        seed: Of this trial.
        fixed: Dropped dimension to its value.
    """
    curve = CurveWatch(trial, search.pruning)
    adopted = PlaceholderTrial.adopt(trial, fixed, curve=curve)
    rates = curve.capture = FixedRates()
    with watched_by(rates):
        if search.watcher is not None:
            search.watcher.trial_started(trial.number, rates)
        seed_everything(seed)
        outcome = outcome_of(search.objective, adopted, len(search.study.directions))
    events = adopted.events + curve.events(pruned=outcome.state == TrialState.PRUNED)
    if rates.optimizers and reseeded(seed):
        events.append(RateEvent(0, 0, "seed", "the objective seeds torch itself"))
    return outcome, rates.record(fixed, events), adopted
