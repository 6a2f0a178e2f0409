"""Simulated pairs of searches: an old one, and a smaller one as `galatune.run` makes it; TPE, no control.

The objective is a noisy bowl in the logarithm of a rate and in three other parameters. Nothing is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import optuna

from galatune.study.ledger.goal import goal_body, goal_for, with_repeats
from galatune.study.ledger.match import goal_of
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import Ledger, TrialRow

TOLERANCE = 0.01
REPEATS = 3
GOOD_RATE = 0.3
"""Where a rate that is set well lies, on a logarithmic scale from 0 to 1."""

Params = dict[str, float]
Loss = Callable[[Params], float]


@dataclass(frozen=True)
class Pair:
    """Both ledgers, and the smaller one as it is without repeats and confirmation."""

    old: Ledger
    shrunk: Ledger
    plain: Ledger


def search_pair(seed: int, *, noise: float, trials: int = 40, rate_is_set: bool = False) -> Pair:
    """Search twice.

    Args:
        seed: Of both searches, which do not share one.
        noise: Standard deviation of one training's value.
        trials: Budget of each.
        rate_is_set: Whether the second search has no rate dimension, since something sets it well. Otherwise
            it is the old search again.
    """
    random = np.random.default_rng(seed)
    names = ["rate", "width", "depth", "decay"]

    def loss(params: Params) -> float:
        rate = 6.0 * (params.get("rate", GOOD_RATE) - GOOD_RATE) ** 2
        rest = sum((params[name] - 0.6) ** 2 for name in names[1:])
        return 1.0 + rate + 0.1 * rest + noise * float(random.standard_normal())

    old = Ledger("old", ("minimize",), tuple(_tpe(loss, names, trials, 2 * seed)))
    best = min(old.rows, key=lambda row: row.value or math.inf)
    values = tuple(loss(dict(best.params)) for _ in range(REPEATS))
    plain_goal = goal_of(old, TOLERANCE)
    assert plain_goal is not None
    body = goal_body(with_repeats(plain_goal, asked=REPEATS, values=values))
    repeats = [_row(i, value, best.params, "repeat") for i, value in enumerate(values)]
    provenance = Provenance(made_by_galatune=True, goal=body, stopped_because="the search ended")
    tried = _tpe(loss, names[1:] if rate_is_set else names, trials, 2 * seed + 1)
    rows = _confirming(old, provenance, repeats, tried, loss)
    shrunk = Ledger("new", ("minimize",), tuple(rows), provenance)
    return Pair(old, shrunk, replace(shrunk, rows=tuple(tried), provenance=Provenance()))


def _confirming(
    old: Ledger, provenance: Provenance, repeats: list[TrialRow], tried: list[TrialRow], loss: Loss
) -> list[TrialRow]:
    """Take trials one by one; repeat each that reaches the goal, and stop once the repeats reach it too."""
    goal = goal_for(old, provenance, TOLERANCE)
    assert goal is not None
    rows = list(repeats)
    for trial in tried:
        touched = replace(trial, number=len(rows))
        rows.append(touched)
        if goal.reached(touched.value):
            again = [loss(dict(touched.params)) for _ in range(REPEATS)]
            rows += [
                replace(_row(len(rows) + i, v, touched.params, "confirm"), repeat_of=touched.number)
                for i, v in enumerate(again)
            ]
            if goal.reached(float(np.mean(again))):
                break
    return rows


def _tpe(loss: Loss, names: list[str], trials: int, seed: int) -> list[TrialRow]:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(lambda trial: loss({n: trial.suggest_float(n, 0.0, 1.0) for n in names}), trials)
    return [_row(t.number, t.value, t.params, "search") for t in study.trials]


def _row(number: int, value: float | None, params: object, stage: str) -> TrialRow:
    assert value is not None
    assert isinstance(params, dict)
    return TrialRow(
        number, "COMPLETE", (value,), seconds=1.0, stage=stage, params=params,
        repeats=REPEATS if stage in ("repeat", "confirm") else 1,
    )  # fmt: skip
