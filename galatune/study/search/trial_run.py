"""One trial of the smaller study: the unchanged objective is called once, its rates controlled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import TrialState

from galatune.controller.controlled import Capture
from galatune.controller.controller import Controller
from galatune.errors import ObjectiveError
from galatune.formatting import printable
from galatune.study.ledger.attributes import OWN_STEP, POLISH, REASON, RECORD
from galatune.study.ledger.machine import this_machine, versions
from galatune.study.ledger.pilot_arm import PilotArm
from galatune.study.ledger.polish import Polish
from galatune.study.ledger.provenance import note_stop
from galatune.study.ledger.record import OptimizerRecord, RateEvent, RatePoint, TrialRecord
from galatune.study.ledger.rows import ledger
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.attempt import Outcome, attempt
from galatune.study.search.best_so_far import best_so_far
from galatune.study.search.control_off import fixed_attempt
from galatune.study.search.lanes import pilot_tickets
from galatune.study.search.options import Search
from galatune.study.search.own_step import own_step
from galatune.study.search.pilot_budget import arm_of
from galatune.study.search.placeholder_trial import PlaceholderTrial
from galatune.study.search.quota import as_stored, ticket_of
from galatune.study.search.repeats import mark, old_rates
from galatune.study.search.signals import Interruption
from galatune.study.storage.database import note

__all__ = ["nothing_controlled", "record_of", "run_trial"]

NO_OPTIMIZER = (
    "no torch optimizer stepped in this process, so nothing was controlled; a training in another process or "
    "another framework cannot be"
)
WHAT_TO_DO = "If other configurations are trained with torch, the same command goes on with the next one"


def run_trial(search: Search, trial: optuna.trial.Trial, interruption: Interruption) -> Outcome:
    """Call the objective, record what was controlled, and tell the study.

    A trial becomes FAIL if no learning rate was controlled in it, or if it searched another space.
    Otherwise it would be reported as a saving although no rate was controlled.

    Raises:
        KeyboardInterrupt: The trial was interrupted and is still RUNNING.
        ObjectiveError: No torch optimizer stepped in this trial, nor in any before: the next would cost as
            much for nothing.
    """
    with best_so_far(search.study):
        ended, record = _under_control(search, trial)
    interruption.check()
    with interruption.held():
        try:
            _write_down(search.study, trial, ended, record)
        except (RuntimeError, ValueError):
            if not as_stored(search.study, trial).state.is_finished():
                raise  # else it was released: another process took this one for gone
    alone = ended.reason == NO_OPTIMIZER or _repeated_without_torch(search, trial, ended, record)
    if alone and not _controlled_before(search.study):
        note_stop(search.study, NO_OPTIMIZER)
        raise ObjectiveError(f"Trial {trial.number} ended the run: {NO_OPTIMIZER}. {WHAT_TO_DO}")
    return ended


def _write_down(study: optuna.Study, trial: optuna.trial.Trial, ended: Outcome, record: TrialRecord) -> None:
    attributes: dict[str, Any] = {RECORD: record.to_attribute(), **record.scalars}
    if ended.reason is not None:
        attributes[REASON] = ended.reason
    if ended.own_step is not None:
        attributes[OWN_STEP] = ended.own_step
    note(trial, attributes)
    study.tell(trial, ended.values, state=ended.state)


def _repeated_without_torch(
    search: Search, trial: optuna.trial.Trial, ended: Outcome, record: TrialRecord
) -> bool:
    """Whether the first trial of all repeats the old best and ended without a step of a torch optimizer."""
    if ended.state != TrialState.COMPLETE or record.optimizers or search.options.control == "off":
        return False
    trials = search.study.get_trials(deepcopy=False)
    first = sum(one.state.is_finished() for one in trials) == 1
    return first and old_rates(as_stored(search.study, trial)) is not None


def _controlled_before(study: optuna.Study) -> bool:
    records = [row.record for row in ledger(study).rows]
    return any(record is not None and record.controlled for record in records)


def _under_control(search: Search, trial: optuna.trial.Trial) -> tuple[Outcome, TrialRecord]:
    seed = search.options.seed + ticket_of(search.study, trial)
    frozen = as_stored(search.study, trial)
    if (place := arm_of(frozen)) is not None:
        return _of_a_pilot(search, trial, place)
    if (rates := old_rates(frozen)) is not None:
        mark(trial)
        return _at_fixed_rate(search, trial, seed, rates)
    polish = Polish.from_attribute(frozen.user_attrs.get(POLISH))
    if polish is not None and polish.rates:
        return _at_fixed_rate(search, trial, seed, {**search.plan.placeholders, **polish.rates})
    if polish is not None:
        search = replace(search, step_scale_factor=polish.step_scale_factor)
    if search.options.control == "off":
        return _at_fixed_rate(search, trial, seed, search.plan.placeholders)
    return _controlled(search, trial, seed)


def _of_a_pilot(search: Search, trial: optuna.trial.Trial, place: PilotArm) -> tuple[Outcome, TrialRecord]:
    """One training of a pair, as a trial of the search would be run in that way."""
    mark(trial)
    seed = search.options.seed + pilot_tickets(place.pair)[0]
    if place.arm == "fixed":
        return _at_fixed_rate(search, trial, seed, search.plan.placeholders)
    return _controlled(search, trial, seed)


def _controlled(search: Search, trial: optuna.trial.Trial, seed: int) -> tuple[Outcome, TrialRecord]:
    made = attempt(search, trial, seed)
    ended, record = made.outcome, record_of(made.capture, made.events)
    own = own_step(made, search.plan)
    if own is not None:
        return Outcome(TrialState.FAIL, reason=own.reason, own_step=own.choice), record
    # One that is pruned before it trains, for an impossible configuration, has trained on nothing.
    trained = ended.state == TrialState.COMPLETE or bool(made.capture.left_alone)
    if ended.state != TrialState.FAIL and trained:
        why = _of_another_study(made.trial, search.plan) or (
            _nothing_seen(made.capture) if record.controlled else nothing_controlled(made.capture)
        )
        ended = ended if why is None else Outcome(TrialState.FAIL, reason=why)
    return ended, record


def _at_fixed_rate(
    search: Search, trial: optuna.trial.Trial, seed: int, rates: Mapping[str, Any]
) -> tuple[Outcome, TrialRecord]:
    """Without control: a trial may train with any framework, or with an optimizer that sets its own step."""
    ended, record, adopted = fixed_attempt(search, trial, seed, rates)
    why = _of_another_study(adopted, search.plan) if ended.state == TrialState.COMPLETE else None
    return ended if why is None else Outcome(TrialState.FAIL, reason=why), record


def _of_another_study(trial: PlaceholderTrial, plan: ShrinkPlan) -> str | None:
    """Why the objective cannot be that of the old study, None if it may be.

    Parameters that the old study does not have are no reason by themselves: they may have been added since.
    """
    foreign = [name for name in trial.params if name not in plan.kept]
    if trial.answered or not foreign:
        return None
    listed = ", ".join(map(printable, foreign[:3])) + (", ..." if len(foreign) > 3 else "")
    return (
        f"the objective suggests {listed}, which study {printable(plan.study)!r} does not have, and no "
        f"{' or '.join(map(printable, plan.placeholders))}: it belongs to another study"
    )


def nothing_controlled(capture: Capture) -> str:
    """Why, in words."""
    if capture.left_alone:
        seen = "; ".join(f"{one.name}: {one.reason}" for one in capture.left_alone[:3])
        return f"no learning rate was controlled, so the trial trained at the rate that was fixed ({seen})"
    return NO_OPTIMIZER


def _nothing_seen(capture: Capture) -> str | None:
    """Why no rate was chosen although steps were to be probed; None if a rate of one optimizer was.

    One that was never probed, its training too short or without a gradient, is no reason.
    """
    controllers = [capture.controllers[place] for place in capture.places]
    unseen = [(name, one.unseen) for name, one in zip(capture.names, controllers, strict=True)]
    reasons = [f"{name}: {why}" for name, why in unseen if why is not None]
    if not reasons or any(one.probes and one.unseen is None for one in capture.controllers):
        return None
    return f"no learning rate was chosen, so the trial trained at the first one ({'; '.join(reasons[:3])})"


def record_of(capture: Capture, notes: Sequence[RateEvent]) -> TrialRecord:
    """Read after the optimizers were let go, when a training that was too short is known."""
    controllers = capture.controllers
    stepped = [
        OptimizerRecord(name, True, controllers[place].probe, reason, _prior(controllers[place]))
        for name, reason, place in zip(capture.names, capture.reasons, capture.places, strict=True)
    ]
    firsts = [capture.places.index(i) for i in range(len(controllers))]  # of optimizers made anew
    alone = [OptimizerRecord(one.name, False, None, one.reason) for one in capture.left_alone]
    events = [event for i, one in zip(firsts, controllers, strict=True) for event in _events(i, one)]
    return TrialRecord(
        optimizers=(*stepped, *alone),
        steps=sum(controller.steps for controller in controllers),
        probes=sum(controller.probes for controller in controllers),
        gradient_evaluations=sum(controller.gradient_evaluations for controller in controllers),
        learning_rate=_curves(firsts, controllers),
        events=(*notes, *events),
        machine={**this_machine(), "device": capture.device},
        versions=versions(),
    )


def _prior(controller: Controller) -> tuple[float, float] | None:
    known = controller.prior
    return None if known is None else (known.rate, known.spread)


def _events(index: int, controller: Controller) -> list[RateEvent]:
    return [RateEvent(index, event.step, event.kind, event.reason) for event in controller.events]


def _curves(firsts: list[int], controllers: list[Controller]) -> tuple[RatePoint, ...]:
    return tuple(
        RatePoint(i, step, rate)
        for i, controller in zip(firsts, controllers, strict=True)
        for step, rate in controller.rate_curve.points()
    )
