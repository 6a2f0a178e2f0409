"""When the smaller search ends."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.errors import PlanError
from galatune.report.ledger import STAGE_ATTRIBUTE, Ledger, ledger
from galatune.report.match import Goal, best_so_far, goal_of, trials_to_reach

__all__ = ["INTERRUPTED", "Budget", "budget_for", "counts"]

INTERRUPTED = "galatune_interrupted"
"""Trial user attribute of a trial that a person stopped: its ticket is issued again."""


@dataclass(frozen=True)
class Budget:
    """How many trials, and what ends the search sooner.

    Attributes:
        trials: Tickets: each COMPLETE, PRUNED or FAILed trial of the search uses one.
        goal: The old study's best within the tolerance; None where it is not the aim.
        patience: Trials without a better value that end the search, None for no such bound.
        confirm: Whether a match counts only once its configuration has reached it a second time.
    """

    trials: int
    goal: Goal | None = None
    patience: int | None = None
    confirm: bool = False

    def in_words(self) -> str:
        """One sentence for whoever starts the run."""
        if self.goal is None:
            return f"{self.trials} trials"
        words = f"until a trial reaches {self.goal.threshold:.6g} (old best {self.goal.best:.6g}, "
        words += f"tolerance {self.goal.tolerance:.3g}), at most {self.trials} trials"
        return words if self.patience is None else f"{words}, or {self.patience} without a better value"

    def used(self, study: optuna.Study) -> int:
        """Tickets used so far."""
        return sum(counts(trial) for trial in study.get_trials(deepcopy=False))

    def over(self, study: optuna.Study) -> str | None:
        """Why the search is over, None while it is not."""
        rows = ledger(study)
        if self.goal is not None:
            reached = trials_to_reach(_confirmable(rows, self.confirm), self.goal, confirmed=self.confirm)
            if reached is not None:
                return f"the old best was matched at trial {reached}"
        used = self.used(study)
        if used >= self.trials:
            return f"all {self.trials} trials were used"
        if self.patience is not None and _stale(rows) >= self.patience:
            return f"{self.patience} trials without a better value"
        return None

    def to_confirm(self, study: optuna.Study) -> FrozenTrial | None:
        """A trial that matches and has not been repeated yet, where matches must be confirmed."""
        if self.goal is None or not self.confirm:
            return None
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        repeated = {str(t.params) for t in trials if t.user_attrs.get(STAGE_ATTRIBUTE) == "confirm"}
        for trial in trials:
            if self.goal.reached(trial.value) and str(trial.params) not in repeated:
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
        until_match: End as soon as the old best is matched; also what is done where nothing is said.
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
    if trials is not None and not until_match:
        return Budget(trials, patience=patience)
    goal = goal_of(ledger(old), tolerance)
    if goal is None:
        raise PlanError(
            f"study {old.study_name!r} has no complete trial, so there is nothing to match; "
            "say how many trials with --trials"
        )
    finished = sum(trial.state.is_finished() for trial in old.get_trials(deepcopy=False))
    return Budget(trials or finished, goal, patience, confirm)


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial of the smaller study used a ticket."""
    return trial.state.is_finished() and not trial.user_attrs.get(INTERRUPTED, False)


def _confirmable(rows: Ledger, confirm: bool) -> Ledger:
    """Where matches must be confirmed and nothing was repeated yet, nothing has matched."""
    if not confirm or any(row.stage == "confirm" for row in rows.finished):
        return rows
    return Ledger(rows.study, rows.directions, ())


def _stale(rows: Ledger) -> int:
    """Finished trials since the best value was last improved."""
    goal = goal_of(rows, 0.0)
    if goal is None:
        return 0
    history = best_so_far(rows, goal)
    return len(history) - 1 - history.index(history[-1])
