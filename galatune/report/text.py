"""The report in words: four sentences for those who decide, then a table."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from galatune.formatting import duration, plural, printable
from galatune.report.comparison import Comparison
from galatune.report.headline import cost_sentence, saved_sentence
from galatune.report.table_rows import rows
from galatune.study.ledger.ending import advice, ending
from galatune.study.ledger.rows import Ledger

__all__ = ["Verdict", "as_text", "verdict"]

UNLIKE = 2.0
"""A mean trial this many times slower or quicker than before raises a question about the machine."""


@dataclass(frozen=True)
class Verdict:
    """Four sentences.

    Attributes:
        cost: What the whole smaller search cost beside the whole old one, and what it reached.
        saved: What was saved, or that nothing was, and what a random order of the old trials would do.
        risk: What it may have cost in quality, and what is not known.
        next: What to do now.
    """

    cost: str
    saved: str
    risk: str
    next: str

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Heading and sentence, in order."""
        return (("Cost", self.cost), ("Saved", self.saved), ("Risk", self.risk), ("Next", self.next))


def verdict(report: Comparison, shrunk: Ledger) -> Verdict:
    """Say it in four sentences.

    Args:
        report: All numbers.
        shrunk: Ledger of the smaller study, which tells the best trial and whether the run is over.
    """
    risk = _risk(report, shrunk) + _busy(report) + _pruned(report, shrunk) + _fixed(shrunk)
    risk += _warm(report, shrunk)
    return Verdict(cost_sentence(report), saved_sentence(report, ending(shrunk)), risk, _next(report, shrunk))


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
    return f"{text}{_luck(report)}."


def _luck(report: Comparison) -> str:
    """Which of the two bests may be a lucky one, since it was seen once."""
    match = report.to_match
    if match.goal_repeats and match.confirmed:
        return ""
    if match.goal_repeats:
        return "; the smaller study's best was not confirmed and may be a lucky one"
    if match.confirmed:
        return "; the old best is one value and may be a lucky one"
    return "; no best was run again, each may be a lucky one"


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
    if report.to_match.baseline_trials is None:
        return "the old study sets no value to reach; compare the best trials of both by hand."
    return _next_if_matched(report, shrunk) if report.to_match.matched else _next_if_missed(shrunk)


def _next_if_matched(report: Comparison, shrunk: Ledger) -> str:
    best = _best_number(report, shrunk)
    who = "a trial of the Pareto front" if best is None else f"trial {best}"
    if report.saved.trials is not None and report.saved.trials < 0:
        return f"removing the learning rate did not pay here: keep it searched, or retrain {who} and compare."
    inside = _inside(report, shrunk)
    if report.to_match.confirmed:
        return f"take the configuration of {who}; train it{inside}."
    return f"retrain {who} with two or three other seeds{inside} before relying on it."


def _inside(report: Comparison, shrunk: Ledger) -> str:
    """In what the best trial is to be trained again, so that it has the rate that it had."""
    if report.shrunk.control == "off":
        return ""
    best = _best_number(report, shrunk)
    polish = next((row.polish for row in shrunk.complete if row.number == best), None)
    if polish is None:
        return " inside galatune.controlled()"
    if polish.fixed is not None:
        return f" at {polish.fixed} without control"
    return f" inside galatune.controlled(step_scale_factor={polish.step_scale_factor:g})"


def _next_if_missed(shrunk: Ledger) -> str:
    may_help = advice(shrunk)
    if may_help is None:
        return "compare the best trials of both by hand, or keep the learning rate searched."
    other = ", or keep the learning rate searched" if may_help.runs else ""
    return f"{may_help.text()}{other}."


def _best_number(report: Comparison, shrunk: Ledger) -> int | None:
    """Number of the trial that was confirmed, else of the best one; None with several objectives."""
    if len(shrunk.directions) > 1:
        return None
    if report.to_match.confirmed_trial is not None:
        return report.to_match.confirmed_trial
    sign = -1.0 if shrunk.directions[0] == "maximize" else 1.0
    return min(shrunk.complete, key=lambda row: sign * (row.values or (0.0,))[0]).number


def _what(report: Comparison) -> str:
    if report.to_match.reference_point:
        return "hypervolume"
    return "repeated configuration" if report.quality.of_repeats else "best value"
