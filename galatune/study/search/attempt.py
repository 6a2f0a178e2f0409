"""The calls of the objective that one trial takes: one, or several if it is begun again before it trains."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import optuna
from optuna.trial import TrialState

from galatune.controller.controlled import Capture, controlled
from galatune.controller.torch_hooks.random_state import reseeded, seed_everything
from galatune.controller.torch_hooks.traced_rates import tracing
from galatune.errors import GalatuneError
from galatune.formatting import listed, plural
from galatune.study.ledger.record import RateEvent
from galatune.study.search.objective import Objective, in_one_line, said_by
from galatune.study.search.only_here import only_in_this_process
from galatune.study.search.options import Search
from galatune.study.search.placeholder_trial import PlaceholderTrial
from galatune.study.search.pruning import CurveWatch
from galatune.study.search.second_construction import StoppedAtFirstStep, moved_rates
from galatune.study.search.select_optimizers import OptimizerSelection, rate_names

__all__ = ["Attempt", "Outcome", "attempt", "outcome_of"]

NOT_THE_TYPE = (ImportError, OSError, MemoryError, GalatuneError)
"""What no script raises because a number is of a class that it does not expect."""

NUMBER_CLASSES = re.compile(r"\b(float|int|float64)\b")


@dataclass(frozen=True)
class Outcome:
    """How one call of the objective ended.

    Attributes:
        state: COMPLETE, PRUNED or FAIL.
        values: Objective values if COMPLETE, None otherwise.
        reason: Why it is FAIL, None otherwise.
        error: What the objective raised, None if it returned or was pruned.
        own_step: The choice that led to an optimizer that sets its own step; None in every other trial.
    """

    state: TrialState
    values: tuple[float, ...] | None = None
    reason: str | None = None
    error: BaseException | None = field(default=None, repr=False)
    own_step: str | None = None

    @property
    def words(self) -> str:
        """The reason, or the state if there is none."""
        return self.reason or self.state.name


@dataclass(frozen=True)
class Attempt:
    """One call of the objective.

    Attributes:
        outcome: How it ended.
        capture: What was controlled.
        trial: What it was called with.
        selection: What decided which optimizers are controlled.
        caught: Whether the objective was stopped, caught that and went on.
        events: What is to be said of it beside the events of the controllers.
    """

    outcome: Outcome
    capture: Capture
    trial: PlaceholderTrial
    selection: OptimizerSelection
    caught: bool = False
    events: tuple[RateEvent, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether any optimizer was allowed to step."""
        return bool(self.capture.controllers or self.capture.left_alone)


def attempt(search: Search, trial: optuna.trial.Trial, seed: int) -> Attempt:
    """Call the objective, each time with the same seed, until a call is the trial.

    It is called again if nobody knows which optimizers follow the dropped rates, once in a run, and if it
    ends before it has trained: some code refuses every number whose class is not Python's own.
    """
    knowledge = search.knowledge
    notes: list[str] = []
    refusal: Attempt | None = None
    curve = CurveWatch(trial, search.pruning)
    while True:
        made = _call(search, trial, seed, curve)
        if made.selection.stopped is not None:
            notes.append(_compare(search, trial, seed, curve, made))
        elif refusal is None and _may_refuse(made) and made.outcome.words not in knowledge.acquitted:
            refusal, knowledge.traces = made, False
        else:
            break
    outcome, compared = _blamed(search, made), bool(notes)
    if refusal is not None:
        notes += _judged_refusal(search, refusal, made)
    if compared and not made.trained and outcome.reason is not None:
        why = f"{outcome.reason}; it was begun before in this trial, and may have left something behind"
        outcome = replace(outcome, reason=why)
    events = [RateEvent(0, 0, "lineage", note) for note in notes]
    events += made.trial.events + curve.events(pruned=outcome.state == TrialState.PRUNED)
    if made.capture.controllers and reseeded(seed):
        events.append(RateEvent(0, 0, "seed", "the objective seeds torch itself"))
    return replace(made, outcome=outcome, events=tuple(events))


