"""When a pilot is over, and what it queues: pair after pair, each once the one before has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import PlanError
from galatune.formatting import plural, printable
from galatune.study.ledger.attributes import PILOT, PROCESS, STAGE, TICKET
from galatune.study.ledger.pilot import PilotTerms, pilot_of
from galatune.study.ledger.pilot_arm import ARMS, PilotArm
from galatune.study.ledger.pilot_choice import FEWEST_PAIRS
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import ledger
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.search.lanes import is_on_top, noted_ticket, pilot_tickets
from galatune.study.search.repeats import goal_in, repeats_left
from galatune.study.search.stopping import Budget
from galatune.study.search.warm_start import OldConfiguration

__all__ = ["OVER", "PilotBudget", "arm_of", "most_pairs", "nothing_but_failures", "search_began"]

OVER = "the pilot is over"
"""Why no other trial follows; a run goes on from there."""

DEFAULT_PAIRS = 5
"""At most, unless the user says otherwise,"""

MOST_SHARE = 0.15
"""and no more than this share of the old study's trials in trainings, but always `FEWEST_PAIRS`."""


def most_pairs(asked: int | None, old_trials: int) -> int:
    """Pairs at most.

    Args:
        asked: By the user; None for the default.
        old_trials: Finished trials of the old study.

    >>> most_pairs(None, 100), most_pairs(None, 50), most_pairs(None, 10), most_pairs(8, 10)
    (5, 3, 2, 8)
    """
    if asked is not None:
        return asked
    affordable = int(MOST_SHARE * old_trials) // len(ARMS)
    return max(FEWEST_PAIRS, min(DEFAULT_PAIRS, affordable))


def arm_of(trial: FrozenTrial) -> PilotArm | None:
    """The place in a pilot that a trial has; None of any other trial."""
    if trial.user_attrs.get(STAGE) != "pilot":
        return None
    return PilotArm.from_attribute(trial.user_attrs.get(PILOT))


def search_began(study: optuna.Study) -> bool:
    """Whether a trial of the search has ended or is at work."""
    for trial in study.get_trials(deepcopy=False):
        at_work = trial.state == TrialState.RUNNING and trial.user_attrs.get(PROCESS) is not None
        ended = trial.state.is_finished() and not is_interrupted(trial)
        if (at_work or ended) and not is_on_top(noted_ticket(trial)):
            return True
    return False


def nothing_but_failures(study: optuna.Study) -> bool:
    """Whether every trial that has ended failed, and one has."""
    ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and not is_interrupted(t)]
    return bool(ended) and all(trial.state == TrialState.FAIL for trial in ended)


@dataclass(frozen=True)
class PilotBudget(Budget):
    """A budget of pairs instead of trials of the search.

    Attributes:
        configurations: Of the old study, best first; a pair each, and again from the first if they are few.
        old_values: Old trial to its value.
        pairs: Pairs at most.
        margin: As asked for; None for that of the goal.
        old_trials: Finished trials of the old study.
        best_trial: Number of the old best.
        obeys_stop: False: the objective stops a search, which a pilot is not.
    """

    configurations: Sequence[OldConfiguration] = ()
    old_values: tuple[tuple[int, float], ...] = ()
    pairs: int = FEWEST_PAIRS
    margin: float | None = None
    old_trials: int = 0
    best_trial: int | None = None
    obeys_stop: bool = False

    def text(self) -> str:
        """One sentence for the beginning."""
        trainings = len(ARMS) * self.pairs
        share = 100 * trainings / self.old_trials if self.old_trials else 0.0
        words = (
            f"at most {plural(self.pairs, 'pair')} of trainings, one controlled and one with the rate fixed, "
            f"fewer once a way is chosen ({trainings} trainings are {share:.0f} % of the old study's)"
        )
        if self.old_best is not None and (self.goal is None or self.goal.repeats is None):
            words += (
                f"; before them {plural(self.old_best.repeats, 'repeat')} of the old best at its own rate"
            )
        return words

    def counts(self, trial: FrozenTrial) -> bool:
        """Whether a trial is one of the pilot's, or a repeat, and has ended."""
        staged = trial.user_attrs.get(STAGE) in ("repeat", "pilot")
        return staged and trial.state.is_finished() and not is_interrupted(trial)

    def prepare(self, study: optuna.Study) -> None:
        """Set the terms once the old best was repeated, then queue the next pair."""
        if repeats_left(study):
            return
        if not PilotTerms.from_attribute(Provenance.of(study).pilot):
            study.set_user_attr(PILOT, self._terms(study).to_attribute())
        report = pilot_of(ledger(study))
        if report is None or report.over:
            return
        number = len(report.values)
        chosen = self.configurations[number % len(self.configurations)]
        pair = report.first + number
        known = {noted_ticket(trial) for trial in study.get_trials(deepcopy=False)}
        for arm, ticket in zip(ARMS, pilot_tickets(pair), strict=True):
            if ticket not in known:
                place = PilotArm(pair, arm, chosen.trial)
                attributes = {STAGE: "pilot", PILOT: place.to_attribute(), TICKET: ticket}
                study.enqueue_trial(dict(chosen.params), user_attrs=attributes)

    def _terms(self, study: optuna.Study) -> PilotTerms:
        goal = goal_in(study, self.goal)
        assert goal is not None  # an old study without a complete trial is refused
        repeats = goal.repeats
        places = [arm_of(trial) for trial in study.get_trials(deepcopy=False)]
        return PilotTerms(
            most=self.pairs,
            margin=goal.margin if self.margin is None else self.margin,
            goal=goal.best,
            old_best=goal.best if repeats is None else repeats.old_best,
            error=None if repeats is None else repeats.standard_error,
            repeats=0 if repeats is None else len(repeats.values),
            old_trials=self.old_trials,
            old_values=dict(self.old_values),
            first=max((place.pair + 1 for place in places if place is not None), default=0),
            best_trial=self.best_trial,
        )

    def stop_reason(self, study: optuna.Study) -> str | None:
        """That it is over; None while it is not, also if other processes do the rest."""
        report = pilot_of(ledger(study))
        return OVER if report is not None and report.over else None

    def open_tickets(self, study: optuna.Study) -> int:
        """None: no trial of the search belongs to a pilot."""
        return 0

    def to_confirm(self, study: optuna.Study) -> FrozenTrial | None:
        """Nothing is confirmed."""
        return None

    def check(self, study: optuna.Study, asked: int | None) -> None:
        """Refuse other terms than those that a pilot was begun with.

        Args:
            study: The smaller study.
            asked: Pairs that the user asked for, None if none.

        Raises:
            PlanError: They differ, or the search has begun without its choice.
        """
        name = printable(study.study_name)
        terms, report = PilotTerms.from_attribute(Provenance.of(study).pilot), pilot_of(ledger(study))
        if search_began(study) and (report is None or not report.over):
            raise PlanError(
                f"a pilot comes before the search, however: study {name!r} has begun its search; choose "
                "another with --name"
            )
        if terms is None:
            return
        if asked is not None and asked != terms.most:
            raise PlanError(
                f"the pilot in study {name!r} was begun with at most {plural(terms.most, 'pair')}, however: "
                f"--pairs {asked}; leave it out, or choose another study with --name"
            )
        if self.margin is not None and self.margin != terms.margin:
            raise PlanError(
                f"the pilot in study {name!r} was begun with a margin of {terms.margin:.6g}, however: "
                f"--margin {self.margin:.6g}; leave it out, or choose another study with --name"
            )
