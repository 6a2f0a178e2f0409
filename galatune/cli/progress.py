"""How a run goes, on stderr: a bar on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from galatune.errors import PlanError
from galatune.study.address import printable, redact

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from galatune.controller.capture import Capture
    from galatune.study.budget import Budget
    from galatune.study.plan import ShrinkPlan

__all__ = ["RunProgress"]


class RunProgress:
    """Watches a run.

    Args:
        place: File or URL of the smaller study.
        plan: What is dropped.
        yes: Answer questions with yes.
    """

    def __init__(self, place: str, plan: ShrinkPlan, *, yes: bool) -> None:
        self._place, self._plan, self._yes = redact(place), plan, yes
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._live = self._console.is_terminal
        self._state = _State()
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            _Numbers(self._state),
            console=self._console,
            disable=not self._live,
        )

    def __enter__(self) -> RunProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._state.total:
            click.echo(
                f"Interrupted: {self._state.done} finished trials are kept in {self._place}; "
                "the same command continues.",
                err=True,
            )

    def run_started(self, budget: Budget, study: optuna.Study) -> None:
        """Say what is about to happen."""
        self._state.start(budget, study)
        dropped = ", ".join(f"{printable(k)} (now {v!s:.12})" for k, v in self._plan.placeholders.items())
        self._say(f"Dropped: {dropped}. Searched: {', '.join(map(printable, self._plan.kept)) or 'nothing'}.")
        self._say(f"Budget: {budget.in_words()}, into {self._place}.")
        if self._state.done:
            self._say(f"Continuing: {self._state.done} trials are done.")
        if self._live:
            self._bar.add_task("trials", total=budget.trials, completed=min(self._state.done, budget.trials))
            self._bar.start()

    def trial_started(self, number: int, capture: Capture) -> None:
        """Show the rate of this trial from here on."""
        self._state.capture = capture

    def trial_finished(self, trial: FrozenTrial) -> None:
        """Count it; say so where there is no bar, and always when it failed."""
        self._state.finish(trial)
        if self._live:
            self._bar.update(self._bar.task_ids[0], completed=self._state.done)
        reason = trial.user_attrs.get("galatune_reason")
        if trial.state.name == "FAIL":
            self._say(f"Trial {trial.number} failed: {printable(str(reason))}")
        elif not self._live:
            self._say(self._line(trial))

    def _line(self, trial: FrozenTrial) -> str:
        values = "" if trial.values is None else f" {', '.join(f'{value:.6g}' for value in trial.values)}"
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        return (
            f"Trial {trial.number} {trial.state.name.lower()}{values}, {seconds:.1f} s, {self._state.text()}"
        )

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)

    def ask(self, question: str) -> None:
        """Go on only if a person says so.

        Raises:
            PlanError: There is no terminal to ask on and no ``--yes``.
            click.Abort: The answer is no.
        """
        if self._yes:
            return
        if not (sys.stdin.isatty() and self._live):
            raise PlanError(f"{question} Answer with --yes; there is no terminal to ask on")
        click.confirm(question, abort=True, err=True)


class _State:
    """Numbers beside the bar."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.best: float | None = None
        self.capture: Capture | None = None
        self._maximize = False
        self._single = True
        self._began = time.monotonic()
        self._done_before = 0

    def start(self, budget: Budget, study: optuna.Study) -> None:
        from optuna.study import StudyDirection

        self.total, self.done = budget.trials, budget.used(study)
        self._done_before, self._began = self.done, time.monotonic()
        self._single = len(study.directions) == 1
        self._maximize = study.directions[0] == StudyDirection.MAXIMIZE
        for trial in study.get_trials(deepcopy=False):
            self._look(trial)

    def finish(self, trial: FrozenTrial) -> None:
        self.done += 1
        self._look(trial)

    def _look(self, trial: FrozenTrial) -> None:
        if self._single and trial.state.name == "COMPLETE" and trial.value is not None:
            better = max if self._maximize else min
            self.best = trial.value if self.best is None else better(self.best, trial.value)

    def text(self) -> str:
        """Best value, current rate, time left."""
        rate = None if self.capture is None else self.capture.learning_rate
        parts = [
            "best -" if self.best is None else f"best {self.best:.6g}",
            "rate -" if rate is None else f"rate {rate:.2e}",
        ]
        ran = self.done - self._done_before
        if ran:
            left = (time.monotonic() - self._began) / ran * max(self.total - self.done, 0)
            parts.append(f"at most {_duration(left)} left")
        return ", ".join(parts)


class _Numbers(ProgressColumn):
    def __init__(self, state: _State) -> None:
        super().__init__()
        self._numbers = state

    def render(self, task: Task) -> Text:
        return Text(self._numbers.text())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
