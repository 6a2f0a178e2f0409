"""The study of a script that is searched: its trials are those that the smaller search has found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.study.search.objective import in_one_line
from galatune.study.search.options import Watcher
from galatune.study.search.scripts.filled import filled_trial
from galatune.study.search.searched_view import is_repeat

if TYPE_CHECKING:
    from galatune.controller.controlled import Capture
    from galatune.study.ledger.match import Goal
    from galatune.study.search.stopping import Budget

__all__ = ["ScriptStudy", "Telling"]

Callback = Callable[[optuna.Study, FrozenTrial], None]
FIXED = "fixed_params"


class ScriptStudy:
    """A study of a script, in memory.

    Args:
        study: As the script has it.
        objects: Every study object of the script that may stand for the same study.

    Attributes:
        enqueued: Configurations that wait in it.
        added: Number of finished trials that it holds.
        asked: Number of a trial to the dropped dimensions that the objective has asked for in it.
    """

    def __init__(self, study: optuna.Study, objects: Iterable[optuna.Study]) -> None:
        self.study = study
        self._objects = [one for one in objects if one._storage is study._storage] or [study]
        self._shown = 0
        self.asked: dict[int, tuple[str, ...]] = {}
        self.enqueued = tuple(
            trial.system_attrs[FIXED]
            for trial in study.get_trials(deepcopy=False)
            if trial.state == TrialState.WAITING and FIXED in trial.system_attrs
        )
        self.added = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))

    def empty(self) -> None:
        """Take out what it holds, so that its trials have the numbers of the smaller search."""
        study, storage, before = self.study, self.study._storage, self.study._study_id
        if not study.get_trials(deepcopy=False):
            return
        user, system = storage.get_study_user_attrs(before), storage.get_study_system_attrs(before)
        storage.delete_study(before)
        new = storage.create_new_study(study.directions, study.study_name)
        for name, value in user.items():
            storage.set_study_user_attr(new, name, value)
        for name, value in system.items():
            storage.set_study_system_attr(new, name, value)
        for one in self._objects:
            if one._study_id == before:
                one._study_id = new

    def show(self, smaller: optuna.Study, *, last: bool = False) -> list[FrozenTrial]:
        """Take over the finished trials of the smaller search.

        Args:
            smaller: Its study.
            last: Whether none follows, so that one that is unfinished holds none back.

        Returns:
            Those that are new here.
        """
        trials = smaller.get_trials(deepcopy=False)
        done = [place for place, trial in enumerate(trials) if trial.state.is_finished()]
        until = (done[-1] + 1 if done else 0) if last else _finished_in_a_row(trials)
        new = []
        for trial in trials[self._shown : until]:
            filled = filled_trial(smaller, trial, self.asked.get(trial.number))
            number = self.study._storage.create_new_trial(self.study._study_id, template_trial=filled)
            new.append(self.study._storage.get_trial(number))
        self._shown = max(until, self._shown)
        return new


def _finished_in_a_row(trials: list[FrozenTrial]) -> int:
    open_ones = (place for place, trial in enumerate(trials) if not trial.state.is_finished())
    return next(open_ones, len(trials))


class Telling:
    """A watcher that also tells the script's study, and then the callbacks that the script has given.

    Args:
        inner: Told first, None for nobody.
        shown: The script's study.
        callbacks: Of the script; called after each trial of the search.
        as_script: The block in which code of the script runs.
        say: Says a line.
        then: Called last, with the smaller study and the trial.
    """

    def __init__(
        self,
        inner: Watcher | None,
        shown: ScriptStudy,
        callbacks: Iterable[Callback],
        as_script: Callable[[], AbstractContextManager[Any]],
        say: Callable[[str], None],
        then: Callable[[optuna.Study, FrozenTrial], None] | None = None,
    ) -> None:
        self._inner, self._shown, self._callbacks = inner, shown, list(callbacks)
        self._as_script, self._say, self._then = as_script, say, then
        self._smaller: optuna.Study | None = None

    def run_started(self, budget: Budget, study: optuna.Study) -> None:
        """See `galatune.study.search.options.Watcher`, like the following."""
        self._smaller = study
        self._shown.show(study)
        if self._inner is not None:
            self._inner.run_started(budget, study)

    def goal_set(self, goal: Goal) -> None:
        """See `Watcher`."""
        if self._inner is not None:
            self._inner.goal_set(goal)

    def trial_started(self, number: int, capture: Capture) -> None:
        """See `Watcher`."""
        if self._inner is not None:
            self._inner.trial_started(number, capture)

    def trial_finished(self, trial: FrozenTrial) -> None:
        """See `Watcher`."""
        if self._inner is not None:
            self._inner.trial_finished(trial)
        assert self._smaller is not None
        for one in self._shown.show(self._smaller):
            if not is_repeat(one):  # these are no results of the search
                self._call_back(one)
        if self._then is not None:
            self._then(self._smaller, trial)

    def said(self, line: str) -> None:
        """See `Watcher`."""
        if self._inner is not None:
            self._inner.said(line)

    def _call_back(self, trial: FrozenTrial) -> None:
        for callback in list(self._callbacks):
            try:
                with self._as_script():
                    callback(self._shown.study, trial)
            except Exception as error:
                self._callbacks.remove(callback)
                self._say(f"A callback of the script failed and is called no more: {in_one_line(error)}")
