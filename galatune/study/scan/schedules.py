"""Parameters of a learning rate's schedule that do not name the rate: warm-up, gamma, patience."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, IntDistribution

from galatune.study.scan import vocabulary as words_for
from galatune.study.scan.company import Space, company_of, has_rate, is_agent
from galatune.study.scan.names import NameMatch
from galatune.study.scan.values import bounds, is_logarithmic
from galatune.study.scan.vocabulary import find, tokens

__all__ = ["companion_of", "read_schedule", "trains"]


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
    warmup = _warmup(words, others)
    if phrase := find(words, words_for.SCHEDULE_ALONE) or warmup:
        said = f"{phrase!r} in its name" if len(words) > 1 else "its name"
        return said if trains(others) and not _of_something_else(distribution) else None
    companion = companion_of(" ".join(words), distribution, others)
    return f"its name, beside {companion}" if companion and trains(others) else None


def trains(others: Space) -> bool:
    """Whether anything else in the study belongs to a training by gradients."""
    return has_rate(others) or bool(company_of(NameMatch(None), others).network)


def _warmup(words: tuple[str, ...], others: Space) -> str | None:
    """What says warm-up, if everything else in the name may stand beside the warm-up of a rate."""
    phrase = find(words, ("warmup", "warm up"))
    if not phrase or not words_for.WARMUP.issuperset(words):
        return None
    return None if is_agent(others) else phrase  # an agent's steps before it learns


def companion_of(phrase: str, distribution: BaseDistribution, others: Space) -> str | None:
    """The parameter that makes one a part of a schedule, which elsewhere is something else; None without one.

    Args:
        phrase: Its name, in words.
        distribution: The newest one.
        others: The study's other parameters.
    """
    if phrase not in _PARTNERS or not _is_possible(phrase, distribution, others):
        return None
    offered = _OFFERED.get(phrase, ("",))
    schedulers = (other for other, d in others.items() if _names_scheduler(other) and _offers(d, *offered))
    return next(schedulers, _partner(phrase, others))


_PARTNERS = {
    "gamma": ("step size", "milestones"),
    "step size": ("gamma",),
    "milestones": ("gamma",),
    "decay rate": ("decay steps", "decay epochs"),
    "decay steps": ("decay rate",),
    "decay epochs": ("decay rate",),
    "patience": ("factor", "lr factor"),
    "cooldown": ("factor", "lr factor"),
    "factor": ("patience", "lr patience"),
}
"""What is a part of a schedule beside a scheduler, or beside one of these."""
_PLATEAU = ("plateau",)
_OFFERED = {
    "gamma": ("step", "exp", "gamma"),
    "patience": _PLATEAU,  # else of early stopping
    "cooldown": _PLATEAU,
    "factor": _PLATEAU,
}
"""What a scheduler must offer that it is a part of."""


def _is_possible(phrase: str, distribution: BaseDistribution, others: Space) -> bool:
    """Whether the values, and the kind of training, leave room for a part of a schedule."""
    if phrase in ("gamma", "step size") and is_agent(others):
        return False
    if phrase == "step size":
        return isinstance(distribution, IntDistribution)
    return phrase not in ("gamma", "factor") or _is_share(distribution)


def _of_something_else(distribution: BaseDistribution) -> bool:
    """Whether the choices are schedulers of trials, of jobs or of noise."""
    choices = getattr(distribution, "choices", ())
    return any(
        words_for.OTHER_SCHEDULERS.intersection(tokens(choice))
        for choice in choices
        if isinstance(choice, str)
    )


def _is_share(distribution: BaseDistribution) -> bool:
    """Whether the values lie between 0 and 1, as factors that lower a rate do."""
    low, high = bounds(distribution) or (0.0, 0.0)
    return 0 <= low <= high <= 1 and high > 0 and not is_logarithmic(distribution)


def _partner(phrase: str, others: Space) -> str | None:
    """The first parameter that is a part of the same schedule, whatever that is called."""
    named = ((other, " ".join(tokens(other))) for other in others)
    return next(
        (o for o, said in named if said in _PARTNERS[phrase] and _is_possible(said, others[o], others)), None
    )


def _names_scheduler(name: str) -> bool:
    words = tokens(name)
    return not words_for.OTHER_SCHEDULES.intersection(words) and bool(find(words, words_for.SCHEDULER))


def _offers(distribution: BaseDistribution, *parts: str) -> bool:
    """Whether one of the choices is called so in part; True if they are no words."""
    choices = getattr(distribution, "choices", ())
    named = [choice.lower() for choice in choices if isinstance(choice, str)]
    return not named or any(part in choice for choice in named for part in parts)
