"""What a run takes over from a pilot: the way, its bounds and its place; and what it says of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from galatune.errors import PlanError, StorageError
from galatune.formatting import listed
from galatune.study.ledger.attributes import PILOT
from galatune.study.ledger.pilot import CARRIED_OPTIONS, pilot_of
from galatune.study.ledger.pilot_choice import LEAVE
from galatune.study.ledger.pilot_report import PilotReport
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import ledger
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.carried_pilot import CarriedPilot, carried_pilot
from galatune.study.search.options import RunOptions
from galatune.study.search.pilot_budget import search_began
from galatune.study.storage.reading import open_source
from galatune.study.storage.writing import find_target

__all__ = ["BegunStudy", "begun_study", "with_pilot"]


@dataclass(frozen=True)
class BegunStudy:
    """What is known of the smaller study before it is opened for writing; empty if there is none yet.

    Attributes:
        options: Options that it was begun with.
        pilot: Its pilot, None if it holds none.
        searched: Whether a trial of its search has begun.
        carried: The pilot of the plan, to be copied into a study that has begun nothing; else None.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    pilot: PilotReport | None = None
    searched: bool = False
    carried: CarriedPilot | None = None


def begun_study(plan: ShrinkPlan, into: str | None, name: str | None) -> BegunStudy:
    """Look at the smaller study, if there is one."""
    found = _found(plan, into, name)
    if plan.pilot is None or found.pilot is not None or found.searched:
        return found
    return replace(found, carried=carried_pilot(plan.pilot))


def _found(plan: ShrinkPlan, into: str | None, name: str | None) -> BegunStudy:
    try:
        place, own_name = find_target(plan.study, into, name)
        with open_source(place) as opened:
            study = opened.study(own_name)
            pilot = None if PILOT not in study.user_attrs else pilot_of(ledger(study))
            return BegunStudy(Provenance.of(study).options, pilot, search_began(study))
    except StorageError:  # said where it is opened for writing
        return BegunStudy()


def with_pilot(
    plan: ShrinkPlan, options: RunOptions, begun: BegunStudy, agree: Callable[[str], bool] | None
) -> tuple[RunOptions, str | None]:
    """The options with what a pilot chose; what the user says goes before that.

    Args:
        plan: With the pilot that it carries, if any.
        options: As the user gave them.
        begun: The smaller study, whose own pilot goes before that of the plan.
        agree: Asked if the pilot says that the search is better left as it is.

    Returns:
        The options, control "on" or "off", and what is to be said of the pilot; None if there is none.

    Raises:
        PlanError: The search is better left as it is and nobody agrees, or an option contradicts the choice.
    """
    report = begun.pilot or plan.pilot
    if report is None:
        return replace(options, control=options.control or "on"), None
    if not report.over:
        return _without(report, options, begun, agree)
    control = options.control or _control(report, begun, agree)
    said = f"Pilot: {report.sentence()}."
    if options.control not in (None, report.control):
        said += f" --control {options.control} was asked for all the same."
    if begun.carried is not None:
        said += " Its trainings and the repeats of the old best are copied into this study and counted here."
    elif begun.pilot is None:
        said += " Its trainings are in another study: this one does not count them."
    if control == "on":
        return _bounds_of(report, replace(options, control=control)), said
    if options.control is None and (given := _of_the_controller(options)):
        raise PlanError(
            f"the pilot chose the fixed rate, so {listed(given)} has no meaning; leave it out, or say "
            "--control on"
        )
    return replace(options, control=control), said


def _without(
    report: PilotReport, options: RunOptions, begun: BegunStudy, agree: Callable[[str], bool] | None
) -> tuple[RunOptions, str]:
    """With control unless something else is said, since the pilot was stopped before it had chosen."""
    words = report.sentence()
    asked = options.control is not None or begun.searched
    if not asked and (agree is None or not agree(f"{_first(words)}. Run without its choice?")):
        raise PlanError(f"{words}; finish it with galatune pilot, or run without its choice with --yes")
    return replace(options, control=options.control or "on"), f"{_first(words)}, so it has chosen nothing."


def _control(report: PilotReport, begun: BegunStudy, agree: Callable[[str], bool] | None) -> str:
    if begun.searched:  # it was asked when that began
        return str(begun.options.get("control", report.control))
    if report.way != LEAVE:
        return report.control
    words = f"the pilot says: {report.sentence()}"
    if agree is None or not agree(f"{_first(words)}. Run the smaller search all the same?"):
        raise PlanError(f"{words}; run it all the same with --yes, or say how with --control on or off")
    return report.control


def _bounds_of(report: PilotReport, options: RunOptions) -> RunOptions:
    """With the options of control that the pilot had, unless others are given."""
    usual = RunOptions()
    carried = {
        name: report.options[name]
        for name in CARRIED_OPTIONS
        if getattr(options, name) == getattr(usual, name) and report.options.get(name) is not None
    }
    return replace(options, **carried)


def _of_the_controller(options: RunOptions) -> list[str]:
    usual, said = RunOptions(), {"max_growth_per_step": "--max-growth", "prior": "--no-prior"}
    names = [*CARRIED_OPTIONS, "polish"]
    changed = [name for name in names if getattr(options, name) != getattr(usual, name)]
    return [said.get(name, f"--{name.replace('_', '-')}") for name in changed]


def _first(sentence: str) -> str:
    return f"{sentence[0].upper()}{sentence[1:]}"
