"""What a run has done: the result of `galatune run`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import optuna

from galatune.formatting import plain_text, plural, printable
from galatune.study.ledger.attributes import OWN_STEP
from galatune.study.ledger.ending import Advice, advice, ending
from galatune.study.ledger.polish import Polish
from galatune.study.ledger.rows import Ledger, TrialRow, WarmTrial, ledger, warm_trials
from galatune.study.storage.address import redact

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["BestTrial", "RunSummary"]

MOST_SHOWN = 10
"""Trials of a Pareto front that are printed."""


@dataclass(frozen=True)
class BestTrial:
    """The best trial, or one of the Pareto front."""

    number: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class RunSummary:
    """The smaller study at the end of a run.

    Attributes:
        study: Study name.
        storage: File or URL, without a password.
        trials: Finished trials.
        by_state: Number of trials in each state that occurs.
        interrupted: Trials that were stopped from outside and use no budget.
        own_steps: Trials whose optimizer sets its own step, which use no budget either.
        best_value: None with several objectives, or if no trial is complete.
        best_params: Of the same trial.
        best_trials: The best trial, or the Pareto front.
        stopped_because: In words.
        events: Events of the controllers, over all trials.
        objectives: Number of objectives.
        old_best: The old study's best value (its hypervolume, with several objectives), None if unknown.
        goal: The mean of the old best's repeats, `old_best` without them; None if unknown.
        repeats: Values of the old best's repeats.
        confirmed: Whether a match was confirmed by repeats; None if nothing had to be.
        missed_by: How much worse this one is than the goal; None if that was reached, or unknown.
        standard_errors: The same in standard errors of the goal; None if they are unknown.
        compared: The old best and how this one compares, in words; None if it is unknown.
        advice: What may help if it was missed, in words; None if nothing is known.
        next: The command that carries it out; None if there is none, or if no command line is known.
        old_pruned: PRUNED trials of the old study, and its finished ones; 0 if unknown.
        control: "on", or "off" if the rates were fixed.
        fixed_rates: Then: at what, in words.
        warm_start: Trials whose configuration is an old one that was enqueued first.
        best_polish: How the rate of the best trial differs, if it is one that polishes; None otherwise.
    """

    study: str
    storage: str
    trials: int
    by_state: Mapping[str, int]
    interrupted: int
    best_value: float | None
    best_params: Mapping[str, Any] | None
    best_trials: tuple[BestTrial, ...]
    stopped_because: str | None
    events: int
    objectives: int = 1
    own_steps: int = 0
    old_best: float | None = None
    goal: float | None = None
    repeats: tuple[float, ...] = ()
    confirmed: bool | None = None
    standard_errors: float | None = None
    missed_by: float | None = None
    compared: str | None = None
    advice: str | None = None
    next: str | None = None
    old_pruned: tuple[int, int] = (0, 0)
    control: str = "on"
    fixed_rates: str | None = None
    warm_start: tuple[WarmTrial, ...] = ()
    best_polish: Polish | None = None

    @classmethod
    def of(
        cls, smaller: optuna.Study, storage: str, command: Callable[[Mapping[str, str]], str] | None = None
    ) -> RunSummary:
        """Read it from the smaller study.

        Args:
            smaller: From `galatune.run`.
            storage: Where the smaller study is, as it was given.
            command: From options to the command line of another run that has them.
        """
        rows = ledger(smaller)
        best, end, help_ = _best(rows), ending(rows), advice(rows)
        trials = smaller.get_trials(deepcopy=False)
        return cls(
            study=smaller.study_name,
            storage=redact(storage),
            trials=len(rows.finished),
            by_state=rows.by_state,
            interrupted=sum(row.interrupted for row in rows.rows),
            own_steps=sum(bool(trial.user_attrs.get(OWN_STEP)) for trial in trials),
            best_value=None if best is None else best.value,
            best_params=None if best is None else dict(best.params),
            best_trials=_best_trials(smaller),
            stopped_because=rows.provenance.stopped_because,
            events=sum(len(row.record.events) for row in rows.rows if row.record is not None),
            objectives=len(rows.directions),
            old_best=end.old_best if end.repeats is None else end.repeats.old_best,
            goal=end.old_best,
            repeats=() if end.repeats is None else end.repeats.values,
            confirmed=end.confirmed,
            standard_errors=end.standard_errors,
            missed_by=end.missed_by,
            compared=end.text(),
            advice=None if help_ is None else help_.text(),
            next=None if help_ is None or command is None else _next(help_, smaller.study_name, command),
            old_pruned=rows.provenance.old_pruned,
            control="on" if rows.provenance.fixed_rates is None else "off",
            fixed_rates=rows.provenance.fixed_rates,
            warm_start=warm_trials(rows),
            best_polish=None if best is None else best.polish,
        )

    def to_json(self) -> dict[str, Any]:
        """The keys of ``galatune run --json``."""
        body = asdict(self)
        body["warm_start"] = list(body["warm_start"])
        body["repeats"] = list(self.repeats)
        body["best_trials"] = [{**trial, "values": list(trial["values"])} for trial in body["best_trials"]]
        for key in ("objectives", "compared", "old_pruned", "fixed_rates"):
            del body[key]
        return body

    def text(self, width: int = 80) -> str:
        """What ``galatune run`` prints at its end, as plain text.

        Args:
            width: Characters per line.
        """
        return plain_text(self.show, width)

    def show(self, console: Console) -> None:
        """Print it as a table of two columns."""
        from rich.table import Table

        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for label, value in self._lines():
            table.add_row(printable(label), printable(value))
        console.print(table)

    def _lines(self) -> list[tuple[str, str]]:
        states = ", ".join(f"{n} {state}" for state, n in self.by_state.items())
        if self.interrupted:
            states += f" ({self.interrupted} interrupted, which use no budget)"
        if self.own_steps:
            states += f" ({self.own_steps} with an optimizer that sets its own step, which use no budget)"
        return [
            ("study", f"{self.study} in {self.storage}"),
            ("stopped", str(self.stopped_because)),
            ("trials", states),
            *self._pruned_lines(),
            *([] if self.fixed_rates is None else [("control off", self.fixed_rates)]),
            *self._warm_lines(),
            *(self._best_lines() if self.objectives == 1 else self._front_lines()),
            *self._ending_lines(),
        ]

    def _pruned_lines(self) -> list[tuple[str, str]]:
        old, now = self.old_pruned, self.by_state.get("PRUNED", 0)
        if not (old[0] or now):
            return []
        before = f", {old[0]} of {old[1]} in the old study" if old[1] else ""
        return [("pruned", f"{now} of {plural(self.trials, 'trial')}{before}")]

    def _warm_lines(self) -> list[tuple[str, str]]:
        warm = self.warm_start
        if not warm:
            return []
        numbers = {trial.number for trial in warm}
        best = [trial.number for trial in self.best_trials]
        if self.objectives > 1:
            share = f"; {sum(n in numbers for n in best)} of the Pareto front" if best else ""
        else:
            share = f"; the best is {'one' if best[0] in numbers else 'none'} of them" if best else ""
        pairs = ", ".join(f"{trial.number} (old {trial.old_trial})" for trial in warm[:MOST_SHOWN])
        more = ", ..." if len(warm) > MOST_SHOWN else ""
        return [("warm start", f"old configurations first: trials {pairs}{more}{share}")]

    def _ending_lines(self) -> list[tuple[str, str]]:
        label = "old best" if self.objectives == 1 else "old hypervolume"
        label = "goal" if self.repeats else label
        lines = [] if self.compared is None else [(label, self.compared)]
        return lines if self.advice is None else [*lines, ("what may help", self.advice)]

    def _best_lines(self) -> list[tuple[str, str]]:
        value = "none" if self.best_value is None else f"{self.best_value:.6g}"
        params = self.best_params or {}
        lines = [("best value", value), *((f"  {name}", str(chosen)) for name, chosen in params.items())]
        return lines if self.best_polish is None else [*lines, ("  polished", self.best_polish.text())]

    def _front_lines(self) -> list[tuple[str, str]]:
        front = self.best_trials
        lines = [("Pareto front", plural(len(front), "trial"))]
        for trial in front[:MOST_SHOWN]:
            lines.append((f"  trial {trial.number}", ", ".join(f"{value:.6g}" for value in trial.values)))
        return lines if len(front) <= MOST_SHOWN else [*lines, ("  ...", f"{len(front) - MOST_SHOWN} more")]


def _best(rows: Ledger) -> TrialRow | None:
    if len(rows.directions) != 1:
        return None
    sign = -1.0 if rows.directions[0] == "maximize" else 1.0
    return min(rows.complete, key=lambda row: sign * (row.value or 0.0), default=None)


def _next(help_: Advice, name: str, command: Callable[[Mapping[str, str]], str]) -> str | None:
    if not help_.runs:
        return None
    return command({**help_.options, "--name": f"{name}-2"} if help_.anew else help_.options)


def _best_trials(smaller: optuna.Study) -> tuple[BestTrial, ...]:
    try:
        found = smaller.best_trials if len(smaller.directions) > 1 else [smaller.best_trial]
    except ValueError:  # none is complete
        return ()
    finite = [trial for trial in found if all(map(math.isfinite, trial.values))]
    return tuple(BestTrial(trial.number, tuple(trial.values)) for trial in finite)
