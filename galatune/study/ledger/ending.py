"""How a search ended: what the smaller study reached, by how much it missed the old best, and what may help.

Everything is read from the smaller study, so that `galatune run` and `galatune report` say the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from galatune.formatting import plural
from galatune.study.ledger.confirmation import Confirmation, confirmations
from galatune.study.ledger.goal import goal_from_body
from galatune.study.ledger.match import Goal, Repeats, best_so_far, trials_since_best
from galatune.study.ledger.rows import Ledger, TrialRow

__all__ = [
    "AT_WORK",
    "FAILED",
    "MATCHED",
    "OWN_STEPS",
    "PRUNED_AFTER",
    "STALE",
    "TRIED",
    "Advice",
    "Ending",
    "advice",
    "ending",
]

MATCHED = "the old best was matched"
"""Beginning of the reason why a search ended that matched."""

STALE = "in a row brought no better value"
"""End of the reason why a search ended whose patience ran out."""

AT_WORK = "at work in another process"
"""End of the reason to stop if other processes run the rest of the trials."""

TRIED = "were tried;"
"""In the reason why a search ended that tried every configuration of a finite space."""

FAILED = "trials in a row failed"
"""End of the reason why a search ended whose objective failed."""

OWN_STEPS = "trials in a row had an optimizer that sets its own step"
"""End of the reason why a search ended that drew nothing but such optimizers."""

PRUNED_AFTER = "pruned after"
"""Beginning of the event of a trial that the study's pruner ended, and not the objective by itself."""

DOUBLING = 2.0
"""``--max-growth`` that lets the rate double at each probe, which is as fast as it may grow."""

MOSTLY = 0.5
"""Share of the trials in which something must have happened to be called the cause."""

NEARLY_ALL = 0.75
"""The same of pruned trials: some are always pruned."""

MOST_SHARE = 10.0
"""A difference that is more times as large as the old best is no share of it that says anything."""

ON_TOP = ("repeat", "pilot", "confirm", "polish")
"""Stages of trials that use no trial of the budget."""

TELLING = 10
"""So many trials, or as many as the old study had, tell whether the best value still improves."""

FEWEST_MORE = 5
"""Trials to be added at least."""

ENDED_EARLY = {
    AT_WORK: "wait for the other processes",
    FAILED: "mend the objective, then the same command continues the search",
    OWN_STEPS: "leave that choice out of the objective, or search the rate again with --keep",
}
"""End of the reason of a search that ended before its budget did, and what helps."""


@dataclass(frozen=True)
class Ending:
    """What a smaller study reached.

    Attributes:
        old_best: What it is compared with: the mean of the repeats of the old best; without repeats the old
            best itself, which is one value (the old hypervolume, with several objectives); None if unknown.
        best: The smaller study's best value; None if no trial is complete.
        missed_by: How much worse the smaller study is, in the units of the objective; None if the old best
            was reached, within the margin if there is one, or if one of the two is unknown. It is `best` that
            is compared, or `again` if there are repeats of what reached it.
        volume: Whether these are hypervolumes.
        matched: Whether the search ended since it matched.
        repeats: The repeats of the old best, None without.
        confirmed: Whether a configuration that reached it did so again; None if none was repeated.
        again: Mean of the repeats of the best such configuration, None without.
        chance: A miss up to this size is no more than the repeats vary by chance, in the units of the
            objective: half a 95 % interval of the difference; None if unknown.
    """

    old_best: float | None
    best: float | None
    missed_by: float | None
    volume: bool = False
    matched: bool = False
    repeats: Repeats | None = None
    confirmed: bool | None = None
    again: float | None = None
    chance: float | None = None

    @property
    def standard_errors(self) -> float | None:
        """`missed_by` in standard errors of the mean of the old best's repeats; None if one is unknown."""
        error = None if self.repeats is None else self.repeats.standard_error
        return self.missed_by / error if self.missed_by is not None and error else None

    def text(self) -> str | None:
        """The old best, how it compares and what a miss means; None if it is unknown.

        >>> Ending(0.0583, 0.0612, 0.0029).text()
        '0.0583, missed by 0.0029 (5.0 %)'
        """
        if self.old_best is None:
            return None
        goal = f"{self.old_best:.6g}{self._repeats_text()}"
        if self.best is None:
            return f"{goal}, not reached: no trial is complete"
        if self.missed_by is None:
            return f"{goal}, {'matched' if self.matched else 'reached'}{self._confirmed_text()}"
        share = self.missed_by / abs(self.old_best) if self.old_best else math.inf
        sizes = [f"{100 * share:.1f} %"] if share < MOST_SHARE else []
        sizes += [] if self.standard_errors is None else [f"{self.standard_errors:.1f} standard errors"]
        size = f" ({', '.join(sizes)})" if sizes else ""
        once = f"reached once, not again (mean {self.again:.6g}): " if self.again is not None else ""
        return f"{goal}, {once}missed by {self.missed_by:.6g}{size}{self._meaning()}"

    def _repeats_text(self) -> str:
        if self.repeats is None or not self.repeats.values:
            return ""
        return f" (mean of {plural(len(self.repeats.values), 'repeat')}; once {self.repeats.old_best:.6g})"

    def _confirmed_text(self) -> str:
        if self.confirmed:
            return "" if self.again is None else f" and confirmed (mean {self.again:.6g})"
        return "" if self.repeats is None else " once, not confirmed"

    def _meaning(self) -> str:
        """What a miss means; nothing if it is unknown how much chance does."""
        if self.chance is None or self.missed_by is None:
            return ""
        if self.missed_by > self.chance:
            return "; that is more than chance: the smaller search is worse"
        return f"; chance alone makes up to {self.chance:.6g}: undecided"


