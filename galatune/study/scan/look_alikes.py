"""What is named like a learning rate and surely is none: logistic regression, weights, trees, PID gains."""

from __future__ import annotations

from optuna.distributions import BaseDistribution

from galatune.study.scan import vocabulary as words_for
from galatune.study.scan.company import Company, Space
from galatune.study.scan.doubt import Candidate
from galatune.study.scan.names import NameMatch
from galatune.study.scan.values import is_logarithmic
from galatune.study.scan.vocabulary import find, tokens

__all__ = ["gain", "is_attribute", "look_alike"]

_LOGISTIC = "a parameter of logistic regression ('lr' stands for that here)"


def look_alike(candidate: Candidate, others: Space) -> str | None:
    """The reason if it is certainly no rate of a torch optimizer; None otherwise.

    Args:
        candidate: The parameter.
        others: The study's other parameters.
    """
    match, distribution = candidate.match, candidate.distribution
    rest = frozenset(match.rest)
    if booster := sorted(rest & words_for.BOOSTERS):
        return f"{booster[0]!r} in its name: the learning rate of boosted trees, not of a torch optimizer"
    if match.short:
        if reason := _one_model(match, distribution, others) or _logistic(candidate, others):
            return reason
        if rest & words_for.IMAGES:
            return "about images ('lr' stands for left-right or low resolution here)"
    return _of_scikit_learn(match, distribution, others) or _of_another_model(candidate.company)


def is_attribute(match: NameMatch) -> bool:
    """Whether it is about something that is called lr: ``lr_rank``."""
    return match.short and bool(words_for.ATTRIBUTES.intersection(match.after[-1:]))


def _one_model(match: NameMatch, distribution: BaseDistribution, others: Space) -> str | None:
    """Something of one model among others: ``w_lr`` beside ``w_rf``."""
    if not match.rest and is_logarithmic(distribution):
        return None
    place = len(match.before)
    for other in others:
        words = tokens(other)
        same = words[:place] == match.before and words[place + 1 :] == match.after
        if same and words[place : place + 1] and words[place] in words_for.MODELS:
            return f"about one model among others, beside {other}"
    return None


def _logistic(candidate: Candidate, others: Space) -> str | None:
    match = candidate.match
    nearby = " ".join(match.after[:2]), " ".join(match.after[:1]), " ".join(match.before[-1:])
    said = words_for.LOGISTIC.intersection(nearby)
    if said == {"solver"} and candidate.values.kind != "words":  # SOLVER.LR is a rate
        said = frozenset()
    if said:
        return _LOGISTIC
    if match.rest == ("c",) and not candidate.company.network:
        models = any(words_for.MODELS.intersection(tokens(other)) for other in others)
        settings = any(find(tokens(other), words_for.LOGISTIC) for other in others)
        return _LOGISTIC if models or settings else None
    return None


def _of_scikit_learn(match: NameMatch, distribution: BaseDistribution, others: Space) -> str | None:
    if {"invscaling", "adaptive"}.intersection(map(str, getattr(distribution, "choices", ()))):
        return "scikit-learn's learning_rate, the name of a schedule"
    if match.after[-1:] != ("init",):
        return None
    sizes = any(find(tokens(other), ("hidden layer sizes", "solver")) for other in others)
    if sizes or match.phrase == "learning rate":
        return "scikit-learn's learning_rate_init: that network is not trained by a torch optimizer"
    return None


def _of_another_model(company: Company) -> str | None:
    """The rate of a model that another parameter gives away."""
    if company.network or not company.other:
        return None
    for other in company.other:
        phrase = find(tokens(other), words_for.SURELY_OTHER)
        if phrase:
            return f"the rate of {words_for.SURELY_OTHER[phrase]}, beside {other}: not a torch optimizer's"
    return None


def gain(name: str, others: Space) -> str | None:
    """The reason if it is a PID gain: these are searched on the same scales as rates. None otherwise."""
    gains = ("kp", "ki", "kd")
    words = tokens(name)
    joined = "".join(words)
    own = [one for one in gains if joined == one or (one in words and "pid" in words)]
    beside = [o for o in others if any(g in tokens(o) or "".join(tokens(o)) == g for g in gains)]
    return "the gain of a PID controller" if own and (beside or "pid" in words) else None
