"""Where a worker gets the objective from: a process of its own, which takes over nothing but plain data."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import optuna

from galatune.errors import PlanError
from galatune.formatting import first_line, printable
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.objective import Objective, as_script, imported
from galatune.study.search.options import RunOptions
from galatune.study.search.scripts.handed_over import HandedOver
from galatune.study.search.scripts.running import Script
from galatune.study.search.scripts.serve import serve

__all__ = ["Importable", "Named", "OfScript", "Origin"]

Work = Callable[[Objective, RunOptions], None]
"""Runs trials with an objective and the options of the run."""


class Origin(Protocol):
    """Says where the objective comes from; it is pickled."""

    def check(self) -> None:
        """Refuse what no other process can get."""
        ...

    def for_worker(self, options: RunOptions) -> RunOptions:
        """What a worker is given of the options."""
        ...

    def hand_to(self, work: Work, options: RunOptions, plan: ShrinkPlan) -> None:
        """In a worker: get the objective, and let it be called."""
        ...

    def heard(self, number: int, answered: Sequence[str]) -> None:
        """In the process that started the workers: a trial has asked for these dropped dimensions."""
        ...


@dataclass(frozen=True)
class Importable:
    """A callable that other processes can import by its name.

    Attributes:
        objective: The callable.
    """

    objective: Objective

    def check(self) -> None:
        """See `Origin`, like the following.

        Raises:
            PlanError: It cannot be imported.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise PlanError(
                "a worker imports the program that started it, however: that starts workers when it is "
                'imported; put the call of galatune.run under if __name__ == "__main__":'
            )
        name = printable(str(getattr(self.objective, "__qualname__", type(self.objective).__name__)))
        cure = (
            "define it at the top of a .py file, or name that file on the command line: galatune run "
            "STORAGE FILE:FUNCTION --workers N"
        )
        try:
            pickle.dumps(self.objective)
        except Exception as error:
            raise PlanError(
                f"workers import the objective by its name, however: {name} cannot be pickled "
                f"({first_line(error)}); {cure}"
            ) from None
        main = sys.modules.get("__main__")
        typed = getattr(main, "__file__", None) is None and getattr(main, "__spec__", None) is None
        if typed and getattr(self.objective, "__module__", None) == "__main__":
            raise PlanError(
                f"workers import the objective by its name, however: {name} is defined in an interactive "
                f"session; {cure}"
            )

    def for_worker(self, options: RunOptions) -> RunOptions:
        """As they are."""
        return options

    def hand_to(self, work: Work, options: RunOptions, plan: ShrinkPlan) -> None:
        """It was imported when this was unpickled."""
        work(self.objective, options)

    def heard(self, number: int, answered: Sequence[str]) -> None:
        """Nobody asks."""


@dataclass(frozen=True)
class Named:
    """What a command line names.

    Attributes:
        reference: ``path/to/file.py:function`` or ``package.module:function``.
        folder: From where.
    """

    reference: str
    folder: str = field(default_factory=lambda: str(Path.cwd()))

    def check(self) -> None:
        """The command has imported it already."""

    def for_worker(self, options: RunOptions) -> RunOptions:
        """As they are."""
        return options

    def hand_to(self, work: Work, options: RunOptions, plan: ShrinkPlan) -> None:
        """Import it as the command does."""
        os.chdir(self.folder)
        with as_script(self.reference), imported(self.reference) as objective:
            work(objective, options)

    def heard(self, number: int, answered: Sequence[str]) -> None:
        """Nobody asks."""


@dataclass(frozen=True)
class OfScript:
    """What a script hands to Optuna: each worker runs it as far as its search.

    Attributes:
        script: The script.
        source: Storage of the old studies.
        study: Name of the old study.
        given: The options as the command gives them, without what the script adds.
        handed: What it has handed over in the process that starts the workers.
        folder: From where it is run.
    """

    script: Script
    source: str | None
    study: str
    given: RunOptions
    handed: HandedOver | None = None
    folder: str = field(default_factory=lambda: str(Path.cwd()))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "handed": None}

    def check(self) -> None:
        """See `Origin`, like the following.

        Raises:
            PlanError: It takes turns with its search.
        """
        if self.handed is not None and self.handed.asks:
            raise PlanError(
                f"--workers needs an objective that each worker can call, however: {self.script.name} asks "
                "and tells in a loop of its own; leave --workers out, or hand a function to study.optimize"
            )

    def for_worker(self, options: RunOptions) -> RunOptions:
        """Without the sampler and the pruner of the script: the worker's own script makes them."""
        return replace(options, sampler=self.given.sampler, pruner=self.given.pruner)

    def hand_to(self, work: Work, options: RunOptions, plan: ShrinkPlan) -> None:
        """Run the script; it ends where it searches."""

        def search(handed: HandedOver) -> optuna.Study | None:
            work(handed.objective, handed.options_with(options, plan))
            return None

        os.chdir(self.folder)
        with as_script(f"{self.script.place}:"):
            serve(self.script, search, source=self.source, study=self.study, say=lambda line: None)

    def heard(self, number: int, answered: Sequence[str]) -> None:
        """The script's study shows the rates that were asked for."""
        if self.handed is not None:
            self.handed.asked[number] = tuple(answered)