@dataclass(frozen=True)
class Advice:
    """What may help a search that missed the old best.

    Attributes:
        words: Why, in words.
        options: Of the next ``galatune run``, beside those of the last one: option to value, "" for a flag.
        anew: Whether that has to be a study of another name, since trials would differ from those so far.
        runs: Whether there is a next run at all.
    """

    words: str
    options: Mapping[str, str] = field(default_factory=dict)
    anew: bool = False
    runs: bool = True

    def text(self) -> str:
        """The words with the options."""
        given = " ".join(f"{name} {value}".rstrip() for name, value in self.options.items())
        another = " and another --name" if self.anew else ""
        return f"{self.words}; galatune run with {given}{another}" if given else self.words


def ending(shrunk: Ledger) -> Ending:
    """Compare the best of a smaller study with what its source says of the old one.

    >>> ending(Ledger("s", ("minimize",), ())).text() is None
    True
    """
    goal = _old_best(shrunk)
    matched = (shrunk.provenance.stopped_because or "").startswith(MATCHED)
    if goal is None:
        return Ending(None, None, None, matched=matched)
    history = best_so_far(shrunk, goal)
    best = history[-1] if history else None
    found = None if goal.reference_point is not None else _best_confirmation(shrunk, goal)
    compared = best if found is None else found.mean
    missed = None
    if compared is not None and best is not None:
        missed = goal.best - compared if goal.bigger_is_better else compared - goal.best
        if matched or (found.confirmed if found is not None else goal.reached(best)):
            missed = None
    return Ending(
        old_best=goal.best,
        best=best,
        missed_by=missed,
        volume=goal.reference_point is not None,
        matched=matched,
        repeats=goal.repeats,
        confirmed=None if found is None else matched or bool(found.confirmed),
        again=None if found is None else found.mean,
        chance=_chance(goal.repeats, 1 if found is None else len(found.values)),
    )


def _best_confirmation(shrunk: Ledger, goal: Goal) -> Confirmation | None:
    """The repeats that confirm, else those with the best mean; None if none are complete."""
    done = [one for one in confirmations(shrunk, goal) if one.confirmed is not None and one.mean is not None]
    sign = -1.0 if goal.bigger_is_better else 1.0
    return min(done, key=lambda one: (not one.confirmed, sign * (one.mean or 0.0)), default=None)


def _chance(repeats: Repeats | None, values: int) -> float | None:
    """Half the 95 % interval of a difference between the mean of the repeats and that of so many values.

    Student's t, with the spread of the old best's repeats for both.
    """
    if repeats is None or not repeats.spread:
        return None
    from scipy.special import stdtrit

    count = len(repeats.values)
    return float(stdtrit(count - 1, 0.975)) * repeats.spread * math.sqrt(1 / count + 1 / values)


def advice(shrunk: Ledger) -> Advice | None:
    """What may help; None if the old best was reached, or if nothing is known that would.

    More trials are advised only if they may close the gap.
    """
    provenance = shrunk.provenance
    reason, end = provenance.stopped_because or "", ending(shrunk)
    if not provenance.made_by_galatune or end.matched or (end.old_best is not None and _reached(end)):
        return None
    if provenance.unfinished or reason == "the objective stopped the study":
        return Advice("the same command continues the search")
    for end_of_reason, words in ENDED_EARLY.items():
        if reason.endswith(end_of_reason):
            return Advice(words, runs=False)
    searched = _searched(shrunk)
    return _obstacle(searched) or _more_trials(searched, reason)


