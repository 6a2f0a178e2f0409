"""When the smaller search ends."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import PlanError
from galatune.formatting import plural, printable
from galatune.study.ledger.attributes import OWN_STEP, STAGE
from galatune.study.ledger.constraints import feasible
from galatune.study.ledger.ending import AT_WORK, MATCHED, STALE, TRIED
from galatune.study.ledger.match import Goal, goal_of, trials_since_best, trials_to_reach
from galatune.study.ledger.rows import Ledger, ledger
from galatune.study.search.finite_space import finite_space
from galatune.study.search.quota import running, uses_ticket

__all__ = ["AT_WORK", "Budget", "budget_for"]


@dataclass(frozen=True)
class Budget:
    """How many trials, and what ends the search sooner.

    Attributes:
        trials: Tickets: each COMPLETE, PRUNED or FAILed trial of the search uses one, unless its optimizer
            sets its own step.
        goal: The old study's best within the tolerance; None if it need not be reached.
        patience: Trials without a better value that end the search, None for no such bound.
        confirm: Whether a match counts only once its configuration has reached it a second time.
        repeats: Whether the search goes on once every configuration of a finite space was tried.
    """

    trials: int
    goal: Goal | None = None
    patience: int | None = None
    confirm: bool = False
    repeats: bool = True

    def text(self) -> str:
        """One sentence for the beginning of the run."""
        words = plural(self.trials, "trial")
        if self.goal is not None:
            what = "a trial reaches" if self.goal.reference_point is None else "the hypervolume reaches"
            twice = " twice" if self.confirm else ""
            words = (
                f"until {what} {self.goal.threshold:.6g}{twice} (old best {self.goal.best:.6g}, "
                f"tolerance {100 * self.goal.tolerance:.3g} %), at most {words}"
            )
        if self.patience is not None:
            words += f", fewer once {plural(self.patience, 'trial')} {STALE}"
        return words

    def used(self, study: optuna.Study) -> int:
        """Tickets used so far."""
        return sum(uses_ticket(trial) for trial in study.get_trials(deepcopy=False))

    def stop_reason(self, study: optuna.Study) -> str | None:
        """Why the search is over, None while it is not."""
        rows = ledger(study)
        if self.goal is not None:
            reached = trials_to_reach(_confirmable(rows, self.confirm), self.goal, confirmed=self.confirm)
            if reached is not None:
                return f"{MATCHED} after {plural(reached, 'trial')}"
        used = self.used(study)
        if used > self.trials:
            return f"{plural(used, 'trial')} are done, more than the budget of {self.trials}"
        if used == self.trials:
            return f"the budget of {plural(self.trials, 'trial')} is used up"
        if used + running(study) >= self.trials:
            return f"the rest of the budget of {plural(self.trials, 'trial')} is {AT_WORK}"
        if self.patience is not None and _stale(rows, _own_steps(study)) >= self.patience:
            return f"{plural(self.patience, 'trial')} {STALE}"
        return self._exhausted(study)

    def _exhausted(self, study: optuna.Study) -> str | None:
        """That every configuration was tried and none is to be tried again; None otherwise."""
        trials = study.get_trials(deepcopy=False)
        space = None if self.repeats else finite_space(trials)
        if space is None or space.untried(trials) or self.to_confirm(study) is not None:
            return None
        if running(study):
            return f"the rest of {plural(space.size, 'configuration')} is {AT_WORK}"
        return (
            f"all {plural(space.size, 'configuration')} {TRIED} more trials, asked for with --trials, "
            "repeat them with other seeds"
        )

    def to_confirm(self, study: optuna.Study) -> FrozenTrial | None:
        """A trial that matches and has not been repeated yet; None if matches need no confirmation."""
        if self.goal is None or not self.confirm:
            return None
        trials = study.get_trials(deepcopy=False)
        repeats = [t for t in trials if t.user_attrs.get(STAGE) == "confirm"]
        if not all(trial.state.is_finished() for trial in repeats):
            return None
        repeated = [_configuration(trial) for trial in repeats if uses_ticket(trial)]
        for trial in trials:
            complete = trial.state == TrialState.COMPLETE and feasible(trial)
            if complete and self.goal.reached(trial.value) and _configuration(trial) not in repeated:
                return trial
        return None


def budget_for(
    old: optuna.Study,
    *,
    trials: int | None,
    until_match: bool,
    tolerance: float,
    patience: int | None,
    confirm: bool,
) -> Budget:
    """The budget that options ask for.

    Args:
        old: The old study; only read.
        trials: Number of trials; None for as many as the old study finished.
        until_match: End as soon as the old best is matched. This is also done if ``trials`` is None.
        tolerance: Share of |median - best| of the old values that counts as no difference.
        patience: See `Budget`.
        confirm: See `Budget`.

    Raises:
        PlanError: The old study has nothing to match, or a number is out of range.
    """
    if trials is not None and trials < 1:
        raise PlanError(f"--trials must be at least 1, however: {trials}")
    if patience is not None and patience < 1:
        raise PlanError(f"--patience must be at least 1, however: {patience}")
    if not 0 <= tolerance < 1:
        raise PlanError(f"--tolerance must lie in [0, 1), however: {tolerance:g}")
    if confirm and len(old.directions) > 1:
        raise PlanError(
            "--confirm repeats the one trial that matched, however: the study has "
            f"{len(old.directions)} objectives, which only several trials match together; leave it out"
        )
    if trials is not None and not until_match:
        if confirm:
            raise PlanError("--confirm repeats a match, however: --trials looks for none; add --until-match")
        return Budget(trials, patience=patience)
    goal = goal_of(ledger(old), tolerance)
    if goal is None:
        raise PlanError(
            f"study {printable(old.study_name)!r} has no complete trial, so there is nothing to match; "
            "say how many trials with --trials"
        )
    finished = sum(trial.state.is_finished() for trial in old.get_trials(deepcopy=False))
    return Budget(trials or finished, goal, patience, confirm, repeats=trials is not None)


def _configuration(trial: FrozenTrial) -> list[tuple[str, str]]:
    return sorted((name, repr(value)) for name, value in trial.params.items())


def _confirmable(rows: Ledger, confirm: bool) -> Ledger:
    """The trials that may match: none, if matches must be confirmed and nothing was repeated yet."""
    if not confirm or any(row.stage == "confirm" for row in rows.finished):
        return rows
    return Ledger(rows.study, rows.directions, ())


def _own_steps(study: optuna.Study) -> set[int]:
    """Numbers of the trials whose optimizer sets its own step: they say nothing of the search."""
    return {trial.number for trial in study.get_trials(deepcopy=False) if OWN_STEP in trial.user_attrs}


def _stale(rows: Ledger, without: Collection[int] = ()) -> int:
    """Finished trials since the best value was last improved."""
    rows = replace(rows, rows=tuple(row for row in rows.rows if row.number not in without))
    goal = goal_of(rows, 0.0)
    return 0 if goal is None else trials_since_best(rows, goal)
