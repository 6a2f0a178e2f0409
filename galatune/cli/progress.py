"""The progress of a run, on stderr: a bar on a terminal, a line per trial elsewhere."""

from __future__ import annotations

import io
import math
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from types import TracebackType
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from galatune.formatting import listed, plural, printable, rate, time_left
from galatune.study.ledger.attributes import PILOT, REASON, RECORD, STAGE, WARM_START
from galatune.study.ledger.constraints import feasible
from galatune.study.ledger.goal import goal_lines
from galatune.study.ledger.pilot_arm import PilotArm
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.record import TrialRecord
from galatune.study.scan.text import CONSTRAINED
from galatune.study.storage.address import redact

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from galatune.controller.controlled import Capture
    from galatune.study.ledger.match import Goal
    from galatune.study.scan.plan import ShrinkPlan
    from galatune.study.search.stopping import Budget

__all__ = ["AboveTheBar", "RunProgress"]

NARROWEST_BAR, WIDEST_BAR = 4, 40
MOST_OLD = 10
"""Old trials that are named."""
NUMBERS_WIDTH = 70
"""Columns that the numbers beside the bar may need."""


STAGES = {
    "repeat": "the old best again, ",
    "confirm": "a match again, ",
    "polish": "polish, ",
}
"""What a line of a trial that repeats begins with."""


class RunProgress:
    """Shows how a run proceeds.

    Args:
        place: File or URL of the smaller study.
        plan: What is dropped.
        yes: Answer questions with yes.

    Attributes:
        study: The smaller study, None until its run begins.
    """

    def __init__(self, place: str, plan: ShrinkPlan, *, yes: bool) -> None:
        self.study: optuna.Study | None = None
        self._place, self._plan, self._yes = redact(place), plan, yes
        self._console = Console(file=sys.stderr, markup=False, highlight=False, emoji=False)
        self._live = self._console.is_terminal
        self._state = _State()
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(min(WIDEST_BAR, max(NARROWEST_BAR, self._console.width - NUMBERS_WIDTH))),
            MofNCompleteColumn(),
            _Numbers(self._state),
            console=self._console,
            disable=not self._live,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._streams = (sys.stdout, sys.stderr)
        self._said_share = False

    def __enter__(self) -> RunProgress:
        if self._live:
            self._streams = (sys.stdout, sys.stderr)
            sys.stdout = sys.stderr = AboveTheBar(self._console)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        sys.stdout, sys.stderr = self._streams
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._state.total:
            done = plural(self._state.done, "finished trial")
            self._say(f"Interrupted. {done} kept in {self._place}; the same command continues.")

    def run_started(self, budget: Budget, study: optuna.Study) -> None:
        """Say what is about to happen."""
        self.study = study
        self._state.start(budget, study)
        dropped = ", ".join(f"{printable(k)} (now {v!s:.12})" for k, v in self._plan.placeholders.items())
        searched = ", ".join(map(printable, self._plan.kept)) or (
            "nothing, so every trial is the same configuration with another seed"
        )
        self._say(f"Dropped: {dropped}. Searched: {searched}.")
        if self._plan.constrained:
            self._say(CONSTRAINED)
        if pilot := Provenance.of(study).source.get("pilot"):
            self._say(printable(str(pilot)))
        if bound := Provenance.of(study).source.get("bounds"):
            self._say(printable(str(bound)))
        if self._plan.grid is not None and Provenance.of(study).sampler == "GridSampler":
            self._say(self._plan.grid.text())
        if fixed := Provenance.of(study).fixed_rates:
            self._say(printable(f"Control off: {fixed.replace('was controlled', 'is controlled')}."))
        old = (trial.user_attrs.get(WARM_START) for trial in study.get_trials(deepcopy=False))
        if warm := [str(number) for number in dict.fromkeys(old) if number is not None]:
            which = f"old {'trial' if len(warm) == 1 else 'trials'} {listed(warm, MOST_OLD)}"
            self._say(
                f"Warm start: first the configurations of {which}, without their rates; they are counted."
            )
        if pruner := Provenance.of(study).pruner_because:
            self._say(printable(pruner))
        self._say(f"Budget: {budget.text()}, into {self._place}.")
        from galatune.study.search.polish import polish_text

        if polished := Provenance.of(study).options.get("polish"):
            self._say(polish_text(int(polished)))
        if self._state.done:
            self._say(f"Continuing after {plural(self._state.done, 'trial')}.")
        if self._live:
            self._bar.add_task("trials", total=budget.trials, completed=min(self._state.done, budget.trials))
            self._bar.start()

    def goal_set(self, goal: Goal) -> None:
        """Say what the repeats of the old best made of it."""
        for line in goal_lines(goal):
            self._say(line)

    def trial_started(self, number: int, capture: Capture) -> None:
        """Show the rate of this trial from here on."""
        self._state.capture = capture

    def trial_finished(self, trial: FrozenTrial) -> None:
        """Count it; say so if it failed, if there is no bar, and once if not all of it was controlled."""
        self._state.finish(trial)
        if self._live:
            self._bar.update(self._bar.task_ids[0], completed=self._state.done)
            self._bar.refresh()
        reason = trial.user_attrs.get(REASON)
        if trial.state.name == "FAIL":
            self._say(f"Trial {trial.number} failed: {printable(str(reason))}")
        elif not self._live or (_share(trial) and not self._said_share):
            self._said_share = True
            self._say(self._line(trial))

    def said(self, line: str) -> None:
        """Print it above the bar."""
        self._say(printable(line))

    def _line(self, trial: FrozenTrial) -> str:
        values = "" if trial.values is None else f" {', '.join(f'{value:.6g}' for value in trial.values)}"
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        stage = _pilot(trial) or STAGES.get(str(trial.user_attrs.get(STAGE)), "")
        parts = [
            f"{stage}{trial.state.name.lower()}{values}",
            f"{seconds:.1f} s",
            _peak(trial),
            _share(trial),
        ]
        parts += [self._state.best_in_words(), self._state.left_in_words()]
        return f"Trial {trial.number}: {', '.join(filter(None, parts))}"

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)

    def agree(self, question: str) -> bool:
        """Whether a person, or ``--yes``, says yes; without a terminal nobody does.

        Raises:
            KeyboardInterrupt: The answer is Ctrl-C.
        """
        if self._yes or not (self._live and sys.stdin.isatty()):
            return self._yes
        out, err = self._streams
        try:
            with redirect_stdout(out), redirect_stderr(err):
                return click.confirm(question, err=True)
        except click.Abort:
            raise KeyboardInterrupt from None


