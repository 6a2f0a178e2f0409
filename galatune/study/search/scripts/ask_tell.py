"""A loop of `ask` and `tell`: its body is the objective.

The search calls an objective; the script calls `ask`. So the search runs in a thread of its own, and the two
take turns: it waits while the script trains, and the script waits while it writes a trial down.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from galatune.errors import ObjectiveError
from galatune.study.search.fingerprint import Fingerprint

__all__ = ["AskTell", "LoopBody"]


class ToldToFail(Exception):  # noqa: N818  # it is what the script said, no error of ours
    """The script told FAIL."""


class LoopBody:
    """The objective that stands for the body of the loop.

    Args:
        turns: Where trials are handed over.
        fingerprint: Of the script.
    """

    def __init__(self, turns: AskTell, fingerprint: Fingerprint) -> None:
        self._turns, self.fingerprint = turns, fingerprint

    def __call__(self, trial: Trial) -> Any:
        """Hand the trial to the script, and wait until it tells how that ended."""
        return self._turns.train(trial)


class LaterTrial(Trial):
    """A trial that begins when the script first uses it, since another one is still open."""

    def __init__(self, begin: Callable[[], Trial]) -> None:
        object.__setattr__(self, "_begin", begin)

    def __getattribute__(self, name: str) -> Any:
        """Begin; from then on it is an ordinary trial."""
        if name in ("__class__", "__dict__"):
            return object.__getattribute__(self, name)
        begun = object.__getattribute__(self, "_begin")()
        self.__dict__ = begun.__dict__
        self.__class__ = type(begun)
        return getattr(self, name)


class AskTell:
    """Takes turns with a script.

    Args:
        search: Runs the search, once its objective is known.
        begins: Called before a trial begins.
        surplus: Makes a trial of no study that counts, if the script holds one when the search is over.

    Attributes:
        over: Whether the search has ended.
        error: What ended it, None if it came to its end.
    """

    def __init__(
        self, search: Callable[[], Any], begins: Callable[[], Any], surplus: Callable[[], Trial]
    ) -> None:
        self.over = False
        self.error: BaseException | None = None
        self._search, self._begins, self._surplus = search, begins, surplus
        self._offered: queue.Queue[Any] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._open: Trial | None = None
        self._parked = self._ends = False
        self._last: tuple[int, Any] | None = None

    # -- in the thread of the script

    def ask(self, spaces: Mapping[str, BaseDistribution] | None = None) -> Trial | None:
        """The next trial, None if the search is over.

        Args:
            spaces: What is suggested at once.
        """
        if self._open is not None:
            return LaterTrial(lambda: _suggested(self._later(), spaces))
        found = self._next()
        return None if found is None else _suggested(found, spaces)

    def tell(self, trial: Trial | int, values: Any, state: TrialState | None) -> int | None:
        """How the open trial ended; returns its number, None if it was a surplus one."""
        number = trial if isinstance(trial, int) else trial.number
        if self._open is None and self.over:
            return None
        if self._open is None or number != self._open.number:
            raise ObjectiveError(f"the script tells how trial {number} ended, which is not the open one")
        self._open = None
        self._take_turns((values, state))
        return number

    @property
    def is_open(self) -> bool:
        """Whether a trial was asked for whose end was not told yet."""
        return self._open is not None

    def end(self, error: BaseException | None = None) -> None:
        """The script asks for no more; a trial that is open ends with this error."""
        self._ends = True
        if self._open is not None:
            self._open = None
            self._take_turns(error or KeyboardInterrupt())
        if self._parked:
            self._take_turns(None)
        if self._thread is not None:
            self._thread.join()

    def _later(self) -> Trial:
        if self._open is not None:
            raise ObjectiveError(
                f"the script trains trial {self._open.number} and another one at once; control needs one "
                "after the other: ask for a trial, train it, tell, and only then begin the next"
            )
        return self._next() or self._surplus()

    def _next(self) -> Trial | None:
        self._begins()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="galatune search", daemon=True)
            self._thread.start()
            found = self._offered.get()
        elif self.over:
            return None
        else:
            found = self._take_turns(None)
        self._open = found
        return self._open

    def _take_turns(self, answer: Any) -> Any:
        if self.over:
            return None
        self._answers.put(answer)
        return self._offered.get()

    # -- in the thread of the search

    def train(self, trial: Trial) -> Any:
        """Offer a trial, and return, or raise, what the script made of it.

        The script trains it once: if it is offered again, since it may have refused something, it ends as
        before.
        """
        if self._last is None or self._last[0] != trial.number:
            self._offered.put(trial)
            self._last = (trial.number, self._answers.get())
        answer = self._last[1]
        if isinstance(answer, BaseException):
            raise answer
        values, state = answer
        if state == TrialState.PRUNED:
            raise optuna.TrialPruned
        if state == TrialState.FAIL:
            raise ToldToFail("the script told FAIL")
        return values

    def told(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """A trial was written down: it is the script's turn."""
        self._parked = True
        self._offered.put(trial)
        self._answers.get()
        self._parked = False
        if self._ends:
            study._stop_flag = True

    def _run(self) -> None:
        try:
            self._search()
        except BaseException as error:
            self.error = error
        finally:
            self.over = True
            self._offered.put(None)


def _suggested(trial: Trial, spaces: Mapping[str, BaseDistribution] | None) -> Trial:
    for name, space in (spaces or {}).items():
        trial._suggest(name, space)
    return trial
