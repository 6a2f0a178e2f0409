"""What is dropped from a study, what is kept, what is refused, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalChoiceType

from galatune.errors import PlanError
from galatune.formatting import listed, plain_text, printable
from galatune.study.ledger.pilot_report import PilotReport
from galatune.study.ledger.trial_counts import RunningTrial, TrialCounts
from galatune.study.scan.dimensions import RateDimension, Refusal
from galatune.study.scan.grid import Grid
from galatune.study.scan.next_command import details_line, unsure_lines
from galatune.study.scan.projection import Projection
from galatune.study.scan.rate_prior import RatePrior, prior_text
from galatune.study.scan.text import (
    CONSTRAINED,
    Tried,
    counts_line,
    dimension_table,
    dropped_line,
    left_alone_lines,
    overview_table,
    projection_table,
    ratio_line,
    running_lines,
    torch_line,
)

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ShrinkPlan", "StoragePlans"]


_LISTS = ("directions", "learning_rate", "kept", "refused", "projected", "running", "options")


@dataclass(frozen=True)
class ShrinkPlan:
    """What can be left out of a study.

    Attributes:
        storage: URL or path as it was given, without a password.
        study: Study name.
        directions: "minimize" or "maximize", one per objective.
        trials: Counts by state.
        hours: Sum of the durations of all finished trials, None if none was recorded.
        learning_rate: Rates, schedules and multipliers.
        kept: Everything that is not dropped.
        refused: Look-alikes, with the reason.
        unique_configurations: Distinct configurations over trials of every state once the dropped
            dimensions are left out. A trial that has suggested nothing yet has none.
        tried: Trials that have suggested something.
        repeated: Those of them that repeat an earlier one, with what is dropped.
        projected: What the smaller search might cost.
        running: The trials without an end.
        constrained: Whether the sampler knew constraints that the objective does not set: the smaller search
            cannot know them.
        options: What the user said of parameters, as options of a command: the next one repeats them.
        grid: If the old study was drawn from a grid: what is left of that. None in other studies.
        pilot: What a pilot chose, if it was run and this plan saved; None in a plan that `scan` made.
        note: What had to be done to read the storage, in words; None if nothing had to be done.
        prior: What the old study knows of good values of each dropped rate.
    """

    storage: str
    study: str
    directions: tuple[str, ...]
    trials: TrialCounts
    hours: float | None
    learning_rate: tuple[RateDimension, ...]
    kept: tuple[str, ...]
    refused: tuple[Refusal, ...]
    unique_configurations: int
    projected: tuple[Projection, ...]
    tried: int = 0
    repeated: int = 0
    running: tuple[RunningTrial, ...] = ()
    constrained: bool = False
    options: tuple[str, ...] = ()
    grid: Grid | None = None
    note: str | None = None
    pilot: PilotReport | None = None
    prior: tuple[RatePrior, ...] = ()

    @property
    def placeholders(self) -> dict[str, CategoricalChoiceType]:
        """Dropped dimension to the value that it is fixed at."""
        return {d.name: d.placeholder for d in self.learning_rate if d.dropped}

    def to_json(self) -> dict[str, Any]:
        """The keys of ``galatune scan --json``."""
        body = asdict(self)
        for key in _LISTS:
            body[key] = list(body[key])
        body["pilot"] = None if self.pilot is None else self.pilot.to_json()
        body["prior"] = [one.to_json() for one in self.prior]
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ShrinkPlan:
        """Read a plan back.

        Raises:
            PlanError: It was not written by `to_json`.
        """
        try:
            return cls(
                storage=body["storage"],
                study=body["study"],
                directions=tuple(body["directions"]),
                trials=TrialCounts(**body["trials"]),
                hours=body["hours"],
                learning_rate=tuple(RateDimension(**dimension) for dimension in body["learning_rate"]),
                kept=tuple(body["kept"]),
                refused=tuple(Refusal(**refusal) for refusal in body["refused"]),
                unique_configurations=body["unique_configurations"],
                projected=tuple(Projection(**projection) for projection in body["projected"]),
                tried=body.get("tried", 0),
                repeated=body.get("repeated", 0),
                running=tuple(RunningTrial(**running) for running in body.get("running", ())),
                constrained=bool(body.get("constrained", False)),
                options=tuple(body.get("options", ())),
                grid=Grid(**body["grid"]) if body.get("grid") else None,
                note=body.get("note"),
                pilot=PilotReport.from_json(body["pilot"]) if body.get("pilot") else None,
                prior=tuple(RatePrior.from_json(prior) for prior in body.get("prior", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise PlanError(
                f"Not a plan of galatune's ({type(error).__name__} {error}). Make one: galatune scan --json"
            ) from error

    def text(self, width: int = 80) -> str:
        """What ``galatune scan`` prints, as plain text.

        Args:
            width: Characters per line of the tables.
        """
        return plain_text(self.show, width)

    def show(self, console: Console) -> None:
        """Print it, in colour if the console is a terminal."""
        console.print(printable(self.study), style="bold", soft_wrap=True)
        console.print(counts_line(self.trials, self.hours, self.directions))
        tried = Tried(self.tried, self.unique_configurations, self.repeated)
        dropped = dropped_line(self.trials, self.learning_rate, self.kept, tried)
        console.print(dropped, style="green" if self.placeholders else "yellow")
        if self.learning_rate:
            console.print(dimension_table(self.learning_rate))
        if ratio := ratio_line(self.learning_rate):
            console.print(ratio, style="yellow")
        for line in unsure_lines(self.storage, self.study, self.options, self.learning_rate):
            console.print(line, style="yellow", soft_wrap=True)
        console.print(f"Kept: {listed(self.kept) or 'nothing'}")
        for line in prior_text(self.prior):
            console.print(line)
        if self.grid is not None:
            console.print(self.grid.text())
        remarks = left_alone_lines(self.refused) + [CONSTRAINED] * self.constrained
        for line in remarks + running_lines(self.running):
            console.print(line, style="yellow")
        if rates := [d.name for d in self.learning_rate if d.dropped or d.role == "unsure"]:
            console.print(torch_line(self.study, rates, self.kept))
        if self.projected:
            console.print(projection_table(self.projected))


@dataclass(frozen=True)
class StoragePlans:
    """Every study of a storage, oldest first.

    Attributes:
        plans: At least one.
    """

    plans: tuple[ShrinkPlan, ...]

    def to_json(self) -> dict[str, Any]:
        """The keys of ``galatune scan --json``: of the only plan, or "studies" with one entry per study."""
        if len(self.plans) == 1:
            return self.plans[0].to_json()
        return {"studies": [plan.to_json() for plan in self.plans]}

    def text(self, width: int = 80) -> str:
        """What ``galatune scan`` prints, as plain text.

        Args:
            width: Characters per line of the tables.
        """
        return plain_text(self.show, width)

    def show(self, console: Console) -> None:
        """Print an overview, one row per study; the only plan by itself."""
        if len(self.plans) == 1:
            self.plans[0].show(console)
            return
        console.print(self.plans[0].storage, style="bold", soft_wrap=True)
        with_rates = sum(bool(plan.placeholders) for plan in self.plans)
        if with_rates:
            found = f"{with_rates} of {len(self.plans)} studies search a learning rate."
        else:
            found = f"No learning rate found in any of the {len(self.plans)} studies."
        console.print(found, style="green" if with_rates else "yellow")
        rows = [(plan.study, plan.trials, plan.hours, plan.learning_rate) for plan in self.plans]
        console.print(overview_table(rows))
        told = next((plan for plan in self.plans if plan.learning_rate), self.plans[0])
        console.print(details_line(told.storage, told.study), soft_wrap=True)
