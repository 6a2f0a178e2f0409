"""Which parameters of a study are learning rates, and the evidence for it.

A parameter is considered because of its name; its distribution and the parameters beside it decide. What
only looks like a learning rate is refused with the reason; ``lr`` and ``keep`` overrule both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalChoiceType, distribution_to_json
from optuna.trial import FrozenTrial

from galatune.errors import PlanError
from galatune.formatting import plural, printable
from galatune.study.scan.company import Space
from galatune.study.scan.decide import Decision, decide, named_by_the_user
from galatune.study.scan.distributions import Scale, in_words, is_legal, middle
from galatune.study.scan.names import Role
from galatune.study.scan.shared_affixes import without_shared_affixes

__all__ = ["Dimensions", "RateDimension", "Refusal", "Role", "find_dimensions"]


@dataclass(frozen=True)
class RateDimension:
    """A parameter of the study that sets the learning rate or its schedule.

    Attributes:
        name: As suggested by the objective.
        role: "rate" (dropped), "schedule" or "multiplier" (reported; dropped when asked), "unsure" (nobody
            can tell from the study whether it is a rate: kept unless ``lr`` names it).
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
        learning_rate: Rates, schedules, multipliers and what may be a rate, in the order of the objective.
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
    decisions = _decide(parameters, lr)
    dimensions = tuple(
        _dimension(parameters[name], decision, best, name in keep, drop_schedule)
        for name, decision in decisions.items()
        if decision is not None
        and decision.role is not None
        and not (decision.role == "unsure" and name in keep)  # the user said what it is
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


def _decide(parameters: Mapping[str, _Parameter], lr: Collection[str]) -> dict[str, Decision | None]:
    """What each parameter is, by what is left of its name without what all names share."""
    plain = without_shared_affixes(parameters)
    space = {plain[name]: parameter.newest for name, parameter in parameters.items()}
    return {
        name: named_by_the_user(said, space[said])
        if name in lr
        else decide(said, space[said], _without(space, said))
        for name, said in plain.items()
    }


def _without(space: Space, name: str) -> Space:
    return {other: distribution for other, distribution in space.items() if other != name}


def _check_wishes(parameters: Collection[str], lr: Collection[str], keep: Collection[str]) -> None:
    for option, names in (("--lr", lr), ("--keep", keep)):
        for name in names:
            if name not in parameters:
                known = ", ".join(printable(parameter) for parameter in parameters) or "none at all"
                raise PlanError(f"{option} {printable(name)}: no such parameter; the study has: {known}")
    if both := sorted(set(lr) & set(keep)):
        raise PlanError(f"{printable(both[0])} cannot be both --lr and --keep; leave one out")


def _dimension(
    parameter: _Parameter, decision: Decision, best: Sequence[FrozenTrial], keep: bool, drop_schedule: bool
) -> RateDimension:
    assert decision.role is not None
    seen = [trial.params[parameter.name] for trial in best if parameter.name in trial.params]
    legal = [value for value in seen if is_legal(parameter.newest, value)]
    return RateDimension(
        name=parameter.name,
        role=decision.role,
        distribution=parameter.words,
        placeholder=legal[0] if legal else middle(parameter.newest),
        dropped=not keep and (decision.role == "rate" or (drop_schedule and decision.role != "unsure")),
        evidence=decision.evidence + ("; kept on request" if keep else ""),
        distribution_json=distribution_to_json(parameter.newest),
        scale=decision.scale,
    )
