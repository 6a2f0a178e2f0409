"""Trials whose optimizer sets its own step: the rate that it multiplies was replaced, so they say nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from galatune.formatting import in_shell, printable
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.attempt import Attempt
from galatune.study.search.select_optimizers import rate_names

__all__ = ["OwnStep", "own_step"]

SHORTEST = 4
"""Letters that a part of a name must have to be recognized in another."""


@dataclass(frozen=True)
class OwnStep:
    """Why such a trial does not count.

    Attributes:
        choice: What led to the optimizer, "optimizer=Prodigy"; its class if that is not known.
        reason: In words, with what to do.
    """

    choice: str
    reason: str


def own_step(made: Attempt, plan: ShrinkPlan) -> OwnStep | None:
    """Whether an optimizer sets its own step although its rate follows a dropped dimension.

    If nothing at all was controlled in the trial, its rate need not follow.
    """
    own = [one.name for one in made.capture.left_alone if one.sets_own_rate]
    following = [name for name in own if name in made.selection.following]  # seen late, by its steps
    alone = [] if made.capture.controllers else own
    name = made.selection.own_step or next(iter((*following, *alone)), None)
    if name is None:
        return None
    kept = {key: value for key, value in made.trial.params.items() if key not in plan.placeholders}
    choice = choice_of(name, kept)
    rates = [one for one in rate_names(plan) if one in made.trial.answered] or list(rate_names(plan))
    fixed = ", ".join(f"{printable(one)}={printable(str(plan.placeholders[one]))}" for one in rates)
    cure = " ".join(f"--keep {in_shell(one)}" for one in rates)
    return OwnStep(
        choice or name,
        f"{name} sets its own step, so no rate could be controlled, and it trained with {fixed}, which is "
        f"searched no more; the trial uses no budget. Search it again with {cure}, or leave "
        f"{printable(choice or name)} out{_end(made)}",
    )


def _end(made: Attempt) -> str:
    ended = made.outcome
    failed = ended.state == TrialState.FAIL and made.selection.own_step is None
    return f" (it ended with: {ended.reason})" if failed else ""


def choice_of(name: str, params: Mapping[str, Any]) -> str | None:
    """The parameter whose value names an optimizer's class.

    Args:
        name: Of the class.
        params: Of the trial.

    Example:
        >>> choice_of("DAdaptAdam", {"width": 4, "optimizer": "dadapt_adam"})
        'optimizer=dadapt_adam'
    """
    wanted = _letters(name)
    named = {f"{key}={value}": _letters(value) for key, value in params.items() if isinstance(value, str)}
    equal = [choice for choice, letters in named.items() if letters == wanted]
    alike = [
        choice
        for choice, letters in named.items()
        if min(len(letters), len(wanted)) >= SHORTEST and (letters in wanted or wanted in letters)
    ]
    return next(iter(equal or alike), None)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text).lower()
