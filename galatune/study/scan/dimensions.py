"""Which parameters of a study are learning rates, and the evidence for it.

A parameter is considered because of its name; its distribution and the parameters beside it decide. What
only looks like a learning rate is refused with the reason; ``lr`` and ``keep`` overrule both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import FrozenTrial

from galatune.errors import PlanError
from galatune.formatting import plural, printable
from galatune.study.scan.distributions import Scale, as_number, in_words, is_legal, middle
from galatune.study.scan.names import BOOSTING, NETWORK, NameMatch, Role, holds, match_name, tokens

__all__ = ["Dimensions", "RateDimension", "Refusal", "Role", "find_dimensions"]

HIGHEST_RATE = 10.0
"""No search of a learning rate starts above 1 or goes far above this."""

DEEPEST_EXPONENT = -20.0
LONGEST_EXPONENT = 12
COMMON_BASE_TEN = -8.0
"""A range of exponents that reaches below this is taken for natural logarithms."""

TREES_UPPER, TREES_LOWER = 0.05, 1e-3
_SHOWN_COMPANY = 3


@dataclass(frozen=True)
class RateDimension:
    """A parameter of the study that sets the learning rate or its schedule.

    Attributes:
        name: As suggested by the objective.
        role: "rate" (dropped), "schedule" or "multiplier" (reported; dropped when asked).
        distribution: In words, "float 1e-05 to 0.001, log". Several if it changed during the study.
        placeholder: The value that the dimension is fixed at once dropped: the objective gets it from the
            trial. It is legal: the old study's best, else the middle of the range on its scale.
        dropped: Whether the smaller study leaves it out.
        evidence: Why it is taken for what it is.
        distribution_json: The newest distribution, as Optuna writes it.
        scale: How its values become learning rates; "unknown" if only the code knows.
    """

    name: str
    role: Role
    distribution: str
    placeholder: CategoricalChoiceType
    dropped: bool
    evidence: str
    distribution_json: str = ""
    scale: Scale = "rate"


@dataclass(frozen=True)
class Refusal:
    """A parameter that looks like a learning rate, but is not that of a torch optimizer."""

    name: str
    reason: str


@dataclass(frozen=True)
class Dimensions:
    """The search space, sorted.

    Attributes:
        learning_rate: Rates, schedules and multipliers, in the order of the objective.
        kept: Everything that is not dropped.
        refused: Look-alikes, with the reason.
    """

    learning_rate: tuple[RateDimension, ...]
    kept: tuple[str, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True)
class _Parameter:
    """One parameter with all its distributions."""

    name: str
    distributions: tuple[BaseDistribution, ...]
    trials: tuple[int, ...]

    @property
    def newest(self) -> BaseDistribution:
        return self.distributions[-1]

    @property
    def words(self) -> str:
        if len(self.distributions) == 1:
            return in_words(self.newest)
        spans = zip(self.distributions, self.trials, strict=True)
        return "; then ".join(f"{in_words(d)} ({plural(n, 'trial')})" for d, n in spans)


@dataclass(frozen=True)
class _Decision:
    """What a parameter is: its role with the evidence, or None and the reason of a refusal."""

    evidence: str
    role: Role | None
    scale: Scale = "rate"


def find_dimensions(
    trials: Sequence[FrozenTrial],
    best: Sequence[FrozenTrial] = (),
    *,
    lr: Collection[str] = (),
    keep: Collection[str] = (),
    drop_schedule: bool = False,
) -> Dimensions:
    """Sort a study's parameters into those of the learning rate, look-alikes, and the rest.

    Args:
        trials: All trials, of every state.
        best: Trials whose values the dropped dimensions are fixed at, best first.
        lr: Parameters that are learning rates in any case.
        keep: Parameters that stay in any case.
        drop_schedule: Drop schedules and multipliers as well.

    Raises:
        PlanError: ``lr`` or ``keep`` name a parameter that no trial has, or the same one.
    """
    parameters = _collect(trials)
    _check_wishes(parameters, lr, keep)
    decisions = {
        name: _decide(p, frozenset(parameters) - {name}, name in lr) for name, p in parameters.items()
    }
    dimensions = tuple(
        _dimension(parameters[name], decision, best, name in keep, drop_schedule)
        for name, decision in decisions.items()
        if decision is not None and decision.role is not None
    )
    dropped = {dimension.name for dimension in dimensions if dimension.dropped}
    return Dimensions(
        learning_rate=dimensions,
        kept=tuple(name for name in parameters if name not in dropped),
        refused=tuple(
            Refusal(name, decision.evidence)
            for name, decision in decisions.items()
            if decision is not None and decision.role is None
        ),
    )


def _collect(trials: Sequence[FrozenTrial]) -> dict[str, _Parameter]:
    """Every parameter with its distributions, oldest first."""
    found: dict[str, dict[str, tuple[BaseDistribution, int]]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            spans = found.setdefault(name, {})
            # By its text, for choices may be lists. Seen again, it becomes the newest.
            _, seen = spans.pop(text := repr(distribution), (distribution, 0))
            spans[text] = distribution, seen + 1
    return {
        name: _Parameter(name, tuple(d for d, _ in spans.values()), tuple(n for _, n in spans.values()))
        for name, spans in found.items()
    }


def _check_wishes(parameters: Collection[str], lr: Collection[str], keep: Collection[str]) -> None:
    for option, names in (("--lr", lr), ("--keep", keep)):
        for name in names:
            if name not in parameters:
                known = ", ".join(printable(parameter) for parameter in parameters) or "none at all"
                raise PlanError(f"{option} {printable(name)}: no such parameter; the study has: {known}")
    if both := sorted(set(lr) & set(keep)):
        raise PlanError(f"{printable(both[0])} cannot be both --lr and --keep; leave one out")


def _dimension(
    parameter: _Parameter, decision: _Decision, best: Sequence[FrozenTrial], keep: bool, drop_schedule: bool
) -> RateDimension:
    assert decision.role is not None
    seen = [trial.params[parameter.name] for trial in best if parameter.name in trial.params]
    legal = [value for value in seen if is_legal(parameter.newest, value)]
    return RateDimension(
        name=parameter.name,
        role=decision.role,
        distribution=parameter.words,
        placeholder=legal[0] if legal else middle(parameter.newest),
        dropped=not keep and (decision.role == "rate" or drop_schedule),
        evidence=decision.evidence + ("; kept on request" if keep else ""),
        distribution_json=distribution_to_json(parameter.newest),
        scale=decision.scale,
    )


def _decide(parameter: _Parameter, company: frozenset[str], forced: bool) -> _Decision | None:
    """Decide about one parameter; None if nothing points to a learning rate."""
    match = match_name(parameter.name, company)
    if forced:
        decision = _by_range(parameter.newest, match)
        return _Decision("named by --lr", "rate", decision.scale if decision.role else "unknown")
    if match.role is None:
        return None
    if reason := match.refusal or _trees(parameter.newest, match, company):
        return _Decision(reason, None)
    if match.role != "rate":
        return _Decision(f"{match.words}: {_MEANING[match.role]}", match.role, "unknown")
    decision = _by_range(parameter.newest, match)
    if decision.role != "rate":
        return decision
    beside = [other for other in sorted(company) if _is_among(tokens(other), NETWORK)]
    suffix = f"; beside {', '.join(beside[:_SHOWN_COMPANY])}" if beside else ""
    return _Decision(f"{match.words}; {decision.evidence}{suffix}", "rate", decision.scale)


_MEANING: Mapping[Role, str] = {
    "schedule": "shapes the rate over time, the controller follows it",
    "multiplier": "scales one group's rate against another's",
}


def _trees(distribution: BaseDistribution, match: NameMatch, company: frozenset[str]) -> str | None:
    """The reason if it is the learning rate of boosted trees, which cannot be controlled; None otherwise."""
    if match.role != "rate":
        return None
    rests = [(other, tokens(other)) for other in sorted(company)]
    trees = [other for other, words in rests if any(holds(words, p) == match.rest for p in BOOSTING)]
    network = [other for other, words in rests if _is_among(words, NETWORK)]
    if not trees or len(trees) < len(network):
        return None
    low, high = _bounds(distribution) or (0.0, 0.0)
    if len(trees) == len(network) and not (low >= TREES_LOWER and high >= TREES_UPPER):
        return None
    beside = ", ".join(trees[:_SHOWN_COMPANY])
    return f"the learning rate of boosted trees, beside {beside}: not a torch optimizer's"


def _by_range(distribution: BaseDistribution, match: NameMatch) -> _Decision:
    """Whether the values can be learning rates, and how they become learning rates."""
    bounds = _bounds(distribution)
    if bounds is None:
        return _by_choices(distribution)
    low, high = bounds
    if match.exponent or low < 0:
        return _as_exponent(low, high, match)
    logarithmic = isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log
    if 0 <= low <= 1 and high <= HIGHEST_RATE and high > 0:
        if isinstance(distribution, IntDistribution):
            return _Decision("an integer that the code turns into a rate", "rate", "unknown")
        kind = "choice" if isinstance(distribution, CategoricalDistribution) else "range"
        return _Decision(f"a {'logarithmic ' if logarithmic else ''}{kind} of rates", "rate")
    if isinstance(distribution, IntDistribution) and high <= LONGEST_EXPONENT:
        return _Decision("an integer that the code turns into a rate", "rate", "unknown")
    return _Decision(f"values from {low:g} to {high:g} are not learning rates; if they are, say --lr", None)


def _as_exponent(low: float, high: float, match: NameMatch) -> _Decision:
    if low < DEEPEST_EXPONENT or high > LONGEST_EXPONENT:
        return _Decision(f"values from {low:g} to {high:g} are no exponents of rates; if so, say --lr", None)
    minus = match.negated or low >= 1 or (low >= 0 and high > 1)
    if low >= 0 and high <= 1 and not match.negated:  # named like a logarithm, but holding rates
        return _Decision("a range of rates, although its name says exponent", "rate")
    base = match.base
    if base is None:
        deepest = -high if minus else low
        base = 10.0 if deepest >= COMMON_BASE_TEN else 2.718281828459045
    shown = {10.0: "10", 2.0: "2"}.get(base, "e")
    scales: dict[tuple[str, bool], Scale] = {
        ("10", False): "log10",
        ("2", False): "log2",
        ("e", False): "ln",
        ("10", True): "-log10",
        ("2", True): "-log2",
        ("e", True): "-ln",
    }
    return _Decision(f"exponents of {shown}{', without the minus' * minus}", "rate", scales[shown, minus])


def _by_choices(distribution: BaseDistribution) -> _Decision:
    """Choices that are not numbers: schedules by name, or lists of rates."""
    choices = getattr(distribution, "choices", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        if set(choices) & {"invscaling", "adaptive"}:
            return _Decision("scikit-learn's learning_rate, the name of a schedule", None)
        return _Decision("its name; choices by name, not rates", "schedule", "unknown")
    if any(isinstance(choice, list | tuple) for choice in choices):
        return _Decision("choices that the code turns into rates", "rate", "unknown")
    return _Decision(f"{in_words(distribution)}: not learning rates; if they are, say --lr", None)


def _bounds(distribution: BaseDistribution) -> tuple[float, float] | None:
    """Lowest and highest value, None if they are not numbers."""
    if isinstance(distribution, CategoricalDistribution):
        numbers = [as_number(choice) for choice in distribution.choices]
        known = [n for n in numbers if n is not None]
        return (min(known), max(known)) if len(known) == len(numbers) else None
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return float(distribution.low), float(distribution.high)
    return None


def _is_among(words: tuple[str, ...], phrases: Collection[str]) -> bool:
    return any(holds(words, phrase) is not None for phrase in phrases)
