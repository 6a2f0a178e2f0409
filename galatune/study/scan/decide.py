"""What one parameter is: by its name, its values, and the parameters beside it.

A rate that is dropped by mistake costs more than one that is missed: whoever cannot tell says "unsure".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, IntDistribution

from galatune.study.scan.company import Space, company_of, has_rate
from galatune.study.scan.distributions import Scale
from galatune.study.scan.doubt import Candidate, doubt
from galatune.study.scan.look_alikes import gain, is_attribute, look_alike
from galatune.study.scan.names import NameMatch, Role, match_name
from galatune.study.scan.schedules import companion_of, read_schedule, trains
from galatune.study.scan.values import Values, read_values
from galatune.study.scan.vocabulary import MULTIPLIER, SCHEDULE, SCHEDULE_OF_A_RATE, VAGUE_RATE

__all__ = ["Decision", "decide", "named_by_the_user"]

_MEANING: Mapping[Role, str] = {
    "schedule": "shapes the rate over time, the controller follows it",
    "multiplier": "scales one group's rate against another's",
}

_MODIFIERS = (SCHEDULE | SCHEDULE_OF_A_RATE | MULTIPLIER) - {"warmup", "warm"}
"""Just before the rate they may say which one it is: ``cosine_lr``."""


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
    if match.role is None or match.phrase in VAGUE_RATE:
        return _not_named(name, distribution, others)
    if match.role != "schedule" and is_attribute(match):
        return None
    values = read_values(distribution, match)
    candidate = Candidate(match, distribution, values, company_of(match, others))
    if reason := look_alike(candidate, others):
        return Decision(reason, None)
    role = _role_by_values(candidate)
    if role == "multiplier" and match.rest == ("factor",) and companion_of("factor", distribution, others):
        role = "schedule"
    if match.floor and values.kind == "rates" and has_rate(others):
        role = "schedule"
    if role == "schedule" and match.soft and not trains(others):
        return None
    if role in ("schedule", "multiplier"):
        return Decision(f"{match.words}: {_MEANING[role]}", role, "unknown")
    return _rate(candidate, role, others)


def _not_named(name: str, distribution: BaseDistribution, others: Space) -> Decision | None:
    """A parameter that does not name a learning rate, or by a word that means other things too."""
    if reason := gain(name, others):
        return Decision(reason, None)
    if evidence := read_schedule(name, distribution, others):
        return Decision(f"{evidence}: {_MEANING['schedule']}", "schedule", "unknown")
    match = match_name(name)
    return None if match.role is None else _vague(match, read_values(distribution, match), others)


def _vague(match: NameMatch, values: Values, others: Space) -> Decision | None:
    """A name such as eta, which only the company can make a rate."""
    company = company_of(match, others)
    networks = company.network_score > company.tree_score
    if networks and values.kind == "rates" and values.firm and not has_rate(others):
        return Decision(f"{match.words}; {values.words}; beside {company.network_names()}", "unsure")
    reasons = {
        "eta": f"the learning rate of boosted trees, beside {company.tree_names()}"
        if company.tree_score
        else "may be a learning rate or something else",
        "eta 0": "scikit-learn's eta0: that model is not trained by a torch optimizer",
    }
    return Decision(reasons[match.phrase], None) if match.phrase in reasons else None


def _role_by_values(candidate: Candidate) -> Role | None:
    """The role of the name, unless the values contradict it."""
    match, values = candidate.match, candidate.values
    if values.kind == "schedules" and match.role in ("rate", "unsure"):
        return "schedule"
    if match.role not in _MEANING or match.floor or values.kind != "rates":
        return match.role
    number = not isinstance(candidate.distribution, IntDistribution)
    if match.soft and ((number and "policy" in match.rest) or values.scale.startswith(("log", "ln"))):
        return "rate"  # of a policy's network; lr_power from -5 to -1
    if "power" in match.rest and not number:
        return "unsure"
    if _MODIFIERS.intersection(match.before[-1:]) and values.firm and number:
        return "unsure"  # cosine_lr, step_lr, scaling_lr
    return match.role


def _rate(candidate: Candidate, role: Role | None, others: Space) -> Decision:
    """A rate by its name: of a torch optimizer, of something else, or nobody can tell."""
    match, values, company = candidate.match, candidate.values, candidate.company
    coded = values.kind == "words" or (values.coded and bool(company.network))
    if coded and not has_rate(others):
        return Decision(f"{match.words}; {values.words}, which code may turn into rates", "unsure", "unknown")
    if values.kind != "rates":
        return Decision(values.words, None)
    perhaps = candidate.deep and not company.trees
    if candidate.trees >= 2 * max(company.network_score, 1) and not perhaps:
        beside = f", beside {company.tree_names()}" if company.tree_score else ""
        return Decision(f"the learning rate of boosted trees{beside}", None)
    evidence = f"{match.words}; {values.words}"
    reason = doubt(candidate)
    if reason or role == "unsure":
        return Decision(f"{evidence}{f'; but {reason}' if reason else ''}", "unsure", values.scale)
    beside = f"; beside {company.network_names()}" if company.network else ""
    return Decision(f"{evidence}{beside}", "rate", values.scale)
