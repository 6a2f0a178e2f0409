"""The tables of pilots: what they chose and cost, and the regret of their choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from galatune.bench.studies.comparisons import Testbed
from galatune.bench.studies.pilots import ALWAYS, PILOT, chosen, regrets
from galatune.bench.studies.unit import Axis
from galatune.bench.studies.ways import NULL
from galatune.bench.text import interval_text, plain_table
from galatune.formatting import listed, plural
from galatune.statistics import Mean

__all__ = ["pilot_tables", "pilot_words"]

FEWEST = 3
"""Of two objectives' means an interval says nothing."""

AXES: dict[Axis, str] = {"seconds": "processor seconds", "gradients": "gradient evaluations"}

RULES = {PILOT: "a pilot first", ALWAYS[0]: "always fixed", ALWAYS[1]: "always controlled"}

CHOICES = {ALWAYS[1]: "controlled", ALWAYS[0]: "fixed", NULL.name: "the search as it was", None: "all"}


def pilot_tables(title: str, testbed: Testbed, settings: Sequence[str]) -> list[Table]:
    """What pilots chose in these settings and the regret of that; nothing if there was none.

    Args:
        title: Begins each title.
        testbed: The outcomes.
        settings: Over which.
    """
    return [*_choices(title, testbed, settings), *_regrets(title, testbed, settings)]


def pilot_words(testbed: Testbed) -> Iterator[str]:
    """That a regret needs other ways as well, if they are missing."""
    if PILOT in testbed.ways and (missing := [way for way in ALWAYS if way not in testbed.ways]):
        yield f"The regret of {PILOT} needs {listed(missing)} among --ways as well."


def _choices(title: str, testbed: Testbed, settings: Sequence[str]) -> Iterator[Table]:
    found = chosen(testbed, settings)
    if not found:
        return
    table = plain_table(
        f"{title}: what pilots chose, and their mean cost in relation to the whole old search in "
        f"{AXES['gradients']}",
        ("went on", "units", "undecided", "pairs", "cost of the repeats", "cost of the pairs"),
        left=("went on",),
    )
    for one in found:
        table.add_row(
            CHOICES[one.way],
            f"{one.units}",
            f"{one.undecided}",
            f"{one.pairs:.1f}",
            f"{one.repeats_cost:.2f}",
            f"{one.pairs_cost:.2f}",
        )
    yield table


def _regrets(title: str, testbed: Testbed, settings: Sequence[str]) -> Iterator[Table]:
    for axis, name in AXES.items():
        found = regrets(testbed, settings, axis)
        sizes = [mean.groups for one in found for mean in one.means if mean is not None]
        if not sizes:
            continue
        table = plain_table(
            f"{title}: regret by {name} with the pilot's cost, mean ln(test loss / that of the better of "
            f"fixed and controlled) ({plural(max(sizes), 'objective')})",
            ("rule", "a third", "interval", "two thirds", "interval", "the whole", "interval"),
            left=("rule",),
        )
        for one in found:
            cells = [cell for mean in one.means for cell in (_value(mean), _interval(mean))]
            table.add_row(RULES[one.way], *cells)
        yield table


def _value(mean: Mean | None) -> str:
    return "" if mean is None else f"{mean.value:.3f}"


def _interval(mean: Mean | None) -> str:
    if mean is None or mean.interval is None or mean.groups < FEWEST:
        return ""
    return interval_text(mean.interval)
