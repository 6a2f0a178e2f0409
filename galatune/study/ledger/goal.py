"""The honest goal: what the old study's best configuration reaches when it is run again.

The old best is the luckiest of many values. `galatune run` repeats its configuration at its own rates and
without control before the smaller search begins, and the mean of the repeats is the goal. The goal is fixed
then and kept in the smaller study, so that continuing, reporting and several processes use the same.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from galatune.formatting import plural
from galatune.study.ledger.attributes import SCHEMA
from galatune.study.ledger.match import Goal, Repeats, goal_of
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import Ledger

__all__ = ["goal_body", "goal_for", "goal_from_body", "goal_lines", "pooled_spread", "with_repeats"]


def goal_for(old: Ledger, shrunk: Ledger | Provenance, tolerance: float) -> Goal | None:
    """The goal of a smaller study: the mean of the repeats that it holds, else the old best.

    Args:
        old: The old study.
        shrunk: The smaller one, or its provenance.
        tolerance: Fraction of |median - best| of the old values (of the hypervolume, with several
            objectives).

    Returns:
        With the tolerance that the search had, the very goal that it had. ``goal.repeats`` is None if nothing
        was repeated, or not yet as often as was asked for; then `best` is one value. None if the old study
        has no COMPLETE trial and nothing was repeated.

    Examples:
        >>> from galatune.study.ledger.rows import TrialRow
        >>> rows = [TrialRow(i, "COMPLETE", (v,)) for i, v in enumerate([5.0, 2.0, 1.0])]
        >>> old, none = Ledger("s", ("minimize",), tuple(rows)), Ledger("s-gala", ("minimize",), ())
        >>> goal_for(old, none, tolerance=0.1).best
        1.0
        >>> body = goal_body(with_repeats(goal_of(old, 0.1), asked=3, values=(1.2, 1.4, 1.3)))
        >>> goal = goal_for(old, Provenance(goal=body), tolerance=0.1)
        >>> round(goal.best, 6), round(goal.threshold, 6), goal.repeats.old_best
        (1.3, 1.4, 1.0)
    """
    provenance = shrunk.provenance if isinstance(shrunk, Ledger) else shrunk
    stored = goal_from_body(provenance.goal, old.directions, tolerance)
    return goal_of(old, tolerance) if stored is None else stored


def with_repeats(goal: Goal, *, asked: int, values: tuple[float, ...]) -> Goal:
    """A goal that is the mean of repeats; the old best, one value, if none of them is COMPLETE.

    The margin becomes the larger of tolerance x scale and one standard error of the mean.

    Args:
        goal: Of the old study, with one objective; its `best` is the old best.
        asked: How many repeats were run.
        values: Of those that are COMPLETE, in the units and sign of the objective.
    """
    repeats = Repeats(asked, values, goal.best, pooled_spread([values]))
    if repeats.mean is None:
        return replace(goal, repeats=repeats)
    fixed = replace(goal, best=repeats.mean, repeats=repeats)
    margin = fixed.margin
    return replace(fixed, threshold=fixed.best + (-margin if fixed.bigger_is_better else margin))


def pooled_spread(groups: list[tuple[float, ...]]) -> float | None:
    """Standard deviation within groups of repeats, pooled over them.

    Args:
        groups: Per configuration the values of its repeats.

    Returns:
        In the units of the values; None if no group has two of them.

    Examples:
        >>> pooled_spread([(1.0, 3.0), (10.0, 14.0)]) == ((2 + 8) / 2) ** 0.5
        True
        >>> pooled_spread([(1.0,)]) is None
        True
    """
    several = [group for group in groups if len(group) > 1]
    if not several:
        return None
    squares = math.fsum((len(group) - 1) * statistics.variance(group) for group in several)
    return math.sqrt(squares / sum(len(group) - 1 for group in several))


def goal_lines(goal: Goal) -> list[str]:
    """What the repeats made of the goal, a sentence a line.

    Args:
        goal: With `repeats`.

    Examples:
        >>> plain = Goal(("minimize",), 0.01, best=1.0, scale=10.0, threshold=1.1)
        >>> for line in goal_lines(with_repeats(plain, asked=3, values=(1.2, 1.4, 1.3))):
        ...     print(line)
        Goal: 1.3, the mean of 3 repeats of the old best at its own rate (1.2, 1.4, 1.3; it was 1).
        A trial matches from 1.4 on: the margin is 0.1, the tolerance.
    """
    repeats = goal.repeats
    assert repeats is not None
    asked, found = plural(repeats.asked, "repeat"), plural(len(repeats.values), "repeat")
    if not repeats.values:
        first = f"Goal: {goal.best:.6g}, one value, which may be a lucky one: none of {asked} is complete."
        return [first, f"A trial matches from {goal.threshold:.6g} on."]
    values = ", ".join(f"{value:.6g}" for value in repeats.values)
    error = repeats.standard_error
    by_error = error is not None and error > goal.tolerance * goal.scale
    lines = [
        f"Goal: {goal.best:.6g}, the mean of {found} of the old best at its own rate ({values}; it was "
        f"{repeats.old_best:.6g}).",
        f"A trial matches from {goal.threshold:.6g} on: the margin is {goal.margin:.6g}, "
        f"{'one standard error of that mean' if by_error else 'the tolerance'}.",
    ]
    if repeats.asked > len(repeats.values):
        lines.append(
            f"Of {asked}, {repeats.asked - len(repeats.values)} failed or was pruned, and is left out."
        )
    if repeats.spread == 0:
        lines.append("All repeats are equal, as if the objective set its own seed: their spread is unknown.")
    return lines


def goal_body(goal: Goal) -> dict[str, Any]:
    """What the smaller study keeps of its goal, ready for JSON."""
    repeats = goal.repeats
    assert repeats is not None
    return {
        "schema": SCHEMA,
        "old_best": repeats.old_best,
        "scale": goal.scale,
        "tolerance": goal.tolerance,
        "asked": repeats.asked,
        "values": list(repeats.values),
        "best": goal.best,
        "margin": goal.margin,
        "threshold": goal.threshold,
    }


def goal_from_body(body: Mapping[str, Any], directions: tuple[str, ...], tolerance: float) -> Goal | None:
    """Read it back, with a tolerance; None if it does not have the agreed shape: nothing is guessed."""
    old_best, scale, asked = body.get("old_best"), body.get("scale"), body.get("asked")
    values = body.get("values")
    shaped = body.get("schema") == SCHEMA and len(directions) == 1 and isinstance(values, list | tuple)
    if not shaped or not all(map(_finite, (old_best, scale, asked, *values))):  # type: ignore[misc]
        return None
    plain = Goal(directions, tolerance, old_best, scale, old_best)  # type: ignore[arg-type]
    margin = -plain.margin if plain.bigger_is_better else plain.margin
    plain = replace(plain, threshold=plain.best + margin)
    return with_repeats(plain, asked=asked, values=tuple(map(float, values)))  # type: ignore[arg-type]


def _finite(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
