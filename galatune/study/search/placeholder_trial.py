"""The trial that answers dropped dimensions with constants, so that an unchanged objective runs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    IntDistribution,
)

from galatune.controller.torch_hooks.traced_numbers import Origin, plain, traced
from galatune.formatting import printable
from galatune.study.ledger.attributes import WARM_START
from galatune.study.ledger.record import RateEvent
from galatune.study.scan.distributions import as_number, is_legal, nearest
from galatune.study.search.stored_choices import as_stored, own_choice

if TYPE_CHECKING:
    from galatune.study.search.pruning import CurveWatch

__all__ = ["PlaceholderTrial"]

_ANSWERS = "_galatune_answers"
_REFUSED = "_galatune_refused"


@dataclass
class _Answers:
    """The answers of one call of the objective."""

    placeholders: dict[str, CategoricalChoiceType]
    origins: dict[str, Origin]
    varied: Collection[str]
    reported: Collection[int]
    curve: CurveWatch | None
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)


class PlaceholderTrial(optuna.trial.Trial):
    """A trial whose dropped dimensions are answered with constants and never stored.

    It is the original trial under another class: both share one ``__dict__``, so `isinstance`, `tell`,
    pruners and storages treat it as before. The sampler and the storage never see a dropped
    dimension; ``params`` and ``distributions`` show it to the running objective only.

    Make one with `adopt`; the constructor would ask the sampler a second time.
    """

    @classmethod
    def adopt(
        cls,
        trial: optuna.trial.Trial,
        placeholders: Mapping[str, CategoricalChoiceType],
        *,
        traced: Collection[str] = (),
        varied: Collection[str] = (),
        curve: CurveWatch | None = None,
    ) -> PlaceholderTrial:
        """Put a trial under this class, anew for each call of the objective.

        Args:
            trial: From `study.ask`.
            placeholders: Dropped dimension to the constant that answers it.
            traced: Dimensions whose numbers know where they come from.
            varied: Dimensions that are answered with another legal value than the constant.
            curve: Decides whether it is pruned; None leaves that to the study's pruner.
        """
        self = cls.__new__(cls)
        self.__dict__ = trial.__dict__
        reported = set(self._cached_frozen_trial.intermediate_values)
        origins = {name: Origin(name) for name in traced}
        self.__dict__[_ANSWERS] = _Answers(dict(placeholders), origins, varied, reported, curve)
        return self

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        answers, stored = self._answers, as_stored(distribution)
        if name not in answers.placeholders:
            self._refuse_old(name, stored)
            answer = own_choice(super()._suggest(name, stored), stored, distribution)
            if stored is not distribution:
                answers.params[name], answers.distributions[name] = answer, distribution
            return answer
        answer = legal_answer(answers.placeholders[name], stored)
        if name in answers.varied:
            answer = another_answer(answer, stored)
        answer = own_choice(answer, stored, distribution)
        if name in answers.origins:
            answer = traced(answer, answers.origins[name])
        answers.params[name] = answer
        answers.distributions[name] = distribution
        return answer

    def answer(self, name: str, placeholder: CategoricalChoiceType, origin: Origin | None) -> None:
        """Answer one more dimension with a constant.

        Args:
            name: Of the dimension, which was not suggested yet.
            placeholder: The constant.
            origin: What its number knows of where it comes from; None for a plain number.
        """
        self._answers.placeholders[name] = placeholder
        if origin is not None:
            self._answers.origins[name] = origin

    def _refuse_old(self, name: str, distribution: BaseDistribution) -> None:
        """An old value that the space does not hold any more is drawn anew."""
        if name not in self._fixed_params or WARM_START not in self._cached_frozen_trial.user_attrs:
            return
        if not is_legal(distribution, self._fixed_params[name]):
            self._refused.append(f"{printable(name)}={self._fixed_params[name]!s:.20}")
            self._fixed_params = {key: v for key, v in self._fixed_params.items() if key != name}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """See `optuna.trial.Trial`, which makes a plain number of what `_suggest` returns."""
        if name not in self._answers.placeholders:
            return super().suggest_int(name, low, high, step=step, log=log)
        answer: int = self._suggest(name, IntDistribution(low, high, log=log, step=step))
        return answer

    def report(self, value: float, step: int) -> None:
        """See `optuna.trial.Trial`; what an earlier call of the objective has reported stays silently."""
        if step not in self._answers.reported:
            super().report(plain(value), step)

    def should_prune(self) -> bool:
        """See `optuna.trial.Trial`; `galatune.study.search.pruning` says when the pruner is heard."""
        curve = self._answers.curve
        if curve is None or len(self.study.directions) > 1:
            return super().should_prune()
        return curve.prunes(self.study, self.storage.get_trial(self._trial_id))

    def set_user_attr(self, key: str, value: Any) -> None:
        """See `optuna.trial.Trial`; a storage in memory would keep what it is given."""
        super().set_user_attr(key, plain(value))

    @property
    def _answers(self) -> _Answers:
        answers: _Answers = self.__dict__[_ANSWERS]
        return answers

    @property
    def answered(self) -> tuple[str, ...]:
        """Dropped dimensions that the objective has asked for."""
        return tuple(name for name in self._answers.params if name in self._answers.placeholders)

    @property
    def _refused(self) -> list[str]:
        refused: list[str] = self.__dict__.setdefault(_REFUSED, [])
        return refused

    @property
    def events(self) -> list[RateEvent]:
        """What is to be said of it in the record, over all calls of the objective."""
        if not self._refused:
            return []
        words = f"not in the search space any more, so drawn anew: {', '.join(self._refused)}"
        return [RateEvent(0, 0, "warm start", words)]

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Of the traced numbers that the objective has asked for."""
        answers = self._answers
        return tuple(origin for name, origin in answers.origins.items() if name in answers.params)

    @property
    def params(self) -> dict[str, Any]:
        """Sampled parameters and the answers given so far."""
        return {**super().params, **self._answers.params}

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions of `params`."""
        return {**super().distributions, **self._answers.distributions}


def legal_answer(placeholder: CategoricalChoiceType, distribution: BaseDistribution) -> Any:
    """The placeholder, or the legal value nearest to it if the distribution has changed since.

    Example:
        >>> from optuna.distributions import FloatDistribution
        >>> legal_answer(0.5, FloatDistribution(1e-4, 1e-1, log=True))
        0.1
    """
    if is_legal(distribution, placeholder):
        return placeholder
    return nearest(distribution, as_number(placeholder) or 0.0)


def another_answer(answer: Any, distribution: BaseDistribution) -> Any:
    """Another legal value that says the same thing differently: a number for a number, a list for a list.

    Returns:
        The same answer if there is none.

    Example:
        >>> from optuna.distributions import FloatDistribution
        >>> another_answer(0.01, CategoricalDistribution(["auto", 0.1, 0.01]))
        0.1
        >>> 1e-4 <= another_answer(0.01, FloatDistribution(1e-4, 1e-1, log=True)) <= 1e-1
        True
    """
    others: list[Any]
    if isinstance(distribution, CategoricalDistribution):
        number = as_number(answer) is not None
        others = [
            choice
            for choice in distribution.choices
            if type(choice) is type(answer) and (as_number(choice) is not None) == number
        ]
    else:
        low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
        shares = (0.382, 0.618, 0.0, 1.0)
        if distribution.log:  # type: ignore[attr-defined]
            others = [nearest(distribution, low * math.exp(share * math.log(high / low))) for share in shares]
        else:
            others = [nearest(distribution, low + share * (high - low)) for share in shares]
    return next((other for other in others if other != answer), answer)
