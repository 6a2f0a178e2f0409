"""The tables of the testbed, and who wins where, in words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from rich.table import Table

from galatune.bench.studies.comparisons import Judged, Testbed, judge
from galatune.bench.studies.pilot_text import pilot_tables, pilot_words
from galatune.bench.studies.second_searches import SecondSearches, second_searches
from galatune.bench.studies.unit import SHARES, Axis
from galatune.bench.studies.ways import NULL, WAYS
from galatune.bench.text import plain_table
from galatune.formatting import plural
from galatune.statistics import Mean

__all__ = ["studies_tables", "studies_words"]

LAST = len(SHARES) - 1

TWO_THIRDS = 1

AXIS_NAMES: dict[Axis, str] = {
    "seconds": "processor seconds",
    "gradients": "gradient evaluations",
    "trials": "trials",
}

SHARE_NAMES = ("a third", "two thirds", "the whole")

CERTAIN = 0.05

FEWEST = 3
"""Of two objectives' means an interval says nothing."""

ENOUGH_SEEDS = 5
ENOUGH_OBJECTIVES = 6


def studies_tables(testbed: Testbed) -> list[Table]:
    """Per regime and kind one table of quality and cost; what pilots chose; then the named comparisons.

    A ratio is a test loss over that of the null at the end of its search: below 1 is better.
    """
    tables = []
    again, moved = testbed.regime("again"), testbed.regime("moved")
    for axis in AXIS_NAMES:
        tables += [_quality("again", testbed, again, axis)] if again else []
        tables += [_quality("moved", testbed, moved, axis)] if moved else []
    tables += [_quality(f"moved: {setting}", testbed, [setting], "seconds") for setting in moved]
    tables += [
        _ledgers(name, testbed, found) for name, found in (("again", again), ("moved", moved)) if found
    ]
    for name, found in (("again", again), ("moved", moved)):
        tables += pilot_tables(name, testbed, found)
    return [*tables, _named(judge(testbed)), *_second_searches(second_searches(testbed.outcomes))]


def _quality(title: str, testbed: Testbed, settings: Sequence[str], axis: Axis) -> Table:
    """Test loss in relation to the null's at its end, at shares of its cost."""
    table = plain_table(
        f"{title}: test loss / the null's in the end, by {AXIS_NAMES[axis]} ({_sizes(testbed, settings)})",
        (
            "way",
            "units",
            "a third",
            "two thirds",
            "interval",
            "the whole",
            "seconds/trial",
            "gradients/trial",
        ),
        left=("way",),
    )
    for way in testbed.ways:
        found = [
            testbed.log_ratio(settings, way, NULL.name, share, LAST, axis) for share in range(len(SHARES))
        ]
        if any(mean is None for mean in found):
            continue
        third, two_thirds, whole = found
        table.add_row(
            WAYS[way].title,
            f"{testbed.count(settings, way)}",
            _ratio(third),
            _ratio(two_thirds),
            _interval(two_thirds),
            _ratio(whole),
            _times(testbed.per_trial(settings, way, "seconds")),
            _times(testbed.per_trial(settings, way, "gradients")),
        )
    return table


def _ledgers(title: str, testbed: Testbed, settings: Sequence[str]) -> Table:
    """What it costs to have what the null has in the end: new cost alone, and with the old study's."""
    table = plain_table(
        f"{title}: cost of coming within 1 % of the null's end, in processor seconds of the null",
        ("way", "reached", "median, new cost", "median, old and new"),
        left=("way",),
    )
    for way in testbed.ways:
        costs = testbed.reached(settings, way)
        if costs:
            new, both = (statistics.median_high(column) for column in zip(*costs, strict=True))
            times = sum(math.isfinite(cost) for cost, _ in costs)
            table.add_row(WAYS[way].title, f"{times} of {len(costs)}", _cost(new), _cost(both))
    return table


def _second_searches(found: Sequence[SecondSearches]) -> Iterator[Table]:
    """Random order beside real second searches, if there are pairs."""
    if not found:
        return
    table = plain_table(
        f"The old best reached within 1 %: by chance, and in {found[0].pairs} second searches",
        ("within", "random order of the old trials", "second searches"),
        left=("within",),
    )
    for one in found:
        table.add_row(plural(one.first, "trial"), f"{one.random_order:.2f}", f"{one.found:.2f}")
    yield table


def _named(judged: Sequence[Judged]) -> Table:
    table = plain_table(
        "Named before the first run: test loss of ours / of the rival at equal processor seconds, Holm's p",
        ("regime", "ours", "rival", "cost", "ratio", "interval", "p", "verdict"),
        left=("regime", "ours", "rival", "cost", "verdict"),
    )
    for one in judged:
        named, p = one.named, one.adjusted
        table.add_row(
            named.regime,
            WAYS[named.ours].title,
            WAYS[named.rival].title,
            SHARE_NAMES[named.share],
            _ratio(one.difference),
            _interval(one.difference),
            "" if p is None else f"{p:.3f}",
            _verdict(one),
        )
    return table


def _verdict(one: Judged) -> str:
    if one.adjusted is None or one.adjusted > CERTAIN:
        return "undecided"
    return "better" if one.difference.value < 0 else "worse"


def studies_words(testbed: Testbed) -> Iterator[str]:
    """Who wins where at two thirds of the cost, whoever it is, and what the size of the bench allows."""
    for setting in testbed.settings:
        yield _winner(testbed, setting)
    if len(testbed.seeds) < ENOUGH_SEEDS or len(testbed.objectives) < ENOUGH_OBJECTIVES:
        yield (
            f"Too small to claim anything: {plural(len(testbed.objectives), 'objective')} and "
            f"{plural(len(testbed.seeds), 'seed')}; the full form has {ENOUGH_OBJECTIVES} and {ENOUGH_SEEDS}."
        )
    yield from pilot_words(testbed)
    for outcome in testbed.failed:
        unit = outcome.unit
        yield f"Failed: {unit.objective}, {unit.setting}, {unit.way}, seed {unit.seed}: {outcome.error}"


def _winner(testbed: Testbed, setting: str) -> str:
    """The best way that knows the old study, and the best that does not."""
    said = []
    for words, knows in (("nothing of the old study", False), ("the old study", True)):
        found = [
            (mean.value, way)
            for way in testbed.ways
            if WAYS[way].knows == knows
            and (mean := testbed.log_ratio([setting], way, NULL.name, TWO_THIRDS, LAST)) is not None
        ]
        if found:
            value, way = min(found)
            said.append(f"of ways that know {words}: {WAYS[way].title} ({math.exp(value):.3f})")
    return f"{setting}, best at two thirds of the cost {'; '.join(said)}."


def _sizes(testbed: Testbed, settings: Sequence[str]) -> str:
    mean = testbed.log_ratio(settings, NULL.name, NULL.name, LAST, LAST)
    objectives = 0 if mean is None else mean.groups
    return f"{plural(objectives, 'objective')}, {plural(len(testbed.seeds), 'seed')}"


def _ratio(mean: Mean | None) -> str:
    return "" if mean is None else f"{math.exp(mean.value):.3f}"


def _interval(mean: Mean | None) -> str:
    if mean is None or mean.interval is None or mean.groups < FEWEST:
        return ""
    low, high = mean.interval
    return f"{math.exp(low):.3f} to {math.exp(high):.3f}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _cost(cost: float) -> str:
    return f"{cost:.2f}" if math.isfinite(cost) else "never"
