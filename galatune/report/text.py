"""The report in words: three sentences for those who decide, then a table."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from galatune.formatting import duration, number, plural, printable
from galatune.report.comparison import NOT_REACHED, Comparison, StudySummary
from galatune.study.ledger.ending import advice
from galatune.study.ledger.rows import Ledger

__all__ = ["NOT_MEASURED", "Verdict", "as_text", "rows", "verdict"]

MEASURED, NOT_MEASURED = "measured", "not measured"

UNLIKE = 2.0
"""A mean trial this many times slower or quicker than before raises a question about the machine."""


@dataclass(frozen=True)
class Verdict:
    """Three sentences.

    Attributes:
        saved: What was saved, or that nothing was.
        risk: What it may have cost in quality, and what is not known.
        next: What to do now.
    """

    saved: str
    risk: str
    next: str

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Heading and sentence, in order."""
        return (("Saved", self.saved), ("Risk", self.risk), ("Next", self.next))


def verdict(report: Comparison, shrunk: Ledger) -> Verdict:
    """Say it in three sentences.

    Args:
        report: All numbers.
        shrunk: Ledger of the smaller study, which tells the best trial and whether the run is over.
    """
    risk = _risk(report, shrunk) + _busy(report) + _pruned(report, shrunk) + _fixed(shrunk)
    risk += _warm(report, shrunk)
    return Verdict(_saved(report), risk, _next(report, shrunk))


def as_text(report: Comparison, sentences: Verdict, width: int | None = None) -> str:
    """The sentences, an empty line and the table.

    Args:
        report: All numbers.
        sentences: The same in words.
        width: Columns of the table; None for those of the terminal.
    """
    from rich.console import Console

    memory = _Memory()
    Console(file=memory, width=width, markup=False, highlight=False, emoji=False).print(table(report))
    lines = [f"{heading + ':':7}{printable(sentence)}" for heading, sentence in sentences.lines]
    return "\n".join([*lines, "", memory.getvalue().rstrip("\n")])


