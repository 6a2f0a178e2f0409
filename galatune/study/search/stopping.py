"""When the smaller search ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import PlanError
from galatune.formatting import plural, printable
from galatune.study.ledger.attributes import OWN_STEP
from galatune.study.ledger.ending import AT_WORK, MATCHED, STALE, TRIED
from galatune.study.ledger.match import Goal, goal_of, trials_since_best, trials_to_reach
from galatune.study.ledger.rows import Ledger, ledger
from galatune.study.search.confirm import next_to_confirm
from galatune.study.search.finite_space import finite_space
from galatune.study.search.lanes import MOST_REPEATS, is_on_top, noted_ticket
from galatune.study.search.quota import running, uses_ticket
from galatune.study.search.repeats import OldBest, best_to_repeat, goal_in, repeats_left
from galatune.study.search.searched_view import searched

__all__ = ["AT_WORK", "Budget", "budget_for"]


SEVERAL = "the old best is not repeated, since several objectives have no single best trial"
"""What is said of repeats if there are several objectives."""


@dataclass(frozen=True)
class Budget:
    """How many trials, and what ends the search sooner.

    Attributes:
        trials: Tickets: each COMPLETE, PRUNED or FAILed trial of the search uses one, unless its optimizer
            sets its own step. Repeats come on top.
        goal: What the old study alone sets as the goal; `goal_in` says what the repeats made of it. None if
            nothing need be reached.
        patience: Trials without a better value that end the search, None for no such bound.
        confirm: Repeats of a trial that matches, whose mean has to match; 0 if one match is enough.
        until_match: Whether a match ends the search.
        tries_again: Whether the search goes on once every configuration of a finite space was tried.
        old_best: What is repeated before the search; None for nothing.
        note: Why nothing is repeated although that was asked for.
        whole_grid: Whether `trials` are the cells of a grid, each tried once.
        obeys_stop: Whether the objective may end the search with ``trial.study.stop()``.
    """

    trials: int
    goal: Goal | None = None
    patience: int | None = None
    confirm: int = 0
    until_match: bool = True
    tries_again: bool = True
    old_best: OldBest | None = None
    note: str | None = None
    whole_grid: bool = False
    obeys_stop: bool = True

    def text(self) -> str:
        """One sentence for the beginning of the run."""
        words = plural(self.trials, "trial")
        if self.goal is not None and self.until_match:
            words = f"until {self._match_text(self.goal)}, at most {words}"
        if self.patience is not None:
            words += f", fewer once {plural(self.patience, 'trial')} {STALE}"
        repeats = self.old_best.repeats if self.old_best is not None and not _is_settled(self.goal) else 0
        counts = ((repeats, "the old best at its own rate"), (self.confirm, "a trial that matches"))
        on_top = [f"{plural(count, 'repeat')} of {what}" for count, what in counts if count]
        words += f"; on top of that {' and '.join(on_top)}" if on_top else ""
        return words if self.note is None else f"{words}; {self.note}"

    def _match_text(self, goal: Goal) -> str:
        if self.old_best is not None and not _is_settled(goal):
            return f"a trial reaches what the old best reaches when it is repeated (it was {goal.best:.6g})"
        what = "a trial reaches" if goal.reference_point is None else "the hypervolume reaches"
        again = goal.repeats is not None and bool(goal.repeats.values)
        old = "mean of the old best's repeats" if again else "old best"
        return f"{what} {goal.threshold:.6g} ({old} {goal.best:.6g}, tolerance {100 * goal.tolerance:.3g} %)"

    def begun(self, study: optuna.Study) -> Budget:
        """With the goal and the repeats that a smaller study was begun with."""
        best = best_to_repeat(study, self.old_best)
        lost = self.old_best is not None and best is None
        note = "the old best is not repeated, since this search began without that" if lost else self.note
        return replace(self, goal=goal_in(study, self.goal), old_best=best, note=note)

    def counts(self, trial: FrozenTrial) -> bool:
        """Whether a trial has used one of `trials`."""
        return uses_ticket(trial)

    def used(self, study: optuna.Study) -> int:
        """Tickets used so far."""
        return sum(self.counts(trial) for trial in study.get_trials(deepcopy=False))

    def prepare(self, study: optuna.Study) -> None:
        """Queue what follows, before it is asked why no other trial does."""

    def open_tickets(self, study: optuna.Study) -> int:
        """Tickets that may begin.

        None of the search before every repeat of the old best has ended, nor once nothing but a confirmation
        or a polish is left.
        """
        over = self._end(study) is not None or (self.until_match and self._matched(study) is not None)
        return 0 if over or repeats_left(study) else self.trials

    def stop_reason(self, study: optuna.Study) -> str | None:
        """Why the search is over, None while it is not."""
        if repeats_left(study):
            return None
        matched = self._matched(study) if self.until_match else None
        if matched is not None:
            return matched
        reason = self._end(study)
        if reason is None or self._waits(study) or self.to_confirm(study) is not None:
            return None
        at_work = _running_on_top(study)
        return (
            f"what comes on top of the budget is {AT_WORK}"
            if at_work and not reason.endswith(AT_WORK)
            else reason
        )

    def _matched(self, study: optuna.Study) -> str | None:
        goal = goal_in(study, self.goal)
        if goal is None:
            return None
        rows = ledger(study)
        reached = trials_to_reach(_confirmable(rows, self.confirm), goal, confirmed=bool(self.confirm))
        if reached is None:
            return None
        words = f"{MATCHED} after {plural(reached, 'trial')}"
        return f"{words}, confirmed by repeats" if self.confirm else words

    def _end(self, study: optuna.Study) -> str | None:
        """Why no other trial of the search begins."""
        used = self.used(study)
        if used > self.trials:
            return f"{plural(used, 'trial')} are done, more than the budget of {self.trials}"
        if used == self.trials:
            return (
                _all_tried(used) if self.whole_grid else f"the budget of {plural(used, 'trial')} is used up"
            )
        if used + running(study) >= self.trials:
            return f"the rest of the budget of {plural(self.trials, 'trial')} is {AT_WORK}"
        if self.patience is not None and _stale(ledger(study), _not_searched(study)) >= self.patience:
            return f"{plural(self.patience, 'trial')} {STALE}"
        return self._exhausted(study)

    def _exhausted(self, study: optuna.Study) -> str | None:
        """That every configuration was tried and none is to be tried again; None otherwise."""
        trials = searched(study).get_trials(deepcopy=False)
        space = None if self.tries_again else finite_space(trials)
        if space is None or space.untried(trials):
            return None
        if running(study):
            return f"the rest of {plural(space.size, 'configuration')} is {AT_WORK}"
        return _all_tried(space.size)

    def _waits(self, study: optuna.Study) -> bool:
        """Whether a repeat waits that nobody runs."""
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return any(is_on_top(noted_ticket(trial)) for trial in waiting)

    def to_confirm(self, study: optuna.Study) -> FrozenTrial | None:
        """A trial that matches and whose repeats are not all queued; None if there is none.

        A match that does not end the search is confirmed after it. One configuration is confirmed at a time,
        and none twice; `next_to_confirm` says how many in all.
        """
        goal = goal_in(study, self.goal)
        if goal is None or not self.confirm or goal.reference_point is not None or repeats_left(study):
            return None
        if not self.until_match and self._end(study) is None:
            return None
        return next_to_confirm(study.get_trials(deepcopy=False), goal, self.confirm, self.trials)


def _all_tried(count: int) -> str:
    what = plural(count, "configuration")
    return f"all {what} {TRIED} more trials, asked for with --trials, repeat them with other seeds"


def budget_for(
    old: optuna.Study,
    dropped: Mapping[str, Any],
    *,
    trials: int | None,
    until_match: bool,
    tolerance: float,
    patience: int | None,
    confirm: bool | None,
    repeats: int,
) -> Budget:
    """The budget that options ask for.

    Args:
        old: The old study; only read.
        dropped: Dropped dimension to the value that it is fixed at.
        trials: Number of trials; None for as many as the old study finished.
        until_match: End as soon as the old best is matched. This is also done if ``trials`` is None.
        tolerance: Share of |median - best| of the old values that counts as no difference.
        patience: See `Budget`.
        confirm: Whether a match has to be confirmed by repeats; None if the old best is repeated.
        repeats: How often the old best is repeated, and a match; a match once if this is 0 and it has to be
            confirmed.

    Raises:
        PlanError: The old study has nothing to match, or a number is out of range.
    """
    _check(old, trials, patience, tolerance, confirm, repeats)
    rows = ledger(old)
    looks = trials is None or until_match
    goal = goal_of(rows, tolerance)
    if goal is None and looks:
        raise PlanError(
            f"study {printable(old.study_name)!r} has no complete trial, so there is nothing to match; "
            "say how many trials with --trials"
        )
    single = len(old.directions) == 1
    best = OldBest.of(rows, dropped, repeats) if single and repeats else None
    confirms = max(repeats, 1) if single and (repeats > 0 if confirm is None else confirm) else 0
    if goal is None or not (looks or repeats or confirm):
        goal, confirms = None, 0
    finished = sum(trial.state.is_finished() for trial in old.get_trials(deepcopy=False))
    note = None if single or not repeats or goal is None else SEVERAL
    return Budget(trials or finished, goal, patience, confirms, looks, trials is not None, best, note)


def _check(
    old: optuna.Study,
    trials: int | None,
    patience: int | None,
    tolerance: float,
    confirm: bool | None,
    repeats: int,
) -> None:
    if trials is not None and trials < 1:
        raise PlanError(f"--trials must be at least 1, however: {trials}")
    if patience is not None and patience < 1:
        raise PlanError(f"--patience must be at least 1, however: {patience}")
    if not 0 <= tolerance < 1:
        raise PlanError(f"--tolerance must lie in [0, 1), however: {tolerance:g}")
    if not 0 <= repeats <= MOST_REPEATS:
        raise PlanError(f"--repeats must lie between 0 and {MOST_REPEATS}, however: {repeats}")
    if confirm and len(old.directions) > 1:
        raise PlanError(
            "--confirm repeats the one trial that matched, however: the study has "
            f"{len(old.directions)} objectives, which only several trials match together; leave it out"
        )


def _confirmable(rows: Ledger, confirm: int) -> Ledger:
    """The trials that may match: none, if matches must be confirmed and nothing was repeated yet."""
    if not confirm or any(row.stage == "confirm" for row in rows.finished):
        return rows
    return Ledger(rows.study, rows.directions, ())


def _is_settled(goal: Goal | None) -> bool:
    """Whether the repeats of the old best are behind it."""
    return goal is not None and goal.repeats is not None


def _running_on_top(study: optuna.Study) -> bool:
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return any(is_on_top(noted_ticket(trial)) for trial in trials)


def _not_searched(study: optuna.Study) -> set[int]:
    """Numbers of the trials that say nothing of the search.

    The optimizer of some sets its own step; others repeat what was tried.
    """
    trials = study.get_trials(deepcopy=False)
    return {t.number for t in trials if OWN_STEP in t.user_attrs or is_on_top(noted_ticket(t))}


def _stale(rows: Ledger, without: Collection[int] = ()) -> int:
    """Finished trials since the best value was last improved."""
    rows = replace(rows, rows=tuple(row for row in rows.rows if row.number not in without))
    goal = goal_of(rows, 0.0)
    return 0 if goal is None else trials_since_best(rows, goal)
