"""What one parameter is: by its name, its values, and the parameters beside it.

A rate that is dropped by mistake costs more than one that is missed: whoever cannot tell says "unsure".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution

from galatune.study.scan import vocabulary as words_for
from galatune.study.scan.company import HINTED, Company, Space, company_of, has_rate
from galatune.study.scan.distributions import Scale
from galatune.study.scan.look_alikes import gain, is_attribute, look_alike
from galatune.study.scan.names import NameMatch, Role, match_name
from galatune.study.scan.schedules import read_schedule, trains
from galatune.study.scan.values import Values, bounds, is_logarithmic, read_values
from galatune.study.scan.vocabulary import find, tokens

__all__ = ["Decision", "decide", "named_by_the_user"]

_MEANING: Mapping[Role, str] = {
    "schedule": "shapes the rate over time, the controller follows it",
    "multiplier": "scales one group's rate against another's",
}


@dataclass(frozen=True)
class Decision:
    """What a parameter is: its role with the evidence, or None and the reason why it is left alone."""

    evidence: str
    role: Role | None
    scale: Scale = "rate"


def named_by_the_user(name: str, distribution: BaseDistribution) -> Decision:
    """A rate because ``--lr`` says so."""
    values = read_values(distribution, match_name(name))
    return Decision("named by --lr", "rate", values.scale if values.kind == "rates" else "unknown")


def decide(name: str, distribution: BaseDistribution, others: Space) -> Decision | None:
    """Decide about one parameter; None if nothing points to a learning rate.

    Args:
        name: Of the parameter.
        distribution: The newest one.
        others: The study's other parameters.
    """
    match = match_name(name)
    if match.role is None or match.phrase in words_for.VAGUE_RATE:
        return _not_named(name, distribution, others)
    if match.role != "schedule" and is_attribute(match):
        return None
    company = company_of(match, others)
    values = read_values(distribution, match)
    if reason := look_alike(match, distribution, values, others, company):
        return Decision(reason, None)
    role = _role_by_values(match, values)
    if role == "schedule" and match.soft and not trains(others):
        return None
    if role in ("schedule", "multiplier"):
        return Decision(f"{match.words}: {_MEANING[role]}", role, "unknown")
    return _rate(match, role, distribution, values, others, company)


def _not_named(name: str, distribution: BaseDistribution, others: Space) -> Decision | None:
    if reason := gain(name, others):
        return Decision(reason, None)
    if evidence := read_schedule(name, distribution, others):
        return Decision(f"{evidence}: {_MEANING['schedule']}", "schedule", "unknown")
    match = match_name(name)
    return None if match.role is None else _vague(match, read_values(distribution, match), others)


def _role_by_values(match: NameMatch, values: Values) -> Role | None:
    """The role of the name, unless the values contradict it."""
    if values.kind == "words" and match.role in ("rate", "unsure"):
        return "schedule"
    if match.role == "schedule" and match.soft and values.firm:
        if "policy" in match.rest or values.scale != "rate":  # of a policy network; lr_power from -5 to -1
            return "rate"
        if match.before:  # step_lr
            return "unsure"
    return match.role


def _vague(match: NameMatch, values: Values, others: Space) -> Decision | None:
    """A name such as eta, which only the company can make a rate."""
    company = company_of(match, others)
    networks = company.network_score > company.tree_score
    if networks and values.kind == "rates" and values.firm and not has_rate(others):
        return Decision(f"{match.words}; {values.words}, beside {company.network_names()}", "unsure")
    if match.phrase == "eta" and company.tree_score:
        return Decision(f"the learning rate of boosted trees, beside {company.tree_names()}", None)
    if match.phrase == "eta":
        return Decision("may be a learning rate or something else", None)
    if match.phrase == "eta 0":
        return Decision("scikit-learn's eta0: that model is not trained by a torch optimizer", None)
    return None


def _rate(
    match: NameMatch,
    role: Role | None,
    distribution: BaseDistribution,
    values: Values,
    others: Space,
    company: Company,
) -> Decision | None:
    """A rate by its name: whether it is one, nobody can tell, or it is that of something else."""
    if values.kind != "rates":
        if values.coded and company.network and not has_rate(others):
            return Decision(f"{match.words}; an integer that code may turn into a rate", "unsure", "unknown")
        return Decision(values.words, None)
    evidence = f"{match.words}; {values.words}"
    trees = company.tree_score + HINTED * bool(words_for.SHORT_BOOSTERS.intersection(match.rest))
    if trees >= 2 * max(company.network_score, 1):
        beside = f", beside {company.tree_names()}" if company.tree_score else ""
        return Decision(f"the learning rate of boosted trees{beside}: not a torch optimizer's", None)
    if doubt := _doubt(match, role, distribution, values, company, trees):
        return Decision(f"{evidence}; but {doubt}", "unsure", values.scale)
    beside = f"; beside {company.network_names()}" if company.network else ""
    return Decision(f"{evidence}{beside}", "rate", values.scale)


def _doubt(
    match: NameMatch,
    role: Role | None,
    distribution: BaseDistribution,
    values: Values,
    company: Company,
    trees: int,
) -> str | None:
    """Why nobody can tell from the space whether it is the rate of a network; None if there is no doubt."""
    low, high = bounds(distribution) or (1.0, 1.0)
    network = company.network_score or (2 if find(match.rest, words_for.NETWORK | words_for.PARTS) else 0)
    if role == "unsure":
        return "its name is also used for steps that no optimizer takes"
    if trees and not (2 * trees <= network or (values.firm and trees <= max(network, 1))):
        return f"trees may have it as well, beside {company.tree_names()}" if company.tree_score else (
            "its name also says trees"
        )
    if not values.firm and low == 0 and high >= WEIGHTS and not is_logarithmic(distribution):
        return "weights are searched in such a range as well"
    if surely := [one for one in company.other if find(tokens(one), words_for.SURELY_OTHER)]:
        return f"it may be another model's, beside {surely[0]}"
    if not network and (company.other or company.elsewhere):
        return f"nothing says that it is a network's, beside {(company.other or company.elsewhere)[0]}"
    if not network and not values.firm:
        return "nothing says that it is a network's, and other models are searched in such a range as well"
    if match.after and not values.firm and not _names_a_part(match):
        return f"{' '.join(match.after)!r} says nothing, and its range is not that of rates alone"
    return None


WEIGHTS = 0.5
"""Weights of models are searched from 0 to this, or to more."""


def _names_a_part(match: NameMatch) -> bool:
    """Whether what stands behind the rate is a part of a network, an optimizer, a number or a letter."""
    return bool(find(match.after, words_for.NETWORK | words_for.PARTS)) or all(
        len(word) == 1 or word.isdigit() or word in ("init", "initial", "max", "min", "base", "start", "peak")
        for word in match.after
    )
