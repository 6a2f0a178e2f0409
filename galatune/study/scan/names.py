"""What a parameter's name says: a learning rate, its schedule, a multiplier, or something else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

__all__ = ["BOOSTING", "NETWORK", "NameMatch", "Role", "match_name", "tokens"]

Role = Literal["rate", "schedule", "multiplier"]

_TOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+|\d+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split(","))


# One word, or two in a row.
_RATE = ("lr", "lrs", "lrate", "learningrate", "learning rate", "learning rates", "learn rate")
_SCHEDULE = _words(
    "anneal annealing cooldown cosine cycle cyclic cyclical decay drop epoch epochs finder freq frequency "
    "gamma interval milestone milestones mode patience period plateau policy poly power ramp reduce restart "
    "restarts sched schedule scheduler step steps strategy threshold type update use warm warmup"
)
_MULTIPLIER = _words("coef coeff factor frac fraction mul mult multiplier ratio scale scaling")
_LAYERS = _words("layer layers layerwise llrd")
# Schedules that do not say what they schedule.
_SCHEDULE_ALONE = _phrases(
    "scheduler, sched, warmup, warm up, eta min, t max, tmax, t 0, t mult, pct start, div factor, "
    "anneal strategy, plateau, lrf"
)
# Schedules only beside a parameter that names a scheduler: elsewhere they are something else.
_SCHEDULE_IN_COMPANY = _phrases("gamma, step size, decay rate, decay steps, decay epochs, milestones")
# What else is warmed up or scheduled.
_OTHER_SCHEDULES = _words(
    "adv adversarial beta ddim ddpm diffusion dropout ema kl lambda loss mask mcmc mixup momentum noise "
    "sampler sampling tau teacher temp temperature wd"
)
_EXPONENT = _words("exp exponent log ln pow neglog nlog")
_NEGATED = _words("minus neg negative neglog nlog")
_LOGISTIC = _phrases("penalty, solver, tol, intercept, max iter, l1, class weight")
_IMAGES = _words("flip flipud crop resolution shift")
_BOOSTERS = _words(
    "adaboost boost boosting catboost gbc gbdt gbm gbr hgb histgb lgb lgbm lightgbm ngboost xgb xgboost"
)

BOOSTING = _phrases(
    """bagging fraction, bagging freq, bagging temperature, booster, border count, colsample bylevel,
    colsample bynode, colsample bytree, feature fraction, grow policy, l2 leaf reg, lambda l1, lambda l2,
    max bin, max depth, max leaf nodes, max leaves, min child samples, min child weight, min data in leaf,
    min gain to split, min samples leaf, min samples split, min split gain, n estimators, num boost round,
    num leaves, num trees, random strength, reg alpha, reg lambda, subsample, tree method"""
)
"""Parameters of boosted trees."""

NETWORK = _phrases(
    """activation, batch, batch size, channels, d model, dropout, embed, embedding, epochs, filters, heads,
    hidden, hid, kernel size, layers, momentum, neurons, optim, optimizer, units, weight decay, wd, width"""
)
"""Parameters of networks and of their training."""


@dataclass(frozen=True)
class NameMatch:
    """What a name says.

    Attributes:
        role: None if it has nothing to do with the learning rate.
        words: The evidence, in words.
        exponent: Whether the value is said to be an exponent of the rate.
        base: Base of that exponent, None if the name does not give it.
        negated: Whether the exponent is said to be without its minus sign.
        rest: The tokens besides those of the rate, which tell one model's parameters from another's.
        refusal: Why something named like a rate is none, None if it may be one.
    """

    role: Role | None
    words: str = ""
    exponent: bool = False
    base: float | None = None
    negated: bool = False
    rest: tuple[str, ...] = ()
    refusal: str | None = None


@lru_cache(maxsize=4096)
def tokens(name: str) -> tuple[str, ...]:
    """Split a name at punctuation, capitals and digits.

    >>> tokens("optim.headLR_0")
    ('optim', 'head', 'lr', '0')
    """
    return tuple(token.lower() for token in _TOKEN.findall(name))


def holds(words: tuple[str, ...], phrase: str) -> tuple[str, ...] | None:
    """The other words if the words of the phrase follow one another, else None.

    >>> holds(("xgb", "max", "depth"), "max depth")
    ('xgb',)
    """
    sought = tokens(phrase)
    for start in range(len(words) - len(sought) + 1):
        if words[start : start + len(sought)] == sought:
            return words[:start] + words[start + len(sought) :]
    return None


def match_name(name: str, company: frozenset[str] = frozenset()) -> NameMatch:
    """What one name says.

    Args:
        name: As suggested by the objective.
        company: Names of the study's other parameters.

    >>> match_name("head_lr").role, match_name("lr_decay").role, match_name("lr_mult").role
    ('rate', 'schedule', 'multiplier')
    >>> match_name("color").role is None
    True
    """
    words = tokens(name)
    if holds(words, "weight decay") is not None:
        return NameMatch(None)
    for phrase in _RATE:
        rest = holds(words, phrase)
        if rest is not None:
            return _read_rate(phrase, rest)
    return _read_other(words, company)


def _read_rate(phrase: str, rest: tuple[str, ...]) -> NameMatch:
    said = f"{phrase!r} in its name" if rest else "its name"
    others = frozenset(rest)
    if refusal := _refusal(phrase, rest):
        return NameMatch("rate", said, rest=rest, refusal=refusal)
    if holds(rest, "layer decay") is not None or (others & _LAYERS and others & {"decay", "factor"}):
        return NameMatch("multiplier", f"{said}, and it scales the rate from layer to layer", rest=rest)
    if others & _EXPONENT and not others & {"decay", "schedule", "scheduler", "poly", "warmup"}:
        base = next((b for word, b in (("10", 10.0), ("2", 2.0)) if word in others), None)
        base = 2.718281828459045 if "ln" in others else base
        return NameMatch("rate", f"{said}, as an exponent", True, base, bool(others & _NEGATED), rest)
    if found := sorted(others & _SCHEDULE):
        return NameMatch("schedule", f"{said}, with {found[0]!r}", rest=rest)
    if found := sorted(others & _MULTIPLIER):
        return NameMatch("multiplier", f"{said}, with {found[0]!r}", rest=rest)
    return NameMatch("rate", said, rest=rest)


def _refusal(phrase: str, rest: tuple[str, ...]) -> str | None:
    others = frozenset(rest)
    if rest[-1:] == ("init",) and phrase == "learning rate":
        return "scikit-learn's learning_rate_init: that network is not trained by a torch optimizer"
    if booster := sorted(others & _BOOSTERS):
        return f"{booster[0]!r} in its name: the learning rate of boosted trees, not of a torch optimizer"
    if phrase == "lr" and any(holds(rest, words) is not None for words in _LOGISTIC):
        return "a parameter of logistic regression ('lr' stands for that here)"
    if phrase == "lr" and others & _IMAGES:
        return "about images ('lr' stands for left-right or low resolution here)"
    return None


def _read_other(words: tuple[str, ...], company: frozenset[str]) -> NameMatch:
    if reason := _look_alike(words, company):
        return NameMatch("rate", "its name", refusal=reason)
    if "llrd" in words or words in (("layer", "decay"), ("layerwise", "decay")):
        return NameMatch("multiplier", "its name: it scales the rate from layer to layer", rest=words)
    if not frozenset(words) & _OTHER_SCHEDULES:
        for phrase in _SCHEDULE_ALONE:
            if holds(words, phrase) is not None:
                return NameMatch("schedule", f"{phrase!r} in its name" if len(words) > 1 else "its name")
        companions = sorted(other for other in company if _names_scheduler(other))
        if companions and any(holds(words, phrase) == () for phrase in _SCHEDULE_IN_COMPANY):
            return NameMatch("schedule", f"its name, beside {companions[0]}")
    return NameMatch(None)


def _look_alike(words: tuple[str, ...], company: frozenset[str]) -> str | None:
    if words in (("eta",), ("eta", "0")):
        return _read_eta(words, company)
    return _gain(words, company)


def _names_scheduler(name: str) -> bool:
    words = tokens(name)
    if frozenset(words) & _OTHER_SCHEDULES:
        return False
    return any(
        holds(words, phrase) is not None for phrase in ("scheduler", "sched", "lr schedule", "plateau")
    )


def _read_eta(words: tuple[str, ...], company: frozenset[str]) -> str:
    if words == ("eta", "0"):
        return "scikit-learn's eta0: that model is not trained by a torch optimizer"
    trees = sorted(other for other in company if any(holds(tokens(other), p) == () for p in BOOSTING))
    if trees:
        return f"boosted trees, beside {', '.join(trees[:3])}: not a torch optimizer's"
    return "may be a learning rate or something else; if it is one, say --lr eta"


def _gain(words: tuple[str, ...], company: frozenset[str]) -> str | None:
    """The reason if it is a PID gain: these are searched on the same scales as rates. None otherwise."""
    gains = ("kp", "ki", "kd")
    joined = "".join(words)
    own = [gain for gain in gains if joined == gain or (gain in words and "pid" in words)]
    others = [c for c in company if any(g in tokens(c) or "".join(tokens(c)) == g for g in gains)]
    if own and (others or "pid" in words):
        return "the gain of a PID controller"
    return None
