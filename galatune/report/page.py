"""The report as one HTML file: nothing is fetched, no script runs, and every name stays text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from galatune.formatting import duration, number, printable
from galatune.pages import page_template
from galatune.report.comparison import NOT_REACHED
from galatune.report.plots import best_by_trial, rate_by_step, svg
from galatune.report.savings import SavingsReport
from galatune.report.table_rows import NOT_MEASURED, rows
from galatune.report.trial_table import cell, csv_command, trial_table
from galatune.study.ledger.goal import goal_for
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import Ledger, TrialRow
from galatune.study.storage.address import redact

__all__ = ["EventSummary", "events", "page"]

TEMPLATE = "page.html.jinja"
UNKNOWN = "not recorded"


@dataclass(frozen=True)
class EventSummary:
    """One kind of event over all trials.

    Attributes:
        kind: Name that the controller gave it.
        count: Number of events.
        trials: Number of trials in which it occurred.
        example: The first reason given, with its trial and step.
    """

    kind: str
    count: int
    trials: int
    example: str


def page(report: SavingsReport, baseline: Ledger, shrunk: Ledger) -> str:
    """Make the page.

    Args:
        report: From `galatune.savings`.
        baseline: Ledger of the old study.
        shrunk: Ledger of the smaller study.

    Returns:
        One HTML document; the same studies give the same text.
    """
    template = page_template(
        "galatune.report", TEMPLATE, number=number, duration=duration, text=_text, cell=cell, values=_values
    )
    return template.render(
        report=report,
        rows=rows(report),
        notes=_notes(report),
        not_measured=NOT_MEASURED,
        best_picture=_best_picture(report, baseline, shrunk),
        rate_picture=_rate_picture(shrunk),
        dimensions=_dimensions(shrunk.provenance.plan),
        kept=", ".join(map(str, _sequence(shrunk.provenance.plan.get("kept")))) or UNKNOWN,
        events=events(shrunk),
        settings=_settings(baseline, shrunk),
        studies=[trial_table("Smaller study", shrunk), trial_table("Old study", baseline)],
        csv_command=csv_command(baseline, shrunk),
    )


def events(study: Ledger) -> tuple[EventSummary, ...]:
    """Summarize the controller's events by kind, most frequent first."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for row in study.rows:
        for event in row.record.events if row.record else ():
            found.setdefault(str(event.kind), []).append((row.number, event.step, str(event.reason)))
    summaries = [
        EventSummary(
            kind=kind,
            count=len(seen),
            trials=len({trial for trial, _, _ in seen}),
            example=f"{seen[0][2]} (trial {seen[0][0]}, step {seen[0][1]})",
        )
        for kind, seen in found.items()
    ]
    return tuple(sorted(summaries, key=lambda summary: (-summary.count, summary.kind)))


def _notes(report: SavingsReport) -> list[str]:
    """Why something is not measured, each reason once."""
    groups = (report.baseline.why, report.shrunk.why, report.to_match.why)
    return list(dict.fromkeys(why for why in groups if why is not None and why != NOT_REACHED))


def _best_picture(report: SavingsReport, baseline: Ledger, shrunk: Ledger) -> Markup | None:
    match = report.to_match
    goal = goal_for(baseline, shrunk, match.tolerance) if baseline.complete else None
    data = best_by_trial(baseline, shrunk, goal, (match.baseline_trials, match.shrunk_trials))
    if data is None:
        return None
    description = f"{printable(baseline.study)} beside {printable(shrunk.study)}, by finished trials."
    return Markup(svg(data.draw(), f"Best {data.quantity} so far by trial", description))


def _rate_picture(shrunk: Ledger) -> Markup | None:
    data = rate_by_step(shrunk)
    if data is None:
        return None
    numbers = ", ".join(str(n) for n in dict.fromkeys(curve.trial for curve in data.curves))
    return Markup(svg(data.draw(), "Learning rate by step of the best trials", f"Trials {numbers}."))


def _dimensions(plan: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Per parameter: name, role, distribution, whether it was dropped, evidence."""
    found = []
    for body in _sequence(plan.get("learning_rate")):
        if isinstance(body, Mapping):
            dropped = "kept"
            if body.get("dropped"):
                dropped = f"dropped, held at {cell(body.get('placeholder'))}"
            texts = (
                body.get("name"),
                body.get("role"),
                body.get("distribution"),
                dropped,
                body.get("evidence"),
            )
            found.append(tuple(cell(text) for text in texts))
    return found


def _settings(baseline: Ledger, shrunk: Ledger) -> list[tuple[str, str, str]]:
    """Per setting: label, old study, smaller study."""
    old, new = baseline.provenance, shrunk.provenance
    source = new.source
    sampler = old.sampler or source.get("sampler")
    because = [("why this pruner", "", cell(new.pruner_because))] if new.pruner_because else []
    return [
        ("study", baseline.study, shrunk.study),
        ("storage", redact(_known(baseline.storage or source.get("storage"))), _known(shrunk.storage)),
        ("objective", UNKNOWN, _known(new.objective)),
        ("sampler", _known(sampler), _known(new.sampler)),
        ("pruner", _known(old.pruner), _known(new.pruner)),
        *because,
        ("seed", _known(old.seed), _known(new.seed)),
        ("options", _pairs(old.options), _pairs(new.options)),
        ("machine", _machines(baseline), _machines(shrunk)),
        ("versions", _versions(old, baseline), _versions(new, shrunk)),
        ("stopped because", "", _known(new.stopped_because)),
        ("time", _period(baseline), _period(shrunk)),
    ]


def _values(row: TrialRow) -> str:
    return ", ".join(number(value) for value in row.values or ())


def _machines(study: Ledger) -> str:
    return "; ".join(_pairs(machine) for machine in study.machines) or UNKNOWN


def _versions(provenance: Provenance, study: Ledger) -> str:
    found = dict(provenance.versions)
    for row in study.rows:
        found.update(row.record.versions if row.record else {})
    return _pairs(found)


def _period(study: Ledger) -> str:
    starts = [row.start for row in study.finished if row.start and row.seconds is not None]
    ends = [row.end for row in study.finished if row.end and row.seconds is not None]
    if not starts or not ends:
        return UNKNOWN
    return f"{min(starts):%Y-%m-%d %H:%M} to {max(ends):%Y-%m-%d %H:%M}"


def _known(value: Any) -> str:
    return UNKNOWN if value is None or value == "" else cell(value)


def _pairs(body: Mapping[str, Any]) -> str:
    shown = {key: "not set" if value is None else cell(value) for key, value in body.items()}
    return ", ".join(f"{key} {text}" for key, text in shown.items()) or UNKNOWN


def _sequence(body: Any) -> list[Any]:
    return list(body) if isinstance(body, list | tuple) else []


def _text(value: Any) -> str:
    """A sentence or a name as one line of text."""
    return "" if value is None else printable(str(value))
