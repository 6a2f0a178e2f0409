"""Whether a parameter that is named like a learning rate may be something else after all."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.distributions import BaseDistribution

from galatune.study.scan import vocabulary as words_for
from galatune.study.scan.company import HINTED, SURE, Company
from galatune.study.scan.names import NameMatch
from galatune.study.scan.values import NETWORKS_HIGH, Values, bounds, is_logarithmic
from galatune.study.scan.vocabulary import find, tokens

__all__ = ["WEIGHTS", "Candidate", "doubt", "is_known"]

NETWORKS_ALONE = 1e-5
"""Hardly any trees are searched down to this rate."""
SHARED = 2 * SURE
"""Two parameters that only trees have: then one rate may serve trees and networks."""
WEIGHTS = 0.5
"""Weights of models are searched from 0 to this, or to more."""
_PARTS = words_for.NETWORK | words_for.PARTS
_PLACES = words_for.EXPONENT | words_for.NEGATED | words_for.PLACES


@dataclass(frozen=True)
class Candidate:
    """A parameter that is named like a learning rate.

    Attributes:
        match: What its name says.
        distribution: The newest one.
        values: What its values say.
        company: What the parameters say that belong to the same model.
    """

    match: NameMatch
    distribution: BaseDistribution
    values: Values
    company: Company

    @property
    def trees(self) -> int:
        """Weight of what speaks for boosted trees."""
        named = bool(words_for.SHORT_BOOSTERS.intersection(self.match.rest))
        return self.company.tree_score + HINTED * named

    @property
    def network(self) -> int:
        """Weight of what speaks for a network."""
        return self.company.network_score or SURE * _names_a_part(self.match.rest)

    @property
    def deep(self) -> bool:
        """Whether it is searched down to rates that hardly any trees have."""
        low, high = bounds(self.distribution) or (1.0, 1.0)
        return low <= NETWORKS_ALONE and high <= NETWORKS_HIGH


def doubt(candidate: Candidate) -> str | None:
    """Why nobody can tell from the study whether it is the rate of a network; None if there is no doubt."""
    return (
        candidate.match.doubt or _of_trees(candidate) or _of_another_model(candidate) or _by_range(candidate)
    )


def _of_trees(candidate: Candidate) -> str | None:
    trees, network, company = candidate.trees, candidate.network, candidate.company
    outweighed = 2 * trees <= network or (candidate.values.firm and trees <= network)
    if not trees or (outweighed and trees < SHARED) or (candidate.deep and trees == HINTED):
        return None
    if not company.tree_score:
        return "its name also says trees"
    return f"boosted trees have such parameters too: {company.tree_names()}"


def _of_another_model(candidate: Candidate) -> str | None:
    company = candidate.company
    surely = [other for other in company.other if find(tokens(other), frozenset(words_for.SURELY_OTHER))]
    sizes = [other for other in company.network if find(tokens(other), ("hidden layer sizes",))]
    if sizes and (company.other or company.perhaps_trees):
        return f"networks of scikit-learn have such parameters too: {sizes[0]}"
    if surely or (company.other and not company.network):
        return f"it may be another model's, beside {(surely or company.other)[0]}"
    if candidate.network:
        return None
    if company.elsewhere:
        return f"it may be another model's, beside {company.elsewhere[0]}"
    if candidate.values.firm:
        return None
    return "nothing says that it is a network's, and other models use such a range"


def _by_range(candidate: Candidate) -> str | None:
    match = candidate.match
    if match.short and match.with_c and not candidate.company.network:
        return "logistic regression has a C too"
    low, high = bounds(candidate.distribution) or (1.0, 1.0)
    weight = (low == 0 and not candidate.values.firm) or words_for.WEIGHTS.intersection(match.rest)
    if weight and high >= WEIGHTS and not is_logarithmic(candidate.distribution):
        return "weights are searched in such a range too"
    if is_known(match.after) or (high <= NETWORKS_HIGH and (candidate.network or candidate.deep)):
        return None
    return f"{' '.join(match.after)!r} is no part of a network, and its range is not that of rates alone"


def is_known(words: tuple[str, ...]) -> bool:
    """Whether what stands behind "lr" tells one learning rate from another: a part, a letter, a number."""
    told = all(len(word) == 1 or word.isdigit() or word in _PLACES for word in words)
    return told or _names_a_part(words)


def _names_a_part(words: tuple[str, ...]) -> bool:
    """Whether words name a part of a network, or an optimizer."""
    return bool(find(words, _PARTS))
