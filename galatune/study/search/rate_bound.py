"""The bounds of the rate that a study of reinforcement learning gets by default: from the old study.

A policy's loss is built anew from each batch of experience, and its curvature says nothing about how far the
policy may move before that experience no longer fits it. The controller reads curvature, so there it may rise
far above the rates that work. The loss of an entropy coefficient is a straight line: it has no curvature at
all, and its rate would stay at its tiny start. The old study knows the rates that work; the measurements are
in docs/handbook.md.
"""

from __future__ import annotations

import dis
import functools
import inspect
import math
import statistics
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from galatune.formatting import listed, printable
from galatune.study.ledger.rows import Ledger, TrialRow
from galatune.study.scan.distributions import as_rate
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.objective import Objective

__all__ = ["RateBound", "rate_bound"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LIBRARIES = _words(
    "acme baselines cleanrl coax d3rlpy dm_control garage gym gymnasium minigrid pettingzoo pfrl rl_zoo3 "
    "rllib rlpyt sample_factory sb3_contrib sbx skrl stable_baselines3 tianshou torchrl xuance"
)
"""Packages that train by reinforcement learning, or hold its environments."""

WITHIN = ("ray.rllib",)
"""The same, inside packages that do other things as well."""

TELLING = _words(
    "clip_coef clip_range clip_range_vf ent_coef ent_coeff entropy_coef entropy_coeff exploration_final_eps "
    "exploration_fraction exploration_initial_eps gae_lambda learning_starts replay_buffer_size "
    "rollout_length rollout_steps target_entropy target_network_update_freq target_update_freq "
    "target_update_interval vf_coef"
)
"""Parameters that only reinforcement learning has."""

HINTS = _words("buffer_size gamma gradient_steps n_envs n_steps num_envs polyak tau train_freq")
ENOUGH_HINTS = 3
"""Each of these occurs elsewhere as well; three of them together do not."""

TOP = 4
"""The bounds are the lowest and the median rate in the best of this many-th part of the old trials.

The largest rate there may be a lucky trial's: as a bound it was worse than the median (docs/handbook.md).
"""


@dataclass(frozen=True)
class RateBound:
    """Bounds of the rate.

    Attributes:
        lowest: The lower one, before the schedule; 0 if the old study knows none.
        highest: The upper one, as applied; infinity if the old study knows none.
        reason: Where they come from, in a sentence.
    """

    lowest: float
    highest: float
    reason: str


def rate_bound(plan: ShrinkPlan, old: Ledger, objective: Objective) -> RateBound | None:
    """The bounds that the old study gives, None if nothing says that it is one of reinforcement learning.

    Args:
        plan: What is dropped.
        old: The old study.
        objective: Its objective.
    """
    evidence = _by_names({name for row in old.rows for name in row.params}) or _by_packages(objective)
    if evidence is None:
        return None
    words = f"Reinforcement learning ({evidence}): there curvature alone does not tell the rate."
    rates = _rates_of_the_best(plan, old)
    if not rates:
        return RateBound(0.0, math.inf, f"{words} Nor does the old study: bound it with --max-lr.")
    lowest, highest = min(rates), statistics.median_low(rates)
    return RateBound(
        lowest,
        highest,
        f"{words} It is held between {lowest:.3g} and {highest:.3g}, the lowest and the median rate of the "
        "old study's best quarter (--max-lr sets another bound, --max-lr inf none).",
    )


def _by_names(names: Collection[str]) -> str | None:
    known = {name.lower().replace("-", "_"): name for name in names}
    telling = sorted(known[name] for name in TELLING & set(known))
    hints = sorted(known[name] for name in HINTS & set(known))
    found = telling or (hints if len(hints) >= ENOUGH_HINTS else [])
    return f"its parameters {listed(found[:3])}" if found else None


def _by_packages(objective: Objective) -> str | None:
    """The first package of reinforcement learning that the objective's file or function imports."""
    code: Any = inspect.unwrap(objective)
    while isinstance(code, functools.partial):
        code = inspect.unwrap(code.func)
    module = sys.modules.get(getattr(code, "__module__", None) or "")
    names = (
        [*_imported_by(code), *(name for value in vars(module).values() for name in _names(value))]
        if module
        else []
    )
    return next((f"it imports {printable(name)}" for name in names if _is_known(name)), None)


def _names(value: Any) -> Iterator[str]:
    """The module that a global of a file comes from, and what a function imports once it is called."""
    if isinstance(value, ModuleType):
        yield value.__name__
        # `import ray.rllib` leaves the name `ray` alone in the file.
        yield from (one for one in WITHIN if one in sys.modules and one.startswith(f"{value.__name__}."))
    elif isinstance(value, type | FunctionType):
        yield str(value.__module__)
        yield from _imported_by(value)


def _imported_by(function: Any) -> Iterator[str]:
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType):
        yield from _imports(code)


def _imports(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imports(constant)


def _is_known(name: str) -> bool:
    return name.partition(".")[0] in LIBRARIES or any(f"{name}.".startswith(f"{one}.") for one in WITHIN)


def _rates_of_the_best(plan: ShrinkPlan, old: Ledger) -> list[float]:
    """The rates of the best quarter, by each of the objectives; none if only the code knows them."""
    rates = [
        rate
        for place, direction in enumerate(old.directions)
        for row in _best(old.complete, place, bigger=direction == "maximize")
        for dimension in plan.learning_rate
        if dimension.dropped and dimension.role == "rate" and dimension.name in row.params
        if (rate := as_rate(row.params[dimension.name], dimension.scale)) is not None
    ]
    return [rate for rate in rates if 0 < rate < math.inf]


def _best(rows: Collection[TrialRow], place: int, *, bigger: bool) -> list[TrialRow]:
    ranked = sorted(rows, key=lambda row: (row.values or ())[place], reverse=bigger)
    return ranked[: math.ceil(len(ranked) / TOP)]
