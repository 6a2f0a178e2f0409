"""The table: how far each way of setting the rate is behind the best of seven rates, how calm, how dear."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table

from galatune.bench.prior.trainings import ARMS, FIXED, TUNED, Trained
from galatune.bench.studies.unit import AGAIN
from galatune.bench.text import plain_table
from galatune.statistics import Mean, mean_over_groups

__all__ = ["prior_tables", "prior_words"]

SHOWN = (FIXED, "controlled", "with the prior")

DIVERGED = 10.0
"""A training that diverged counts as this many times the best loss."""

FEWEST = 3
"""Objectives, below which an interval says nothing."""

Place = tuple[str, str, int]


def prior_tables(trained: Sequence[Trained]) -> list[Table]:
    """One row per kind and way of setting the rate."""
    table = plain_table(
        "test loss of old best configurations / the best of seven fixed rates, known afterwards",
        ("what changed", "rate", "places", "mean ln", "interval", "worst", "spread", "seconds", "gradients"),
        left=("what changed", "rate"),
    )
    groups = _by_place(trained)
    settings = dict.fromkeys(setting for _, setting, _ in groups)
    kinds = {setting: [place for place in groups if place[1] == setting] for setting in settings}
    if len(settings) > 2:
        kinds["moved, all"] = [place for place in groups if place[1] != AGAIN]
    for kind, places in kinds.items():
        for arm in SHOWN:
            own = [(place, groups[place]) for place in places]
            behind = {place: _behind(found, arm) for place, found in own}
            mean = _mean(behind)
            table.add_row(
                kind if arm == FIXED else "",
                arm,
                str(len(places)),
                f"{mean.value:+.3f}",
                _interval(mean),
                f"{max(behind.values()):+.2f}",
                _ratio(_spread(found, arm) for _, found in own),
                *(_ratio(_of(found, arm, name) for _, found in own) for name in ("seconds", "gradients")),
            )
    return [table]


def prior_words(trained: Sequence[Trained]) -> list[str]:
    """How to read the table."""
    repeats = 1 + max(one.training.repeat for one in trained)
    return [
        f"{len(trained)} trainings, {repeats} seeds each, the same ones in every way. Means and Student's t "
        "intervals over objectives.",
        "spread: standard deviation over seeds / that at the old rate; seconds and gradients: per training, "
        "over those at the old rate; geometric means.",
        f"The best of seven rates ({FIXED} times 10^-1.5 to 10^1.5) is chosen on the same trainings, which "
        "favours it. A training that diverged counts as ten times the best loss.",
    ]


Groups = dict[Place, dict[str, list[Trained]]]


def _by_place(trained: Sequence[Trained]) -> Groups:
    groups: Groups = {}
    for one in trained:
        place = (one.training.objective, one.training.setting, one.training.study)
        groups.setdefault(place, {arm: [] for arm in ARMS})[one.training.arm].append(one)
    return groups


def _loss(arms: dict[str, list[Trained]], arm: str) -> float:
    losses = [one.loss for one in arms[arm]]
    return statistics.fmean(losses) if all(map(math.isfinite, losses)) else math.inf


def _behind(arms: dict[str, list[Trained]], arm: str) -> float:
    """ln(mean loss / that of the best fixed rate)."""
    best = min(_loss(arms, rate) for rate in (FIXED, *TUNED))
    return math.log(min(_loss(arms, arm) / best, DIVERGED)) if math.isfinite(best) else math.nan


def _spread(arms: dict[str, list[Trained]], arm: str) -> float | None:
    """Ln of the ratio of standard deviations; None if one is not known."""
    values = [[one.loss for one in arms[which]] for which in (arm, FIXED)]
    if len(values[0]) < 2 or not all(math.isfinite(loss) for losses in values for loss in losses):
        return None
    own, fixed = map(statistics.stdev, values)
    return math.log(own / fixed) if own and fixed else None


def _of(arms: dict[str, list[Trained]], arm: str, name: str) -> float:
    own, fixed = (statistics.fmean(getattr(one, name) for one in arms[which]) for which in (arm, FIXED))
    return math.log(own / fixed)


def _mean(values: Mapping[Place, float]) -> Mean:
    names = dict.fromkeys(name for name, _, _ in values)
    return mean_over_groups(
        [[value for place, value in values.items() if place[0] == name] for name in names]
    )


def _interval(mean: Mean) -> str:
    if mean.interval is None or mean.groups < FEWEST:
        return ""
    return f"{mean.interval[0]:+.3f} to {mean.interval[1]:+.3f}"


def _ratio(logarithms: Iterable[float | None]) -> str:
    found = [one for one in logarithms if one is not None]
    return f"{math.exp(statistics.fmean(found)):.2f}" if found else ""
