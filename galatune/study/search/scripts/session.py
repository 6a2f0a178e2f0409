"""One run of a script: what it asks Optuna for is answered by the smaller search."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial

from galatune.formatting import printable
from galatune.study.search.after_search import AfterSearch
from galatune.study.search.best_so_far import forget_best_so_far, know_best_so_far
from galatune.study.search.fingerprint import Fingerprint
from galatune.study.search.objective import Objective
from galatune.study.search.options import Watcher
from galatune.study.search.placeholder_trial import PlaceholderTrial
from galatune.study.search.scripts.ask_tell import AskTell, LoopBody
from galatune.study.search.scripts.choice import Choice
from galatune.study.search.scripts.filled import filled_trial
from galatune.study.search.scripts.handed_over import HandedOver
from galatune.study.search.scripts.leaving import Ending, end_here
from galatune.study.search.scripts.loops import loop_of
from galatune.study.search.scripts.old_studies import OldStudies
from galatune.study.search.scripts.other_processes import Refusal, refused_in
from galatune.study.search.scripts.running import Script
from galatune.study.search.scripts.script_storage import ScriptStorage, ScriptStorages, StudyKey
from galatune.study.search.scripts.script_study import ScriptStudy, Telling
from galatune.study.search.scripts.study_patch import StudyPatches

__all__ = ["Search", "Session"]

Search = Callable[[HandedOver], "optuna.Study | None"]

MOST_IDLE_WAITS = 25
"""Calls of a ``while`` loop for more trials, after which it is left."""
MOST_IDLE_CALLS = 10_000
"""The same of any loop."""


class Session:
    """Answers what a script does with its studies; see `ScriptCalls` in study_patch.py.

    Args:
        script: Which runs.
        search: Searches in place of the script; None if there is no study to go on with.
        choice: Which study is searched.
        old: The old studies.
        say: Says a line.
        stop_after: Whether the script ends with the search.

    Attributes:
        found: The smaller study, None before.
        error: What ended the search, None if nothing did.
        searched: Whether the search has ended.
        starts_processes: Whether the script has started other processes.
    """

    def __init__(
        self,
        script: Script,
        search: Search,
        choice: Choice,
        old: OldStudies,
        say: Callable[[str], None],
        *,
        stop_after: bool = False,
    ) -> None:
        self.storages = ScriptStorages(old.expected)
        self.patches = StudyPatches(self.storages, self)
        self.after = AfterSearch()
        self.found: optuna.Study | None = None
        self.error: BaseException | None = None
        self.searched = self.starts_processes = False
        self._script, self._search, self._choice, self._old = script, search, choice, old
        self._say_line, self._stop_after = say, stop_after
        self._said: set[str] = set()
        self._objects: list[optuna.Study] = []
        self._defaults: dict[int, tuple[Any, Any]] = {}
        self._is_chosen: dict[StudyKey, bool] = {}
        self._busy, self._one_search = False, threading.RLock()
        self._searching: int | None = None
        self._process = os.getpid()
        self._shown: ScriptStudy | None = None
        self._turns: AskTell | None = None
        self._idle_calls = 0

    @property
    def made_names(self) -> list[str]:
        """Names of the studies that the script has made."""
        return list(dict.fromkeys(one.study_name for one in self._objects))

    # -- what the script does

    def made(self, study: optuna.Study, sampler: Any, pruner: Any) -> None:
        """See `ScriptCalls`, like the following."""
        if isinstance(study._storage, ScriptStorage):
            self._objects.append(study)
            if not self.searched:
                know_best_so_far(study)
            left_out = (study.sampler if sampler is None else None, study.pruner if pruner is None else None)
            self._defaults[id(study)] = left_out

    def optimize(
        self,
        inner: Callable[..., Any],
        study: optuna.Study,
        func: Objective,
        *args: Any,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> None:
        """Search, the first time; another thread of the script waits until that is over."""
        self._check_process()
        elsewhere = self._is_shown(study) and self._searching not in (None, threading.get_ident())
        if not elsewhere and (self._busy or not self._is_the_one(study)):
            self._as_written(inner, study, func, *args, callbacks=callbacks, **kwargs)
            return
        with self._one_search:
            if self.searched:
                self._idle("optimize")
            elif self.error is None:
                given = callbacks if callbacks is not None else (args[4] if len(args) > 4 else None)
                self._replace(study, func, list(given or ()))

    def ask(
        self, inner: Callable[..., Any], study: optuna.Study, fixed_distributions: Any = None
    ) -> Trial | None:
        """Hand over a trial of the smaller search."""
        self._check_process()
        over = self.searched and self._turns is None
        if self._busy or over or not self._is_the_one(study):
            found: Trial = inner(study, fixed_distributions)
            return found
        if self._turns is None:
            self._turns = self._begin_turns(study)
        trial = self._turns.ask(fixed_distributions)
        self._check_turns()
        if trial is None:
            self._take_found(self.found)
            self._leave_loop(sys._getframe(1))
        return trial

    def tell(
        self,
        inner: Callable[..., Any],
        study: optuna.Study,
        trial: Any,
        values: Any = None,
        state: Any = None,
        **kwargs: Any,
    ) -> FrozenTrial:
        """The trial that was handed over has ended."""
        if self._turns is None or not self._is_the_one(study):
            told: FrozenTrial = inner(study, trial, values, state, **kwargs)
            return told
        with self._ending_the_script():
            number = self._turns.tell(trial, values, state)
        self._check_turns()
        trials = study.get_trials(deepcopy=False)
        held_back = number is not None and number >= len(trials)  # by an earlier one that waits
        if number is None or not held_back or self.found is None or self._shown is None:
            return trials[-1 if number is None else number]
        ended = self.found.get_trials(deepcopy=False)[number]
        return filled_trial(self.found, ended, self._shown.asked.get(number))

    def stop(self, inner: Callable[..., Any], study: optuna.Study) -> None:
        """The budget is the command's."""
        if not self._is_shown(study):
            inner(study)
            return
        self.say("study.stop() of the script is not obeyed: the budget is that of the command.")

    def add(self, inner: Callable[..., Any], study: optuna.Study, *args: Any, **kwargs: Any) -> None:
        """Trials that a script adds during its search are left out."""
        if self._busy and self._is_shown(study):
            self.say("Trials that the script enqueues or adds during the search are left out.")
            return
        inner(study, *args, **kwargs)

    def starting(self, inner: Callable[..., Any], process: BaseProcess, /) -> None:
        """It may not search there; what it trains there is the script's own affair."""
        self.starts_processes = True
        process._config["galatune"] = Refusal(self._script.name)  # type: ignore[attr-defined]
        inner(process)

    def _check_process(self) -> None:
        """One that was forked has the script's studies as they were, and galatune's answers."""
        if os.getpid() != self._process:
            raise refused_in(self._script.name)

    # -- which study

    def _is_shown(self, study: optuna.Study) -> bool:
        """Whether it lies in the storage of the one that is searched."""
        return self._shown is not None and study._storage is self._shown.study._storage

    def _is_the_one(self, study: optuna.Study) -> bool:
        key = (study._storage.number, study._study_id)  # type: ignore[attr-defined]
        if self._shown is not None and self._is_shown(study):
            return study.study_name == self._shown.study.study_name
        if key not in self._is_chosen:
            with self._ending_the_script(), self.patches.paused():
                self._is_chosen[key] = self._choice.chosen(
                    study.study_name, self.made_names, self._script.file, self._script.name
                )
        return self._is_chosen[key]

    def _as_written(self, inner: Callable[..., Any], study: optuna.Study, *args: Any, **kwargs: Any) -> None:
        """Another study: its old trials if there are some, else its search as the script wrote it."""
        if self._busy:
            inner(study, *args, **kwargs)
            return
        name = printable(study.study_name)
        with self.patches.paused():
            count = self._old.fill(study)
        if count is not None:
            self.say(f"Study {name!r} is not searched: it has its {count} old trials (--study chooses).")
            return
        self.say(
            f"Study {name!r} is not the one that is searched: it runs in memory, as the script wrote it."
        )
        with self.after.paused():
            inner(study, *args, **kwargs)

    # -- the search

    def _replace(self, study: optuna.Study, func: Objective, callbacks: list[Any]) -> None:
        handed = self._handed(study, self._as_objective(func), callbacks, asks=False)
        with self._ending_the_script():
            self._busy, self._searching = True, threading.get_ident()
            try:
                with self.patches.paused():
                    found = self._search(handed)
            finally:
                self._busy, self._searching = False, None
        self._take_found(found)

    def _begin_turns(self, study: optuna.Study) -> AskTell:
        turns = AskTell(lambda: self._search_in_turns(handed), self.after.end, lambda: self._surplus(study))
        path = Path(self._script.file or self._script.place)
        body = LoopBody(turns, Fingerprint.of_file(path, "<ask and tell>"))
        handed = self._handed(study, self._as_objective(body), [], asks=True, turns=turns)
        return turns

    def _surplus(self, study: optuna.Study) -> Trial:
        """A trial that the script holds already when the search is over."""
        self.say("The script asked for trials in advance: those beyond the budget train, and are not kept.")
        return optuna.create_study(directions=study.directions).ask()

    def _search_in_turns(self, handed: HandedOver) -> None:
        with self.patches.paused():
            self.found = self._search(handed)

    def _handed(
        self,
        study: optuna.Study,
        objective: Objective,
        callbacks: list[Any],
        *,
        asks: bool,
        turns: AskTell | None = None,
    ) -> HandedOver:
        shown = self._shown = ScriptStudy(study, self._objects)
        shown.empty()
        if shown.added:
            self.say("Trials that the script added itself are left out: they were trained with other rates.")
        sampler, pruner = self._defaults.get(id(study), (None, None))

        def watched(inner: Watcher | None) -> Watcher:
            then = None if turns is None else self._told
            return Telling(inner, shown, callbacks, self.patches.resumed, self.say, then)

        return HandedOver(
            objective,
            study.study_name,
            tuple(direction.name.lower() for direction in study.directions),
            None if study.sampler is sampler else study.sampler,
            None if study.pruner is pruner else study.pruner,
            shown.enqueued,
            asks,
            shown.asked,
            watched,
        )

    def _told(self, smaller: optuna.Study, trial: FrozenTrial) -> None:
        assert self._turns is not None
        self.found = smaller
        with self.patches.resumed():
            self._turns.told(smaller, trial)

    def _as_objective(self, func: Objective) -> Objective:
        """The objective, in which Optuna is the script's again."""

        @functools.wraps(func)
        def objective(trial: Trial) -> Any:
            try:
                with self.patches.resumed():
                    return func(trial)
            finally:
                if self._shown is not None and isinstance(trial, PlaceholderTrial):
                    self._shown.asked[trial.number] = trial.answered

        return objective

    def _take_found(self, found: optuna.Study | None) -> None:
        self.searched, self.found = True, found
        self._forget_best_so_far()
        if found is not None and self._shown is not None:
            self._shown.show(found, last=True)
        if found is None or self._stop_after:
            raise end_here()
        self.after.begin(found)

    # -- the end

    def end(self, error: BaseException | None) -> None:
        """The script has ended, with this error or without."""
        if self._turns is not None and not self._turns.over:
            self._turns.end(error)
            self._note_turns()
        self._forget_best_so_far()
        self.after.end()

    def _forget_best_so_far(self) -> None:
        for one in self._objects:
            forget_best_so_far(one)

    def say(self, line: str) -> None:
        """Say a line, once."""
        if line not in self._said:
            self._said.add(line)
            self._say_line(line)

    def _note_turns(self) -> None:
        assert self._turns is not None
        if self._turns.error is not None and self.error is None:
            self.error = self._turns.error
        self.searched |= self._turns.over and self._turns.error is None

    def _check_turns(self) -> None:
        assert self._turns is not None
        if self._turns.error is not None:
            self.error = self._turns.error
            raise end_here() from self._turns.error
        if not self._turns.is_open and self.found is not None:
            self.after.begin(self.found)

    def _idle(self, what: str) -> None:
        self.say(f"The search is over: further calls of study.{what} in the script use no budget.")
        self._idle_calls += 1
        if self._idle_calls < MOST_IDLE_WAITS:
            return
        loop = loop_of(sys._getframe(1))
        if self._idle_calls >= MOST_IDLE_CALLS or (loop is not None and loop.endless):
            self._leave_loop(sys._getframe(1))

    def _leave_loop(self, frame: FrameType) -> None:
        """Go on behind the loop that asks for more; if that cannot be done, end the script."""
        loop = loop_of(frame)
        left = loop is not None and loop.leave()
        self.say(
            "The search is over: its budget is that of the command (--trials), not the script's. "
            + ("The loop that asks for more is left." if left else "The script ends where it asks for more.")
        )
        if not left:
            raise end_here()

    def _ending_the_script(self) -> Ending:
        def ended(error: BaseException) -> None:
            self.error = error

        return Ending(ended)
