"""What is named like a learning rate and surely is none: logistic regression, weights, trees, PID gains."""

from __future__ import annotations

from optuna.distributions import BaseDistribution

from galatune.study.scan import vocabulary as words_for
from galatune.study.scan.company import Company, Space
from galatune.study.scan.doubt import WEIGHTS, Candidate, is_known
from galatune.study.scan.names import NameMatch
from galatune.study.scan.values import bounds, is_logarithmic
from galatune.study.scan.vocabulary import find, tokens

__all__ = ["gain", "is_attribute", "look_alike"]


def look_alike(candidate: Candidate, others: Space) -> str | None:
    """The reason if it is certainly no rate of a torch optimizer; None otherwise.

    Args:
        candidate: The parameter.
        others: The study's other parameters.
    """
    match, distribution = candidate.match, candidate.distribution
    rest = frozenset(match.rest)
    if booster := sorted(rest & words_for.BOOSTERS):
        return f"{booster[0]!r} in its name: the learning rate of boosted trees"
    if match.short:
        if other := _one_model(match, distribution, others) or _beside_models(match, others):
            return f"about one model among others, beside {other}"
        if reason := _logistic(candidate, others):
            return reason
        if rest & words_for.IMAGES:
            return "about images ('lr' stands for left-right or low resolution here)"
    return _of_scikit_learn(match, distribution, others) or _of_another_model(candidate.company)


def is_attribute(match: NameMatch) -> bool:
    """Whether it is about something that is called lr: ``lr_rank``."""
    return match.short and bool(words_for.ATTRIBUTES.intersection(match.after[-1:]))


def _one_model(match: NameMatch, distribution: BaseDistribution, others: Space) -> str | None:
    """The other parameter if it is something of one model among others: ``w_lr`` beside ``w_rf``."""
    logarithmic = is_logarithmic(distribution)
    _, high = bounds(distribution) or (0.0, 0.0)
    if not match.rest and (logarithmic or high < WEIGHTS):
        return None
    weight = not logarithmic and bool(words_for.WEIGHTS.intersection(match.rest))
    place = len(match.before)
    for other in others:
        words = tokens(other)
        same = words[:place] == match.before and words[place + 1 :] == match.after
        if same and (weight or words_for.MODELS.intersection(words[place : place + 1])):
            return other
    return None


def _beside_models(match: NameMatch, others: Space) -> str | None:
    """The other parameter if 'lr' is a model as 'rf' is: ``lr_reg`` beside ``rf_depth``."""
    setting = match.with_c or (not match.before and not is_known(match.after))
    if match.role != "rate" or not setting:
        return None
    place = slice(len(match.before), len(match.before) + 1) if match.after else slice(-1, None)
    return next((o for o in others if words_for.PLAIN_MODELS.intersection(tokens(o)[place])), None)


def _logistic(candidate: Candidate, others: Space) -> str | None:
    match = candidate.match
    nearby = " ".join(match.after[:2]), " ".join(match.after[:1]), " ".join(match.before[-1:])
    said = words_for.LOGISTIC.intersection(nearby)
    if said == {"solver"} and candidate.values.kind != "words":  # SOLVER.LR is a rate
        said = frozenset()
    settings = match.with_c and any(find(tokens(other), words_for.LOGISTIC) for other in others)
    if said or (settings and not candidate.company.network):
        return "a parameter of logistic regression ('lr' stands for that here)"
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
        phrase = find(tokens(other), frozenset(words_for.SURELY_OTHER))
        if phrase:
            return f"the rate of {words_for.SURELY_OTHER[phrase]}, beside {other}"
    return None


def gain(name: str, others: Space) -> str | None:
    """The reason if it is a PID gain: these are searched on the same scales as rates. None otherwise."""
    gains = ("kp", "ki", "kd")
    words = tokens(name)
    joined = "".join(words)
    if not any(joined == one or (one in words and "pid" in words) for one in gains):
        return None
    beside = any(one in tokens(other) or "".join(tokens(other)) == one for other in others for one in gains)
    return "the gain of a PID controller" if beside or "pid" in words else None
