"""What the parameters beside one say of it: of boosted trees, of a network, or of something else.

One study may tune a network, boosted trees and others together; then names tell by a prefix or a suffix what
belongs to what: ``x_lr`` to ``x_max_depth``, and ``lr`` to all that belongs to nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from optuna.distributions import BaseDistribution, CategoricalDistribution

from galatune.formatting import listed
from galatune.study.scan import vocabulary as words_for
from galatune.study.scan.names import NameMatch, match_name
from galatune.study.scan.vocabulary import find, holds, tokens

__all__ = ["Company", "Space", "company_of", "has_rate", "is_agent"]

Space = Mapping[str, BaseDistribution]

SHOWN = 3
SURE, HINTED = 2, 1
_COMMON = frozenset(
    {"base", "end", "exp", "final", "hp", "init", "initial", "learning", "ln", "log", "max", "min", "n"}
    | {"num", "onecycle", "param", "params", "peak", "start", "target", "use", "w", "weight"}
)
"""Words that begin or end names without saying what these belong to."""
_NETWORK = words_for.NETWORK | words_for.REINFORCEMENT
_WHOLE_OTHER = words_for.AGENT | words_for.LOGISTIC | {"c"}
"""Of agents with a table, and of linear models, if they are the whole name."""


@dataclass
class Company:
    """What the parameters say that belong together with one: their names, by what they speak for.

    Attributes:
        trees: Boosted trees.
        perhaps_trees: Trees or something else.
        network: A network or its training.
        other: Some other model.
        elsewhere: Trees, but by their prefix or suffix the parameter is not among them.
    """

    trees: list[str] = field(default_factory=list)
    perhaps_trees: list[str] = field(default_factory=list)
    network: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def tree_score(self) -> int:
        """Weight of what speaks for trees."""
        return SURE * len(self.trees) + HINTED * len(self.perhaps_trees)

    @property
    def network_score(self) -> int:
        """Weight of what speaks for a network."""
        return SURE * len(self.network)

    @property
    def says_something(self) -> bool:
        """Whether any of the parameters is known."""
        return bool(self.trees or self.perhaps_trees or self.network or self.other)

    def tree_names(self) -> str:
        """The parameters that speak for trees, in words."""
        return listed([*self.trees, *self.perhaps_trees][:SHOWN])

    def network_names(self) -> str:
        """The parameters that speak for a network, in words."""
        return listed(sorted(self.network)[:SHOWN])


def company_of(match: NameMatch, others: Space) -> Company:
    """What the parameters say that belong to the same model as one.

    Args:
        match: What its name says.
        others: The study's other parameters.
    """
    for affix, at_the_start in _affixes(match):
        company = Company()
        belong = [(name, _without(tokens(name), affix, at_the_start)) for name in others]
        for name, rest in belong:
            if rest is not None:
                _sort(company, name, rest, others[name])
        if company.says_something or (at_the_start and any(rest for _, rest in belong)):
            return company
    return _without_a_mark(others)


def _without_a_mark(others: Space) -> Company:
    """What the parameters say that by their names belong to nothing else."""
    company = Company()
    marks = _marks_of_rates(others)
    for name, distribution in others.items():
        words = tokens(name)
        phrase = find(words, words_for.TREES)
        if phrase and not _COMMON.issuperset(holds(words, phrase) or ()):
            company.elsewhere.append(name)
        elif not any(words[: len(mark)] == mark for mark in marks):
            _sort(company, name, words, distribution)
    return company


def _marks_of_rates(others: Space) -> list[tuple[str, ...]]:
    """The words before other rates: what begins with them belongs to those."""
    marks = [match_name(other).before for other in others if _is_rate(other)]
    return [mark for mark in marks if not _COMMON.issuperset(mark)]


def _affixes(match: NameMatch) -> Iterator[tuple[tuple[str, ...], bool]]:
    """What may mark the model of a rate: the words before it, then those behind it, the longest first."""
    for length in range(len(match.before), 0, -1):
        if not _COMMON.issuperset(match.before[:length]):
            yield match.before[:length], True
    for start in range(len(match.after)):
        if not _COMMON.issuperset(match.after[start:]):
            yield match.after[start:], False


def _without(words: tuple[str, ...], affix: tuple[str, ...], at_the_start: bool) -> tuple[str, ...] | None:
    """The words without the affix, None if they do not have it."""
    size = len(affix)
    if at_the_start:
        return words[size:] if words[:size] == affix else None
    return words[:-size] if words[-size:] == affix else None


def _sort(company: Company, name: str, words: tuple[str, ...], distribution: BaseDistribution) -> None:
    """Add a parameter to those that speak for the same as it."""
    if find(words, words_for.TREES) or _offers_trees(distribution):
        company.trees.append(name)
    elif " ".join(words) in words_for.SOMETIMES_TREES:
        company.perhaps_trees.append(name)
    elif find(words, words_for.OTHER_MODELS) or " ".join(words) in _WHOLE_OTHER:
        company.other.append(name)
    elif find(words, _NETWORK):
        company.network.append(name)


def _offers_trees(distribution: BaseDistribution) -> bool:
    """Whether boosted trees are one of its choices."""
    choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
    return any(
        words_for.BOOSTERS.intersection(tokens(choice)) for choice in choices if isinstance(choice, str)
    )


def has_rate(others: Space) -> bool:
    """Whether one of the parameters is named like a learning rate from which a training starts."""
    return any(_is_rate(name) for name in others)


@lru_cache(maxsize=4096)
def _is_rate(name: str) -> bool:
    match = match_name(name)
    something_else = match.floor or words_for.ATTRIBUTES.intersection(match.after[-1:])
    return match.role == "rate" and not something_else


def is_agent(others: Space) -> bool:
    """Whether the study is one of reinforcement learning."""
    names = [tokens(name) for name in others]
    return any(find(words, words_for.REINFORCEMENT) or " ".join(words) in words_for.AGENT for words in names)