def _searched(shrunk: Ledger) -> Ledger:
    """Without the trials that come on top of the budget, since they repeat others."""
    return replace(shrunk, rows=tuple(row for row in shrunk.rows if row.stage not in ON_TOP))


def _reached(end: Ending) -> bool:
    return end.best is not None and end.missed_by is None


def _old_best(shrunk: Ledger) -> Goal | None:
    """What the smaller study knows of the old best, without tolerance if it was not repeated."""
    source, kept = shrunk.provenance.source, shrunk.provenance.goal
    tolerance = kept.get("tolerance")
    if isinstance(tolerance, int | float):
        goal = goal_from_body(kept, shrunk.directions, tolerance)
        if goal is not None:
            return goal
    point = source.get("reference_point")
    several = len(shrunk.directions) > 1
    best = source.get("hypervolume" if several else "best_value")
    if not isinstance(best, int | float) or (several and not isinstance(point, list | tuple)):
        return None
    return Goal(shrunk.directions, 0.0, best, 0.0, best, tuple(point) if several and point else None)


def _obstacle(shrunk: Ledger) -> Advice | None:
    """What keeps trials from being better, so that more of the same would not help."""
    finished, complete = shrunk.finished, shrunk.complete
    options = shrunk.provenance.options
    pruned = [row for row in finished if row.state == "PRUNED"]
    if pruned and len(pruned) >= NEARLY_ALL * len(finished):
        return _less_pruning(pruned, len(finished))
    held = [row for row in complete if _says(row, "bound", "upper")]
    if complete and len(held) >= MOSTLY * len(complete):
        words = f"the rate was at its upper bound in {_of(held, complete)}"
        return Advice(words, {"--max-lr": "inf"}, anew=True)
    short = [row for row in complete if _says(row, "short", "still growing")]
    growth = options.get("max_growth_per_step")
    if complete and len(short) >= MOSTLY * len(complete) and (growth is None or growth < DOUBLING):
        words = f"the rate was still growing at the end of {_of(short, complete)}"
        return Advice(words, {"--max-growth": f"{DOUBLING:g}"}, anew=True)
    return None


def _less_pruning(pruned: list[TrialRow], finished: int) -> Advice:
    by_pruner = [row for row in pruned if _says(row, "pruning", PRUNED_AFTER)]
    words = f"{len(pruned)} of {plural(finished, 'trial')} were pruned"
    if len(by_pruner) >= MOSTLY * len(pruned):
        return Advice(words, {"--pruner": "none"}, anew=True)
    return Advice(f"{words}, mostly by a rule of the objective's own, not by --pruner: loosen it", runs=False)


def _of(some: list[TrialRow], trials: tuple[TrialRow, ...]) -> str:
    return f"{len(some)} of {plural(len(trials), 'complete trial')}"


def _says(row: TrialRow, kind: str, words: str) -> bool:
    events = () if row.record is None else row.record.events
    return any(event.kind == kind and words in event.reason for event in events)


def _more_trials(shrunk: Ledger, reason: str) -> Advice | None:
    """More trials, if the best value improved in their second half, or if they are too few to tell.

    docs/accounting.md states the rule. What came on top of the budget is left out before.
    """
    options, old = shrunk.provenance.options, sum(shrunk.provenance.old_trials.values())
    if not shrunk.complete or TRIED in reason:
        return None
    goal = _old_best(shrunk)
    tried, since = len(shrunk.finished), 0 if goal is None else trials_since_best(shrunk, goal)
    if tried >= min(TELLING, old or TELLING) and since >= tried / 2:
        words = (
            f"more trials are not likely to close the gap: the last {since} of {tried} brought no better "
            "value; search the learning rate"
        )
        if goal is None or goal.repeats is None:
            words += ", or run the old best once more: it may have been a lucky one"
        return Advice(words, runs=False)
    patience = options.get("patience")
    if reason.endswith(STALE) and isinstance(patience, int):
        return Advice("more patience", {"--patience": str(2 * patience)})
    more = {"--trials": str(tried + max(tried // 2, FEWEST_MORE))}
    looks = options.get("until_match") or options.get("trials") is None
    return Advice("more trials", {**more, "--until-match": ""} if looks else more)
