"""One worker: a process that runs trials of a search until none follows, or until it is told to end."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from galatune.controller.torch_hooks.random_state import restored_afterwards
from galatune.errors import GalatuneError
from galatune.study.search.blocks import not_deleted, quiet
from galatune.study.search.loop import work
from galatune.study.search.objective import Objective
from galatune.study.search.options import RunOptions
from galatune.study.search.placeholder_trial import PlaceholderTrial
from galatune.study.search.processes.messages import (
    INTERRUPTED_STATUS,
    Begun,
    Broken,
    Finished,
    GoalKnown,
    Message,
    Over,
    Ready,
)
from galatune.study.search.processes.task import Task
from galatune.study.search.signals import Interruption
from galatune.study.search.workers import work_for
from galatune.study.storage.writing import storage_errors

if TYPE_CHECKING:
    from galatune.controller.controlled import Capture
    from galatune.study.ledger.match import Goal
    from galatune.study.search.stopping import Budget

__all__ = ["worker_main"]


def worker_main(task: bytes, number: int, told: Connection, output: Connection) -> None:
    """What a worker's process runs.

    It is the first of a process group, so that Ctrl-C at the terminal reaches the process that started it
    alone, and that what the objective starts can be ended with it.

    Args:
        task: A pickled `Task`.
        number: Of this worker, from 1.
        told: Takes messages, and says when to end.
        output: Takes what is printed.
    """
    with suppress(OSError):
        os.setpgid(0, 0)
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # Python's own stream
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs without
    _end_with_parent()
    sys.exit(_status(task, number, told))


def _status(task: bytes, number: int, told: Connection) -> int:
    try:
        given: Task = pickle.loads(task)
        work_for(given.run, number)
        relay = _Relay(told)
        work_on = functools.partial(_work, given, relay)
        given.origin.hand_to(work_on, given.options, given.plan)
    except (KeyboardInterrupt, BrokenPipeError):  # the latter if nobody listens any more
        return INTERRUPTED_STATUS
    except GalatuneError as error:
        with suppress(OSError):
            told.send(Broken(error))
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _work(task: Task, relay: _Relay, objective: Objective, options: RunOptions) -> None:
    """Run trials, and say why none follows."""
    with quiet(), storage_errors(task.place), restored_afterwards(), Interruption() as interruption:
        search = task.search(relay.noting(objective), options, relay)
        relay.send(Ready())
        with not_deleted(search.study._storage, search.study):
            relay.send(Over(work(search, interruption, relay)))


def _end_with_parent() -> None:
    """Interrupt this process once the one that started it is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


class _Relay:
    """Watches the trials of this worker and is asked whether to go on: the other process answers both."""

    def __init__(self, told: Connection) -> None:
        self._told = told
        self._answered: dict[int, tuple[str, ...]] = {}
        self._asked: str | None = None

    def send(self, message: Message) -> None:
        """Tell the process that started this one.

        Raises:
            KeyboardInterrupt: It is gone.
        """
        try:
            self._told.send(message)
        except OSError:
            raise KeyboardInterrupt from None

    def noting(self, objective: Objective) -> Objective:
        """The objective; that it is called is said, and what each trial has asked for is noted."""

        @functools.wraps(objective)
        def noted(trial: optuna.trial.Trial) -> Any:
            self.send(Begun(trial.number))
            try:
                return objective(trial)
            except BrokenPipeError:  # it printed, and nobody reads it any more
                if not _parent_is_alive():
                    raise KeyboardInterrupt from None
                raise
            finally:
                if isinstance(trial, PlaceholderTrial):
                    self._answered[trial.number] = trial.answered

        return noted

    # -- as a watcher

    def run_started(self, budget: Budget, study: optuna.Study) -> None:
        """See `galatune.study.search.options.Watcher`, like the following."""

    def goal_set(self, goal: Goal) -> None:
        """See `Watcher`."""
        self.send(GoalKnown(goal))

    def trial_started(self, number: int, capture: Capture) -> None:
        """See `Watcher`."""

    def trial_finished(self, trial: FrozenTrial) -> None:
        """See `Watcher`."""
        self.send(Finished(trial, self._answered.pop(trial.number, ())))

    def said(self, line: str) -> None:
        """See `Watcher`."""

    # -- as an overseer

    def ended(self, trial: FrozenTrial) -> str | None:
        """See `galatune.study.search.loop.Overseer`, like the following."""
        return self.asked()

    def asked(self) -> str | None:
        """Whether the other process has said why to end."""
        try:
            while self._told.poll():
                self._asked = self._told.recv()
        except (EOFError, OSError):
            raise KeyboardInterrupt from None
        return self._asked


def _parent_is_alive() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and parent.is_alive()
