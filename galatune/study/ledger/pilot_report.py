"""What a pilot found, and how that is said: its choice, a table of its pairs, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from galatune.errors import PlanError
from galatune.formatting import duration, number, plain_text, plural, printable
from galatune.study.ledger.pilot_arm import ARMS, Arm
from galatune.study.ledger.pilot_choice import LEAVE, Verdict, Way

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PilotCost", "PilotPair", "PilotReport"]


@dataclass(frozen=True)
class PilotPair:
    """Two trainings of one configuration with one seed.

    Attributes:
        old_trial: Number of the old trial that has this configuration.
        controlled: What the controlled training reached, in the units and sign of the objective; None if it
            failed.
        fixed: The same with the rate fixed at the old best's.
        own: What the configuration reaches at its own old rate; of the old best the mean of its repeats, of
            any other its one old value less the luck that the repeats of the old best show. None without
            repeats.
        difference: controlled - fixed, positive is worse for control; None if one of them failed.
        why: Why one of them has no value, None if both have one.
    """

    old_trial: int | None
    controlled: float | None
    fixed: float | None
    own: float | None
    difference: float | None
    why: str | None


@dataclass(frozen=True)
class PilotCost:
    """What the pairs cost, and beside them the repeats of the old best, which a run does not repeat.

    Attributes:
        trainings: Of the pairs, in whatever state they ended.
        trainings_percent: Percent of the old study's finished trials.
        gradient_evaluations: Of these trainings; None if one of them recorded none.
        hours: Of these trainings, as recorded; None if one of them recorded none.
        per_training: Way to the mean gradient evaluations of one training; None if unknown.
        repeats: Trainings that repeated the old best.
        repeats_gradient_evaluations: Of the repeats; None if one of them recorded none.
        repeats_hours: Of the repeats; None if one of them recorded none.
    """

    trainings: int
    trainings_percent: float | None
    gradient_evaluations: int | None
    hours: float | None
    per_training: Mapping[Arm, float | None]
    repeats: int
    repeats_gradient_evaluations: int | None
    repeats_hours: float | None


@dataclass(frozen=True)
class PilotReport:
    """What a pilot found.

    Attributes:
        study: Name of the smaller study, which holds its trainings.
        storage: File or URL of it as it was given, without a password; None if unknown.
        direction: "minimize" or "maximize".
        values: Every pair that is done.
        pairs: How many of them are complete.
        most: Pairs at most.
        margin: Differences up to this size count as none, in the units of the objective.
        difference: Mean of controlled - fixed, positive is worse for control; None without a complete pair.
        relative: The same in margins; None if the margin is 0.
        interval: Of the difference; None with fewer than two complete pairs.
        confidence: Of the interval at this look. Over all looks together it is 95 %.
        detectable: The true difference that as many pairs tell from 0 in 4 of 5 cases; None if unknown.
        over: Whether the pilot is over: a way is shown to be good enough, or no pair is left.
        verdict: "go" with control, "no-go" or "undecided".
        way: What to do.
        why: The reason, in words.
        cost: What it cost.
        goal: Mean of the repeats of the old best, else the old best.
        goal_repeats: How many repeats that is.
        options: Options of control that its controlled trainings had.
        first: Number of the first of these pairs in the study.
    """

    study: str
    storage: str | None
    direction: str
    values: tuple[PilotPair, ...]
    pairs: int
    most: int
    margin: float
    difference: float | None
    relative: float | None
    interval: tuple[float, float] | None
    confidence: float
    detectable: float | None
    over: bool
    verdict: Verdict
    way: Way
    why: str
    cost: PilotCost
    goal: float
    goal_repeats: int
    options: Mapping[str, Any] = field(default_factory=dict)
    first: int = 0

    @property
    def control(self) -> str:
        """What ``--control`` follows from it; of a search that is better left, that of the better way."""
        if self.way == LEAVE:
            return "on" if self.difference is not None and self.difference < 0 else "off"
        return "on" if self.way == "controlled" else "off"

    def sentence(self) -> str:
        """The choice in one sentence.

        It begins with the way, and ends with the reason.
        """
        ways = {
            "controlled": "control the learning rate",
            "fixed": "fix the learning rate at the old best's (--control off)",
        }
        if not self.over:
            return (
                f"the pilot is not over: {len(self.values)} of at most {plural(self.most, 'pair')} are done"
            )
        undecided = "undecided: " if self.verdict == "undecided" else ""
        return f"{undecided}{ways.get(self.way, self.way)}, for {self.why}"

    def to_json(self) -> dict[str, Any]:
        """The keys of ``galatune pilot --json``; every number is finite or None."""
        body: dict[str, Any] = asdict(self)
        body["values"] = [asdict(pair) for pair in self.values]
        body["interval"] = None if self.interval is None else list(self.interval)
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PilotReport:
        """Read it back.

        Raises:
            PlanError: It was not written by `to_json`.
        """
        try:
            known = {one.name for one in fields(cls)}
            given = {name: value for name, value in body.items() if name in known}
            given["values"] = tuple(PilotPair(**pair) for pair in given["values"])
            given["interval"] = None if given["interval"] is None else tuple(given["interval"])
            given["cost"] = PilotCost(**given["cost"])
            report = cls(**given)
            good = report.verdict in ("go", "no-go", "undecided") and report.way in (*ARMS, LEAVE)
            if not good or not isinstance(report.options, Mapping):
                raise ValueError("verdict or way")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(
                f"the pilot in this plan is not galatune's ({type(error).__name__} {error}); make it again: "
                "galatune pilot --save"
            ) from error
        return report

    def text(self, width: int = 80) -> str:
        """What ``galatune pilot`` prints, as plain text.

        Args:
            width: Characters per line.
        """
        return plain_text(self.show, width)

    def show(self, console: Console) -> None:
        """Print it: the choice, a table of the pairs and what they say."""
        _show(self, console)


def _show(report: PilotReport, console: Console) -> None:
    """Print the choice, a table of the pairs, and a table of what they say."""
    from rich.table import Table

    sentence = report.sentence()
    style = {"go": "green", "no-go": "yellow"}.get(report.verdict)
    console.print(f"{sentence[0].upper()}{sentence[1:]}.", style=style if report.over else None)
    if report.values:
        table = Table(box=None, pad_edge=False)
        for heading in ("old trial", "controlled", "fixed", "difference", "at its own old rate"):
            table.add_column(heading, justify="right")
        for pair in report.values:
            table.add_row(
                "" if pair.old_trial is None else str(pair.old_trial),
                number(pair.controlled) or "none",
                number(pair.fixed) or "none",
                number(pair.difference),
                number(pair.own) or "not repeated",
            )
        console.print(table)
    lines = Table(show_header=False, box=None, pad_edge=False)
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for label, value in _lines(report):
        lines.add_row(label, printable(value))
    console.print(lines)


def _lines(report: PilotReport) -> list[tuple[str, str]]:
    failed = [f"old trial {p.old_trial}: {p.why}" for p in report.values if p.why is not None]
    return [
        ("study", report.study if report.storage is None else f"{report.study} in {report.storage}"),
        ("verdict", f"{report.verdict}, {plural(report.pairs, 'pair')} of at most {report.most}"),
        ("difference", _difference(report)),
        ("margin", f"{report.margin:.4g}, set before the first pair"),
        *([] if report.detectable is None else [("detectable", _detectable(report))]),
        *[("not complete", words) for words in failed],
        ("cost", _cost(report)),
        ("before it", _repeats(report)),
    ]


def _difference(report: PilotReport) -> str:
    if report.difference is None:
        return "unknown: no pair is complete"
    better = "better" if report.difference < 0 else "worse"
    words = f"control is {abs(report.difference):.4g} {better} than the fixed rate"
    if report.relative is not None:
        words += f" ({abs(report.relative):.1f} margins)"
    if report.interval is None:
        return f"{words}; one pair shows no spread"
    low, high = report.interval
    level = f"{100 * report.confidence:.4g} %"
    return f"{words}; {level} interval {low:.4g} to {high:.4g}, positive is worse for control"


def _detectable(report: PilotReport) -> str:
    return (
        f"{report.detectable:.4g}: a true difference of this size is told from none in 4 of 5 pilots with as "
        "many pairs"
    )


def _cost(report: PilotReport) -> str:
    cost = report.cost
    parts = [plural(cost.trainings, "training")]
    if cost.trainings_percent is not None:
        parts[0] += f" ({cost.trainings_percent:.0f} % of the old study's)"
    if cost.gradient_evaluations is not None:
        parts.append(f"{cost.gradient_evaluations} gradient evaluations{_each(report)}")
    if cost.hours is not None:
        parts.append(duration(cost.hours))
    return ", ".join(parts)


def _each(report: PilotReport) -> str:
    controlled, fixed = (report.cost.per_training.get(arm) for arm in ("controlled", "fixed"))
    if controlled is None or fixed is None:
        return ""
    return f" ({controlled:.0f} per controlled training, {fixed:.0f} per fixed one)"


def _repeats(report: PilotReport) -> str:
    cost = report.cost
    if not report.goal_repeats:
        return f"the old best was not repeated: {report.goal:.6g}, one value, which may be a lucky one"
    parts = [plural(cost.repeats, "repeat") + f" of the old best at its own rate, mean {report.goal:.6g}"]
    if cost.repeats_gradient_evaluations is not None:
        parts.append(f"{cost.repeats_gradient_evaluations} gradient evaluations")
    if cost.repeats_hours is not None:
        parts.append(duration(cost.repeats_hours))
    return f"{', '.join(parts)}; a run does not repeat it again"