class AboveTheBar(io.TextIOBase):
    """What the objective prints while the bar is there, a whole line at a time.

    A line that is drawn again and again, as tqdm does it, is printed once: as it looked in the end.

    Args:
        console: With the bar.
    """

    encoding = "utf-8"

    def __init__(self, console: Console) -> None:
        self._console, self._line = console, ""

    def write(self, text: str) -> int:
        """Print the lines that this completes."""
        *whole, rest = (self._line + text).split("\n")
        for line in whole:
            shown = line.rstrip("\r").rpartition("\r")[2]
            self._console.print(Text.from_ansi(shown), soft_wrap=True)
        kept = rest.rstrip("\r")
        self._line = kept.rpartition("\r")[2] + rest[len(kept) :]
        return len(text)

    def isatty(self) -> bool:
        """True, so that the objective prints in colour."""
        return True

    def fileno(self) -> int:
        """Descriptor of the terminal."""
        return self._console.file.fileno()


class _State:
    """Numbers beside the bar."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.capture: Capture | None = None
        self._budget: Budget | None = None
        self._best: float | None = None
        self._maximize = False
        self._single = True
        self._began = self._last = time.monotonic()
        self._ran = 0

    def start(self, budget: Budget, study: optuna.Study) -> None:
        from optuna.study import StudyDirection

        self._budget, self.total, self.done = budget, budget.trials, budget.used(study)
        self._began = self._last = time.monotonic()
        self._single = len(study.directions) == 1
        self._maximize = study.directions[0] == StudyDirection.MAXIMIZE
        for trial in study.get_trials(deepcopy=False):
            self._look(trial)

    def finish(self, trial: FrozenTrial) -> None:
        self.done += self._budget is not None and self._budget.counts(trial)
        self._ran += 1  # repeats too, which come on top
        self.capture, self._last = None, time.monotonic()
        self._look(trial)

    def _look(self, trial: FrozenTrial) -> None:
        scored = trial.state.name == "COMPLETE" and trial.values and feasible(trial)  # no repeat is
        if not self._single or not scored:
            return
        value = trial.values[0]
        if math.isfinite(value):
            better = max if self._maximize else min
            self._best = value if self._best is None else better(self._best, value)

    def text(self) -> str:
        """Best value, current rate, time left."""
        current = None if self.capture is None else self.capture.learning_rate
        now = None if current is None else f"lr {rate(current)}"
        return ", ".join(filter(None, (self.best_in_words(), now, self.left_in_words())))

    def best_in_words(self) -> str | None:
        return None if self._best is None else f"best {self._best:.6g}"

    def left_in_words(self) -> str | None:
        """From the mean of this run's trials; the search may end sooner."""
        to_run = self.total - self.done
        if not self._ran or to_run <= 0:
            return None
        left = (self._last - self._began) / self._ran * to_run - (time.monotonic() - self._last)
        return f"at most {time_left(max(left, 0.0))} left"


class _Numbers(ProgressColumn):
    def __init__(self, state: _State) -> None:
        super().__init__()
        self._numbers = state

    def render(self, task: Task) -> Text:
        return Text(self._numbers.text(), no_wrap=True, overflow="ellipsis")


def _pilot(trial: FrozenTrial) -> str | None:
    """Which training of which pair a trial of a pilot is; None of any other trial."""
    place = PilotArm.from_attribute(trial.user_attrs.get(PILOT))
    if trial.user_attrs.get(STAGE) != "pilot" or place is None:
        return None
    return f"pilot, old trial {place.trial} {place.arm}, "


def _peak(trial: FrozenTrial) -> str | None:
    """The highest learning rate of a trial; at its end, the schedule has made the rate very small."""
    record = TrialRecord.from_attribute(trial.user_attrs.get(RECORD))
    rates = [] if record is None else [point.rate for point in record.learning_rate]
    return f"lr up to {rate(max(rates))}" if rates else None


def _share(trial: FrozenTrial) -> str | None:
    """How many of the optimizers were controlled, unless all were."""
    record = TrialRecord.from_attribute(trial.user_attrs.get(RECORD))
    controlled = [] if record is None else [one.controlled for one in record.optimizers]
    if not any(controlled):  # that FAILs, unless control is off
        return None
    return (
        None if all(controlled) else f"{sum(controlled)} of {plural(len(controlled), 'optimizer')} controlled"
    )