class _Memory(io.StringIO):
    """Text in memory. Its table is drawn with lines that stdout can show."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stdout, "encoding", None) or "utf-8"


def table(report: Comparison) -> Table:
    """Old study, smaller study and the difference; names stay text and are never read as markup."""
    grid = Table(title=None, pad_edge=False)
    for heading in ("", report.baseline.study, report.shrunk.study, "difference", ""):
        grid.add_column(Text(printable(heading)), justify="left" if not heading else "right", overflow="fold")
    for cells in rows(report):
        grid.add_row(*(Text(printable(cell)) for cell in cells))
    return grid


Cells = tuple[str, str, str, str, str]
"""Label, old study, smaller study, difference, and "measured" or that it is not."""


def rows(report: Comparison) -> list[Cells]:
    """The table that every form of the report shows."""
    old, new, match = report.baseline, report.shrunk, report.to_match
    timed = old.measured and new.measured and match.same_machine
    return [
        *_to_match_rows(report),
        *_best_rows(report),
        ("finished trials", number(old.trials), number(new.trials), "", MEASURED),
        *_pruned_rows(report),
        ("time in all", duration(old.hours), duration(new.hours), "", _mark(timed)),
    ]


def _to_match_rows(report: Comparison) -> list[Cells]:
    """What each study needed to reach the old best."""
    match, saved = report.to_match, report.saved
    reachable = match.baseline_trials is not None
    missed = "not reached" if reachable else NOT_MEASURED
    timed = _mark(_timed(report))
    trials: Cells = (
        f"trials to the old best, within {100 * match.tolerance:g} %",
        number(match.baseline_trials),
        number(match.shrunk_trials) if match.matched else missed,
        _minus_trials(saved.trials, saved.trials_percent),
        _mark(reachable),
    )
    time: Cells = (
        "time to it",
        duration(match.baseline_hours),
        duration(match.shrunk_hours) if match.matched else missed,
        _minus_hours(saved.hours, saved.hours_percent),
        timed,
    )
    if saved.cost is None:
        return [trials, time]
    return [trials, time, ("cost of it", "", "", f"{_signed(-saved.cost, '.2f')} {saved.currency}", timed)]


def _best_rows(report: Comparison) -> list[Cells]:
    """How good the best of each study is."""
    old, new, quality = report.baseline, report.shrunk, report.quality
    mark, difference = _mark(quality.measured), _worse(quality.difference)
    if not report.to_match.reference_point:
        return [("best value", _best(old), _best(new), difference, mark)]
    volumes = [number(volume) for volume in quality.volumes or (None, None)]
    return [
        ("hypervolume", volumes[0], volumes[1], difference, mark),
        ("best of each objective", _best(old), _best(new), "", mark),
    ]


def _pruned_rows(report: Comparison) -> list[Cells]:
    """How many of the finished trials were pruned, if any was."""
    old, new = (study.by_state.get("PRUNED", 0) for study in (report.baseline, report.shrunk))
    return [("  of these pruned", number(old), number(new), "", MEASURED)] if old or new else []


def _mark(measured: bool) -> str:
    return MEASURED if measured else NOT_MEASURED


def _timed(report: Comparison) -> bool:
    """Whether the hours to the match rest on recorded durations that can be compared."""
    match = report.to_match
    return match.hours_measured or (
        match.same_machine and not match.matched and match.baseline_hours is not None
    )


def _saved(report: Comparison) -> str:
    match, saved = report.to_match, report.saved
    within = f"within {100 * match.tolerance:g} % of the old best"
    if not match.matched or saved.trials is None:
        text = f"nothing: after {report.shrunk.trials} trials the smaller study is not {within}"
        return f"{text}." if match.why == NOT_REACHED else f"{text} ({match.why})."
    old, new = match.baseline_trials, match.shrunk_trials
    if saved.trials < 0:
        head = f"nothing: {new} trials instead of {old} to come {within}"
    elif saved.trials == 0:
        head = f"no trials: both studies needed {old} to come {within}"
    else:
        head = f"{saved.trials} of {old} trials ({saved.trials_percent:.0f} %) to come {within}"
    return f"{head}{_saved_hours(report)}."


def _saved_hours(report: Comparison) -> str:
    saved, match = report.saved, report.to_match
    if not saved.hours_measured or saved.hours is None:
        return f"; time and money are not measured ({(match.why or '').removeprefix('hours: ')})"
    share = "" if saved.hours_percent is None else f" ({saved.hours_percent:.0f} %)"
    if saved.hours >= 0:
        text = f"; {duration(saved.hours)} of {duration(match.baseline_hours)}{share}"
    else:
        text = f"; it took {duration(-saved.hours)} longer{share.replace('-', '')}"
    return text if saved.cost is None else f"{text}, {saved.cost:.2f} {saved.currency}"


def _risk(report: Comparison, shrunk: Ledger) -> str:
    quality = report.quality
    if quality.difference is None:
        return "not known: one of the studies has no complete trial."
    side = "worse" if quality.difference > 0 else "better"
    amount = f"{abs(quality.difference):.3g} {side}" if quality.difference else "the same"
    text = f"the smaller study's {_what(report)} is {amount}"
    if quality.interval is None:
        return f"{text}; {quality.verdict} (no interval: {quality.method.removeprefix('none: ')})."
    low, high = quality.interval
    text += f" (95 % interval {low:+.3g} to {high:+.3g}, positive is worse): {_JUDGEMENT[quality.verdict]}"
    repeated = any(row.stage == "confirm" for row in shrunk.finished)
    return text + ("." if repeated else "; no best was run again, each may be a lucky one.")


def _busy(report: Comparison) -> str:
    """Ask about the machine if trials became much quicker or slower, which control alone does not explain."""
    old, new = (
        None if study.hours is None or not study.trials else study.hours / study.trials
        for study in (report.baseline, report.shrunk)
    )
    if not report.to_match.hours_measured or not old or not new or 1 / UNLIKE < new / old < UNLIKE:
        return ""
    return (
        f" A trial took {duration(old)} before and {duration(new)} now: was the machine as busy with other "
        "work both times?"
    )


def _pruned(report: Comparison, shrunk: Ledger) -> str:
    """How many trials were pruned, and by what: a pruner that ends more of them saves time by itself."""
    studies = (report.shrunk, report.baseline)
    now, before = (f"{one.by_state.get('PRUNED', 0)} of {plural(one.trials, 'trial')}" for one in studies)
    if not any(one.by_state.get("PRUNED") for one in studies):
        return ""
    return " ".join(filter(None, (f" {now} were pruned, {before} before.", shrunk.provenance.pruner_because)))


def _fixed(shrunk: Ledger) -> str:
    """That control had no part in it, if it was off."""
    fixed = shrunk.provenance.fixed_rates
    return "" if fixed is None else f" With control off: {fixed}."


def _warm(report: Comparison, shrunk: Ledger) -> str:
    """How many of the trials that counted are old configurations: they know the old study."""
    counted = report.to_match.shrunk_trials or report.shrunk.trials
    warm = sum(row.old_trial is not None for row in shrunk.finished[:counted])
    if not warm:
        return ""
    to = " up to the match" if report.to_match.matched else ""
    whose = "the best configuration" if warm == 1 else "the best configurations"
    return f" {warm} of {plural(counted, 'trial')}{to} had {whose} of the old study (--warm-start)."


_JUDGEMENT = {
    "better": "better by more than the tolerance",
    "equal": "equal within the tolerance",
    "worse": "worse by more than the tolerance",
    "undecided": "undecided, the interval reaches across the tolerance",
}


def _next(report: Comparison, shrunk: Ledger) -> str:
    if shrunk.provenance.unfinished:
        return "the smaller study is not finished: the same galatune run command continues it."
    if not shrunk.complete:
        return "no trial is complete: read why the trials failed, then run again."
    best = _best_number(shrunk)
    who = "a trial of the Pareto front" if best is None else f"trial {best}"
    if report.to_match.baseline_trials is None:
        return "the old study sets no value to reach; compare the best trials of both by hand."
    if not report.to_match.matched:
        return _next_if_missed(shrunk)
    if report.saved.trials is not None and report.saved.trials < 0:
        return f"removing the learning rate did not pay here: keep it searched, or retrain {who} and compare."
    inside = "" if report.shrunk.control == "off" else f" {_inside(shrunk)}"
    return f"retrain {who} with two or three other seeds{inside} before relying on it."


def _inside(shrunk: Ledger) -> str:
    """In what the best trial is to be trained again, so that it has the rate that it had."""
    best = _best_number(shrunk)
    polish = next((row.polish for row in shrunk.complete if row.number == best), None)
    if polish is None:
        return "inside galatune.controlled()"
    if polish.fixed is not None:
        return f"with {polish.fixed}, without control,"
    return f"inside galatune.controlled(step_scale_factor={polish.step_scale_factor:g})"


def _next_if_missed(shrunk: Ledger) -> str:
    may_help = advice(shrunk)
    if may_help is None:
        return "compare the best trials of both by hand, or keep the learning rate searched."
    other = ", or keep the learning rate searched" if may_help.runs else ""
    return f"{may_help.text()}{other}."


def _best_number(shrunk: Ledger) -> int | None:
    if len(shrunk.directions) > 1:
        return None
    sign = -1.0 if shrunk.directions[0] == "maximize" else 1.0
    return min(shrunk.complete, key=lambda row: sign * (row.values or (0.0,))[0]).number


def _what(report: Comparison) -> str:
    return "hypervolume" if report.to_match.reference_point else "best value"


def _best(study: StudySummary) -> str:
    return ", ".join(number(value) for value in study.best_values)


def _minus_trials(saved: int | None, percent: float | None) -> str:
    return "" if saved is None else f"{_signed(-saved, 'd')}{_share(percent)}"


def _minus_hours(saved: float | None, percent: float | None) -> str:
    """The change from the old study to the smaller one: a saving is negative."""
    if saved is None:
        return ""
    sign = "-" if saved > 0 else "+" if saved < 0 else ""
    return f"{sign}{duration(abs(saved))}{_share(percent)}"


def _share(percent: float | None) -> str:
    return "" if percent is None else f" ({_signed(-percent, '.0f')} %)"


def _signed(value: float, how: str) -> str:
    """A number with its sign; a number that is shown as zero has none."""
    text = f"{value:+{how}}"
    return text if any(digit in text for digit in "123456789") else text.lstrip("+-")


def _worse(difference: float | None) -> str:
    if not difference:
        return "" if difference is None else "0"
    return f"{abs(difference):.3g} {'worse' if difference > 0 else 'better'}"
