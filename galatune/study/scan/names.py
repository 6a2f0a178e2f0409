"""What a parameter's name says by itself: a learning rate, its schedule, a multiplier, or something else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal

from galatune.study.scan import vocabulary as words_for
from galatune.study.scan.vocabulary import find, holds, locate, tokens

__all__ = ["NameMatch", "Role", "match_name"]

Role = Literal["rate", "schedule", "multiplier", "unsure"]

NEARLY = 0.9
"""Share of letters in common with "learning rate" that a misspelling of it has."""


@dataclass(frozen=True)
class NameMatch:
    """What a name says.

    Attributes:
        role: "unsure" if it may be no learning rate at all, None if it is none.
        words: The evidence, in words.
        phrase: What is said for "learning rate".
        exponent: Whether the value is said to be an exponent of the rate.
        base: Base of that exponent, None if the name does not give it.
        negated: Whether the exponent is said to be without its minus sign.
        before: The words before the phrase.
        after: The words behind it.
        soft: Whether the word that speaks for a schedule may as well name a part of the model.
        doubt: Why it may be a rate that no torch optimizer applies, None if nothing says so.
    """

    role: Role | None
    words: str = ""
    phrase: str = ""
    exponent: bool = False
    base: float | None = None
    negated: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    soft: bool = False
    doubt: str | None = None

    @property
    def rest(self) -> tuple[str, ...]:
        """The words besides the phrase."""
        return self.before + self.after

    @property
    def floor(self) -> bool:
        """Whether it is where a schedule ends, if another parameter is the rate: ``min_lr``."""
        return bool(words_for.FLOORS.intersection(self.before[-1:] + self.after[-1:]))

    @property
    def with_c(self) -> bool:
        """Whether a C stands beside it, the parameter of logistic regression: ``lr_C``."""
        return "c" in self.before[-1:] + self.after[:1]

    @property
    def short(self) -> bool:
        """Whether only "lr" is said, which has other meanings too."""
        return self.phrase in words_for.SHORT


@lru_cache(maxsize=4096)
def match_name(name: str) -> NameMatch:
    """What one name says.

    >>> match_name("head_lr").role, match_name("lr_decay").role, match_name("lr_mult").role
    ('rate', 'schedule', 'multiplier')
    >>> match_name("eta").role, match_name("color").role
    ('unsure', None)
    """
    words = tokens(name)
    if holds(words, "weight decay") is not None:
        return NameMatch(None)
    if found := locate(words, words_for.RATE, last=True):  # lr_config.min_lr: the last is what it is
        start, phrase = found
        return _read(phrase, words[:start], words[start + len(phrase.split()) :])
    if "llrd" in words or words in (("layer", "decay"), ("layerwise", "decay")):
        return NameMatch("multiplier", "its name: it scales the rate from layer to layer")
    if SequenceMatcher(None, "".join(words), "learningrate").ratio() >= NEARLY:
        return NameMatch("unsure", "its name, nearly 'learning rate'", "learning rate")
    if find(words, words_for.VAGUE_RATE) == " ".join(words):
        return NameMatch("unsure", "its name, which means something else as often", " ".join(words))
    return NameMatch(None)


def _read(phrase: str, before: tuple[str, ...], after: tuple[str, ...]) -> NameMatch:
    """A name that holds a phrase for learning rates."""
    others = frozenset(before + after)
    said = f"{phrase!r} in its name" if others else "its name"

    def match(role: Role, words: str, soft: bool = False) -> NameMatch:
        return NameMatch(role, words, phrase, *_exponent(others), before, after, soft, _doubt(others, after))

    if others & words_for.LAYERS and others & {"decay", "factor"}:
        return match("multiplier", f"{said}, and it scales the rate from layer to layer")
    if others & words_for.EXPONENT and not others & words_for.SCHEDULE:
        return match("rate", f"{said}, as an exponent")
    for role, words, soft in _ROLES:
        if found := sorted(others & words):
            return match(role, f"{said}, with {found[0]!r}", soft)
    return match("rate", said)


_ROLES: tuple[tuple[Role, frozenset[str], bool], ...] = (
    ("schedule", words_for.SCHEDULE, False),
    ("schedule", words_for.SCHEDULE_OF_A_RATE, True),
    ("multiplier", words_for.MULTIPLIER, False),
)


def _doubt(others: frozenset[str], after: tuple[str, ...]) -> str | None:
    if found := sorted(words_for.QUANTITIES.intersection(after)):
        return f"{found[0]!r} behind it names another quantity"
    if found := sorted(others & words_for.BY_HAND):
        return f"{found[0]!r}: code often takes such steps without an optimizer"
    if found := sorted(others & words_for.OTHER_FRAMEWORKS):
        return f"{found[0]!r}: galatune controls torch optimizers only"
    return None


def _exponent(others: frozenset[str]) -> tuple[bool, float | None, bool]:
    """Whether the name says that it is an exponent, of which base, and without its minus."""
    if not others & words_for.EXPONENT:
        return False, None, False
    base = next((b for word, b in (("10", 10.0), ("2", 2.0)) if word in others), None)
    return True, math.e if "ln" in others else base, bool(others & words_for.NEGATED)
