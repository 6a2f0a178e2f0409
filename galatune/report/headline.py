"""The two sentences that a report begins with: what the whole search cost, and what of it is a saving.

Terminal, page and hosts show these very sentences.
"""

from __future__ import annotations

from galatune.formatting import duration, plural
from galatune.report.comparison import NOT_REACHED, Comparison
from galatune.report.random_order import RandomOrder
from galatune.report.spending import StudySummary
from galatune.study.ledger.ending import Ending

__all__ = ["cost_sentence", "saved_sentence", "within"]


def cost_sentence(report: Comparison) -> str:
    """What the whole smaller search cost beside the whole old one, and what it reached."""
    whole = [_trials(report), _gradients(report), _hours(report)]
    return f"the whole smaller search took {'; '.join(whole)}. {_reached(report)}."


def saved_sentence(report: Comparison, ending: Ending) -> str:
    """What the match came earlier by, whether that is a saving, and what chance alone would do.

    Args:
        report: All numbers.
        ending: By how much the smaller study missed, if it did.
    """
    match, saved = report.to_match, report.saved
    if not match.matched or saved.trials is None:
        after = plural(report.shrunk.trials, "trial")
        text = f"nothing: after {after} the smaller study is not {within(report)}"
        text = text if match.why == NOT_REACHED else f"{text} ({match.why})"
        return f"{text}." if ending.missed_by is None else f"{text}. Old best: {ending.text()}."
    old, new, chance = match.baseline_trials, match.shrunk_trials, _chance(report.random_order)
    if saved.trials < 0:
        head = f"nothing: {new} trials instead of {old} to come {within(report)}"
    elif saved.trials == 0:
        head = f"no trials: both studies needed {old} to come {within(report)}"
    else:
        head = f"{saved.trials} of {old} trials ({saved.trials_percent:.0f} %) to come {within(report)}"
    if saved.trials > 0 and not saved.claimed:
        head = f"no saving is claimed, since {saved.not_claimed}. Counted: {head}"
    return f"{head}{_saved_hours(report)}.{chance}"


def within(report: Comparison) -> str:
    """What has to be reached, in words that follow "to come" or "is not"."""
    match = report.to_match
    if not match.goal_repeats or match.goal is None or match.margin is None:
        return f"within {100 * match.tolerance:g} % of the old best"
    repeats = plural(match.goal_repeats, "repeat")
    return f"within {match.margin:.3g} of {match.goal:.6g}, the mean of {repeats} of the old best"


def _trials(report: Comparison) -> str:
    stages = report.total.stages
    names = {"repeat": "repeating the old best", "pilot": "of the pilot"}
    names |= {"confirm": "of confirmation", "polish": "of polish"}
    parts = [f"{stages[stage].trials} {name}" for stage, name in names.items() if stage in stages]
    included = f" ({', '.join(parts)})" if parts else ""
    return f"{plural(report.total.trials, 'trial')}{included}, the old one {report.baseline.trials}"


def _gradients(report: Comparison) -> str:
    old, new = (_counted(study) for study in (report.baseline, report.shrunk))
    if old is None and new is None:
        return "no gradient evaluations were recorded"
    return f"{new or 'an unrecorded number of'} gradient evaluations, the old one {old or 'recorded none'}"


def _counted(study: StudySummary) -> str | None:
    if study.gradient_evaluations is None:
        return None
    return f"{'at least ' if study.uncounted else ''}{study.gradient_evaluations}"


def _hours(report: Comparison) -> str:
    total = report.total
    if not total.hours_measured:
        return f"hours cannot be compared ({(total.why or 'none recorded').removeprefix('hours: ')})"
    share = "" if total.hours_percent is None else f" ({total.hours_percent:.0f} %)"
    return f"{duration(total.hours)}, the old one {duration(report.baseline.hours)}{share}"


def _reached(report: Comparison) -> str:
    quality, match = report.quality, report.to_match
    if quality.volumes is not None:
        old, volume = quality.volumes
        return f"It reached a hypervolume of {volume:.6g}, the old one {old:.6g}; neither was run again"
    if quality.reached is None:
        return "It reached nothing: no trial is complete"
    if match.goal is None:
        return f"It reached {quality.reached:.6g}; the old one reached nothing"
    if quality.repeats:
        new = f"{quality.reached:.6g}, confirmed by {plural(quality.repeats, 'repeat')} with other seeds"
    else:
        new = f"{quality.reached:.6g}, seen once and not confirmed"
    one = f"the mean of {plural(match.goal_repeats, 'repeat')}" if match.goal_repeats else "one value"
    return f"It reached {new}; the old best is {match.goal:.6g}, {one}"


def _chance(order: RandomOrder) -> str:
    if order.probability is None:
        return ""
    return (
        f" A random order of the old trials reaches this within {plural(order.trials or 0, 'trial')} with "
        f"probability {order.probability:.2f} (median {plural(order.median_trials or 0, 'trial')})."
    )


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
