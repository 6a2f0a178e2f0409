"""Parameters of a learning rate's schedule that do not name the rate: warm-up, gamma, patience."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from galatune.study.scan import vocabulary as words_for
from galatune.study.scan.company import Space, company_of, has_rate, is_agent
from galatune.study.scan.names import NameMatch
from galatune.study.scan.values import bounds, is_logarithmic
from galatune.study.scan.vocabulary import find, tokens

__all__ = ["read_schedule", "trains"]


def read_schedule(name: str, distribution: BaseDistribution, others: Space) -> str | None:
    """The evidence that a parameter belongs to the schedule of a learning rate, None if it does not.

    Args:
        name: Of a parameter that does not name the rate.
        distribution: The newest one.
        others: The study's other parameters.
    """
    words = tokens(name)
    if words_for.OTHER_SCHEDULES.intersection(words):
        return None
    if phrase := find(words, words_for.SCHEDULE_ALONE) or _warmup(words):
        said = f"{phrase!r} in its name" if len(words) > 1 else "its name"
        return said if trains(others) else None
    companion = _companion(" ".join(words), distribution, others)
    return f"its name, beside {companion}" if companion and trains(others) else None


def trains(others: Space) -> bool:
    """Whether anything else in the study belongs to a training by gradients."""
    return has_rate(others) or bool(company_of(NameMatch(None), others).network)


def _warmup(words: tuple[str, ...]) -> str | None:
    """What says warm-up, if everything else in the name may stand beside the warm-up of a rate."""
    phrase = find(words, ("warmup", "warm up"))
    return phrase if phrase and words_for.WARMUP.issuperset(words) else None


def _companion(phrase: str, distribution: BaseDistribution, others: Space) -> str | None:
    """The parameter that makes one a part of a schedule, which elsewhere is something else."""
    if phrase not in _PARTNERS:
        return None
    schedulers = {other: d for other, d in others.items() if _names_scheduler(other)}
    partner = next(iter(schedulers), None) or _called(others, _PARTNERS[phrase])
    if phrase in ("gamma", "factor") and not _is_share(distribution):
        return None
    if phrase in ("gamma", "step size") and is_agent(others):
        return None
    if phrase == "step size" and not isinstance(distribution, IntDistribution):
        return None
    if phrase in ("patience", "factor"):  # of early stopping, unless they are of ReduceLROnPlateau
        plateau = next((other for other, d in schedulers.items() if _offers_plateau(d)), None)
        return plateau or (partner if schedulers and _called(others, _PARTNERS[phrase]) else None)
    return partner


_PARTNERS = {
    "gamma": ("step size", "milestones"),
    "step size": ("gamma",),
    "milestones": ("gamma",),
    "decay rate": ("decay steps", "decay epochs"),
    "decay steps": ("decay rate",),
    "decay epochs": ("decay rate",),
    "patience": ("factor",),
    "factor": ("patience",),
}
"""What is a part of a schedule beside a scheduler, or beside one of these."""


def _is_share(distribution: BaseDistribution) -> bool:
    """Whether the values lie between 0 and 1, as factors that lower a rate do."""
    low, high = bounds(distribution) or (0.0, 0.0)
    return 0 <= low <= high <= 1 and high > 0 and not is_logarithmic(distribution)


def _called(others: Space, phrases: tuple[str, ...]) -> str | None:
    """The first parameter that is called one of these."""
    return next((other for other in others if " ".join(tokens(other)) in phrases), None)


def _names_scheduler(name: str) -> bool:
    words = tokens(name)
    return not words_for.OTHER_SCHEDULES.intersection(words) and bool(find(words, words_for.SCHEDULER))


def _offers_plateau(distribution: BaseDistribution) -> bool:
    choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
    return any("plateau" in choice.lower() for choice in choices if isinstance(choice, str))
