"""The workers of a run, as the process sees them that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.connection import Connection, wait
from types import ModuleType

from optuna.trial import FrozenTrial

from galatune.controller.torch_hooks.devices import visible_gpus
from galatune.errors import GalatuneError, ObjectiveError
from galatune.formatting import plural
from galatune.study.ledger.attributes import UNFINISHED
from galatune.study.ledger.provenance import note_stop
from galatune.study.search.loop import STOPPED, Streaks, begin, conclude, over
from galatune.study.search.options import Search
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
from galatune.study.search.processes.origin import Importable, Origin
from galatune.study.search.processes.output import Lines
from galatune.study.search.processes.shares import Shares
from galatune.study.search.processes.task import task_of
from galatune.study.search.processes.worker import worker_main
from galatune.study.search.quota import note_end, take_over
from galatune.study.search.signals import Interruption
from galatune.study.search.workers import Workers

__all__ = ["run_workers"]

LOOK_SECONDS = 1.0
"""The longest wait for something to happen; a signal ends it sooner."""


def run_workers(search: Search, origin: Origin, place: str) -> None:
    """Run trials in worker processes until the budget says why no other follows.

    Args:
        search: The search; its options say how many workers.
        origin: Where they get the objective from.
        place: File or URL of the smaller study.

    Raises:
        PlanError: No other process can get the objective.
        ObjectiveError: As in `galatune.study.search.loop.run_trials`; or every worker is gone.
        KeyboardInterrupt: Somebody stopped it; the running trials are queued again.
    """
    origin.check()
    task = task_of(search, uuid.uuid4().hex, origin, place).pickled()
    with Interruption() as interruption:
        begin(search, interruption)
        team = Team(search, origin, task)
        try:
            team.work()
        except BaseException:
            team.end_early()
            with interruption.held():
                take_over(search.study, Workers())
                note_stop(search.study, UNFINISHED)
            raise
        with interruption.held():
            take_over(search.study, Workers())
            reason = team.reason or over(search) or team.seen
    conclude(search, str(reason), team.streaks)


class Team:
    """Starts the workers, hears what they say, and ends them.

    Args:
        search: The search.
        origin: Where they get the objective from.
        task: What each is given.

    Attributes:
        streaks: Of the trials of all workers, in the order in which they ended.
        reason: Why they were told to end; None if they were not.
        seen: Why the last worker ended by itself.
    """

    def __init__(self, search: Search, origin: Origin, task: bytes) -> None:
        self.streaks = Streaks()
        self.reason: str | None = None
        self.seen: str | None = None
        self._search, self._origin, self._task = search, origin, task
        self._count = search.options.workers
        self._members: list[Member] = []
        self._error: GalatuneError | None = None
        self._ending = self._goal_said = False
        self._last_end = ""

    def work(self) -> None:
        """Until every worker has ended.

        Raises:
            GalatuneError: What a worker cannot go on for, or that all of them are gone.
        """
        shares = Shares.of_machine(self._count, visible_gpus(), os.environ)
        self._say(shares.text())
        for number in range(1, self._count + 1):
            with shares.inherited_by(number):
                self._members.append(Member(number, self._task, self._origin))
        while self._members:
            self._look()
        if self._error is not None:
            raise self._error
        if self.seen is None and self.reason is None:
            raise ObjectiveError(self._all_gone())

    def end_early(self) -> None:
        """Interrupt the workers and wait until each has given its trial back; a second Ctrl-C kills them."""
        self._ending = True
        try:
            if self._members and isinstance(sys.exc_info()[1], KeyboardInterrupt):
                self._say("Interrupted: the workers give their trials back. Ctrl-C again ends them at once.")
            for member in self._members:
                member.interrupt()
            while self._members:
                self._look()
        except KeyboardInterrupt:
            for member in self._members:
                member.kill()
            while self._members:
                self._look()

    def _look(self) -> None:
        """Wait until something happens, and take it in."""
        ready = wait([one for member in self._members for one in member.watched], LOOK_SECONDS)
        for member in list(self._members):
            if member.told in ready or member.output in ready or member.sentinel in ready:
                for message in member.heard():
                    self._take_in(member, message)
            if member.sentinel in ready:
                self._members.remove(member)
                self._take_leave(member)

    def _take_in(self, member: Member, message: Message) -> None:
        watcher = self._search.watcher
        if isinstance(message, Ready):
            member.ready = True
        elif isinstance(message, Begun):
            member.trial = message.number
        elif isinstance(message, GoalKnown):
            if watcher is not None and not self._goal_said:
                watcher.goal_set(message.goal)
            self._goal_said = True
        elif isinstance(message, Finished):
            member.trial = None
            self._origin.heard(message.trial.number, message.answered)
            if watcher is not None:
                watcher.trial_finished(message.trial)
            self._end_for(self.streaks.ended(message.trial))
        elif isinstance(message, Over):
            member.over, self.seen = True, message.reason
            if message.reason == STOPPED:
                self._end_for(STOPPED)
        elif isinstance(message, Broken):
            member.over, self._error = True, self._error or message.error
            self._interrupt()

    def _end_for(self, reason: str | None) -> None:
        """Tell every worker to end: after its trial if the objective said so, else at once."""
        if reason is None or self.reason is not None:
            return
        self.reason = reason
        for member in self._members:
            member.tell(reason)
        if reason != STOPPED:
            self._interrupt()

    def _interrupt(self) -> None:
        self._ending = True
        for member in self._members:
            member.interrupt()

    def _take_leave(self, member: Member) -> None:
        """A worker has ended; say it if nobody expected that."""
        how = member.leave()
        if member.over or self._ending:
            return
        self._last_end = how
        left = [one for one in self._members if not one.over]
        failed = self._given_up(member, how)
        again = "its trial is tried again" if member.ready else "it had begun no trial"
        again = again if failed is None else "its trial has failed"
        others = f", {plural(len(left), 'worker')} go{'es' if len(left) == 1 else ''} on" if left else ""
        self._say(f"Worker {member.number} of {self._count} (process {member.pid}) {how}; {again}{others}.")
        if failed is not None:
            self._take_in(member, Finished(failed, ()))

    def _given_up(self, member: Member, how: str) -> FrozenTrial | None:
        """The trial that a worker has left if that is not tried again; only its own end counts, no kill."""
        if member.trial is None or not member.ended_by_itself:
            return None
        return note_end(self._search.study, member.trial, how)

    def _all_gone(self) -> str:
        words = (
            f"no worker is left: all {self._count} have ended, the last one {self._last_end}. Finished "
            "trials are kept, and the same command continues"
        )
        if isinstance(self._origin, Importable):
            words += '; a program that starts workers has to do so under if __name__ == "__main__":'
        return words

    def _say(self, line: str) -> None:
        if self._search.watcher is not None:
            self._search.watcher.said(line)
        elif self._last_end:
            warnings.warn(line, stacklevel=2)


class Member:
    """One worker.

    Args:
        number: From 1.
        task: What it is given.
        origin: Where it gets the objective from.

    Attributes:
        ready: Whether it gives its trial back if it is interrupted.
        over: Whether it has said that it ends.
        trial: Number of the one that it runs, None if it runs none.
    """

    def __init__(self, number: int, task: bytes, origin: Origin) -> None:
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.ready = self.over = False
        self.trial: int | None = None
        self.told, theirs = context.Pipe()
        self.output, printed = context.Pipe(duplex=False)
        self._process = context.Process(
            target=worker_main, args=(task, number, theirs, printed), name=f"galatune worker {number}"
        )
        with nullcontext() if isinstance(origin, Importable) else _without_main():
            self._process.start()
        theirs.close()
        printed.close()
        self.pid, self.sentinel = self._process.pid or 0, self._process.sentinel
        self._lines = Lines(lambda line: print(f"worker {number}: {line}", file=sys.stderr))
        self._open = [self.told, self.output]

    @property
    def watched(self) -> list[Connection | int]:
        """What to wait for."""
        return [*self._open, self.sentinel]

    def heard(self) -> list[Message]:
        """The messages that have come, after printing what was printed before them."""
        while self.output in self._open and self.output.poll():
            piece = os.read(self.output.fileno(), 65536)
            self._lines.add(piece)
            if not piece:
                self._open.remove(self.output)
        found: list[Message] = []
        try:
            while self.told in self._open and self.told.poll():
                found.append(self.told.recv())
        except (EOFError, OSError):  # it has ended, perhaps while it sent
            self._open.remove(self.told)
        return found

    def tell(self, reason: str) -> None:
        """Let it end after its trial."""
        with suppress(OSError):
            self.told.send(reason)

    def interrupt(self) -> None:
        """Let it give its trial back and end; if it has not begun, it has none."""
        if self._process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGINT if self.ready else signal.SIGTERM)

    def kill(self) -> None:
        """End it, and what it has started."""
        self.kill_rest()
        self._process.kill()

    def leave(self) -> str:
        """Close what belongs to it; how it has ended, in words."""
        self._process.join()
        self._lines.end()
        self.told.close()
        self.output.close()
        status = self._process.exitcode or 0
        if status < 0:
            self.kill_rest()
            name = signal.Signals(-status).name
            hint = ", as the system does if memory runs out" if name == "SIGKILL" else ""
            return f"was ended by {name}{hint}"
        return f"ended with exit status {status}"

    @property
    def ended_by_itself(self) -> bool:
        """Whether nobody told it to end, nor the system."""
        return self._process.exitcode not in (
            INTERRUPTED_STATUS,
            -signal.SIGKILL,
            -signal.SIGTERM,
            -signal.SIGINT,
        )

    def kill_rest(self) -> None:
        """End what it has started, if its own end was sudden."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


@contextmanager
def _without_main() -> Iterator[None]:
    """A process that is started inside does not import the main module, as it would otherwise: a script."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