def _call(
    search: Search,
    trial: optuna.trial.Trial,
    seed: int,
    curve: CurveWatch,
    varied: Collection[str] = (),
    stop: bool = False,
) -> Attempt:
    """One call; with ``stop``, it ends at the first step of any optimizer."""
    plan, knowledge = search.plan, search.knowledge
    traced = rate_names(plan) if knowledge.traces else ()
    adopted = PlaceholderTrial.adopt(trial, plan.placeholders, traced=traced, varied=varied, curve=curve)
    selection = OptimizerSelection(plan, knowledge, adopted, stop=stop, prior=search.options.prior)
    with tracing(), controlled(select=selection, **search.control()) as capture:
        curve.capture = capture
        if search.watcher is not None and not stop:
            search.watcher.trial_started(trial.number, capture)
        seed_everything(seed)
        try:
            outcome = outcome_of(search.objective, adopted, len(search.study.directions))
        except StoppedAtFirstStep:
            return Attempt(Outcome(TrialState.FAIL, reason="stopped"), capture, adopted, selection)
    return Attempt(outcome, capture, adopted, selection, caught=selection.stopped is not None)


def _compare(search: Search, trial: optuna.trial.Trial, seed: int, curve: CurveWatch, first: Attempt) -> str:
    """Begin the training a second time, with other answers, and remember whose rates moved."""
    knowledge = search.knowledge
    knowledge.compares = False
    second = _call(search, trial, seed, curve, varied=rate_names(search.plan), stop=True)
    names = listed(search.plan.placeholders)
    words = (
        f"the objective was begun three times, twice up to its first step, with two values of {names}, to "
        "see whose rate moves"
    )
    if first.caught or second.caught:
        return f"{words}: unknown, since the objective caught the stop"
    moved = moved_rates(first.selection.stopped or (), second.selection.stopped or ())
    if moved is None:
        return f"{words}: unknown, since it built other optimizers the second time"
    knowledge.moved = moved
    return f"{words}: {sum(moves for _, moves in moved)} of {len(moved)}"


def _may_refuse(made: Attempt) -> bool:
    """Whether it ended before it has trained, and may have done so for the class of a number."""
    if made.trained or isinstance(made.outcome.error, NOT_THE_TYPE):
        return False
    return bool(made.trial.origins)


def _judged_refusal(search: Search, refusal: Attempt, made: Attempt) -> list[str]:
    """What is to be said of a call that ended early, now that another one had plain numbers."""
    first, second = refusal.outcome, made.outcome
    if made.trained or (first.error is not None and second.error is None):
        return [f"the objective refuses numbers that know their origin ({first.words:.80}): now plain ones"]
    search.knowledge.traces = True  # it was something else
    search.knowledge.acquitted.add(first.words)
    return []


def _blamed(search: Search, made: Attempt) -> Outcome:
    """The outcome; if the class of a number may be why it failed late, numbers are plain from now on."""
    ended = made.outcome
    if ended.error is None or isinstance(ended.error, NOT_THE_TYPE) or not made.trained:
        return ended
    if not made.trial.origins or not NUMBER_CLASSES.search(said_by(ended.error)):
        return ended
    search.knowledge.traces = False
    names = listed([origin.name for origin in made.trial.origins])
    why = f"{ended.reason}; if it refuses the class of {names}: from the next trial on it is a plain number"
    return replace(ended, reason=why)


def outcome_of(objective: Objective, trial: PlaceholderTrial, objectives: int) -> Outcome:
    """Call an objective, and say how that ended.

    Args:
        objective: As the user gave it.
        trial: What it is called with.
        objectives: Number of values that it has to return.
    """
    try:
        with only_in_this_process():
            result = objective(trial)
    except optuna.TrialPruned:
        return Outcome(TrialState.PRUNED)
    except (KeyboardInterrupt, StoppedAtFirstStep, optuna.exceptions.StorageInternalError):
        raise
    except BaseException as error:  # SystemExit, CancelledError, the objective's own
        return Outcome(TrialState.FAIL, reason=in_one_line(error), error=error)
    values = result if isinstance(result, (list, tuple)) else [result]
    try:
        numbers = tuple(float(value) for value in values)
    except OverflowError:
        return Outcome(TrialState.FAIL, reason="the objective returned an integer beyond every float")
    except Exception:  # whatever the conversion of somebody's own type raises
        return Outcome(TrialState.FAIL, reason=f"the objective returned {_shown(result)}, not a number")
    return _judged(numbers, objectives)


def _judged(numbers: tuple[float, ...], objectives: int) -> Outcome:
    if len(numbers) != objectives:
        return Outcome(
            TrialState.FAIL,
            reason=f"the objective returned {plural(len(numbers), 'value')}, the study has {objectives}",
        )
    if any(math.isnan(number) for number in numbers):
        return Outcome(TrialState.FAIL, reason="the objective returned NaN")
    return Outcome(TrialState.COMPLETE, numbers)


def _shown(result: object) -> str:
    """The beginning of a value's text; some values have none."""
    try:
        return f"{result!r:.80}"
    except Exception:
        return f"a {type(result).__name__}"
