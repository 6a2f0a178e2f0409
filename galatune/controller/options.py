"""Everything a user may set, written and checked once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from galatune.controller.events import Event
from galatune.controller.probes import PROBES
from galatune.controller.probes.base import Probe
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.probes.select import AUTO
from galatune.controller.rule.guard import Guard
from galatune.controller.rule.learner import DiscountedFTRL, Learner
from galatune.controller.rule.prior import Prior
from galatune.controller.rule.rate import Rule
from galatune.errors import ControlError

__all__ = ["ALIGNMENTS", "ControlOptions", "Options"]

ALIGNMENTS = ("auto", "previous_update", "same_minibatch")
"""What the gradient of a minibatch is compared with."""


@dataclass(frozen=True)
class Options:
    """How a learning rate is controlled; `attach` documents each.

    Raises:
        ControlError: An option is out of range.
    """

    probe: str | Probe = AUTO
    probe_schedule: ProbeSchedule | None = None
    step_scale: float | None = None
    step_scale_factor: float = 1.0
    min_lr: float = 0.0
    max_lr: float = math.inf
    per_group: bool = False
    learner: Learner | None = None
    guard: Guard | None = None
    alignment: str = "auto"
    prior: Prior | None = None
    on_event: Callable[[Event], None] | None = None

    def __post_init__(self) -> None:
        self._check_probe()
        if not (self.probe_schedule is None or isinstance(self.probe_schedule, ProbeSchedule)):
            raise ControlError(f"probe_schedule is a ProbeSchedule or None, however: {self.probe_schedule=}")
        if not (self.prior is None or isinstance(self.prior, Prior)):
            raise ControlError(f"prior is a Prior or None, however: prior={self.prior!r}")
        if not (self.guard is None or isinstance(self.guard, Guard)):
            raise ControlError(f"guard is a Guard or None, however: guard={self.guard!r}")
        if self.learner is not None:
            _check_learner(self.learner)
        if self.step_scale is not None and not 0 < self.step_scale < math.inf:
            raise ControlError(
                f"step_scale must be positive and finite, however: step_scale={self.step_scale:g}"
            )
        if not 0 < self.step_scale_factor < math.inf:
            raise ControlError(
                "step_scale_factor must be positive and finite, however: "
                f"step_scale_factor={self.step_scale_factor:g}"
            )
        if not 0 <= self.min_lr <= self.max_lr or not self.max_lr:
            raise ControlError(
                "0 <= min_lr <= max_lr and max_lr > 0 must hold, however: "
                f"min_lr={self.min_lr:g}, max_lr={self.max_lr:g}"
            )

    def _check_probe(self) -> None:
        named = isinstance(self.probe, str)
        if named and self.probe not in (AUTO, *PROBES):
            raise ControlError(f"unknown probe {self.probe!r}; use one of {', '.join([AUTO, *PROBES])}")
        wanted: Any = PROBES.get(self.probe) if isinstance(self.probe, str) else self.probe
        missing = [f"has no {one!r}" for one in _PROTOCOL if not (named or hasattr(wanted, one))]
        if isinstance(wanted, type) and not named:
            missing = [f"is a class; make an object of it: {wanted.__name__}()"]
        if missing:
            raise ControlError(
                "a probe is a name or an object of a class derived from galatune.controller.Probe, however: "
                f"probe={self.probe!r}, which {missing[0]}"
            )
        if self.alignment not in ALIGNMENTS:
            raise ControlError(
                f"alignment is one of {', '.join(ALIGNMENTS)}, however: alignment={self.alignment!r}"
            )
        if self.alignment == "previous_update" and getattr(wanted, "uses_loop_gradients", False):
            raise ControlError(
                "alignment='previous_update' needs a minibatch that had no part in that update, which "
                f"probe={self.probe!r} does not have; use probe='closure' or 'graph'"
            )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Options from keyword arguments.

        Raises:
            ControlError: One of them is none.
        """
        names = [one.name for one in fields(cls)]
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ControlError(f"unknown option {unknown[0]!r}; use one of {', '.join(names)}")
        return cls(**given)

    @property
    def schedule(self) -> ProbeSchedule:
        """Which steps are probed; fewer if a prior says most of the level."""
        if self.probe_schedule is not None:
            return self.probe_schedule
        return WITH_PRIOR if self.prior is not None and self.prior.saves_probes else ProbeSchedule()

    @property
    def rule(self) -> Rule:
        """The learner and the guard, the default ones if none were given."""
        return Rule(self.learner or DiscountedFTRL(), self.guard or Guard())

    @property
    def compares_update(self) -> bool:
        """True if gradients are compared with the previous update, unless they had a part in it."""
        automatic = self.alignment == "auto" and isinstance(self.learner or DiscountedFTRL(), DiscountedFTRL)
        return automatic or self.alignment == "previous_update"


class ControlOptions(TypedDict, total=False):
    """The fields of `Options` as keyword arguments, for functions that hand them on."""

    probe: str | Probe
    probe_schedule: ProbeSchedule | None
    step_scale: float | None
    step_scale_factor: float
    min_lr: float
    max_lr: float
    per_group: bool
    learner: Learner | None
    guard: Guard | None
    alignment: str
    prior: Prior | None
    on_event: Callable[[Event], None] | None


WITH_PRIOR = ProbeSchedule(every=24, first=4, thinning=0.24)
"""10 probes in 128 steps, 15 in 500."""

_PROTOCOL = tuple(
    name
    for name in vars(Probe)
    if not name.startswith("_") and name not in ("pair_with", "turn_into_step", "hold_weakly")
)


def _check_learner(learner: Learner) -> None:
    if not all(callable(getattr(learner, name, None)) for name in ("init", "update", "rate")):
        raise ControlError(f"a learner has init, update and rate, however: learner={learner!r}")
    state = learner.init()
    if not dataclasses.is_dataclass(state):
        raise ControlError(
            "the state of a learner is a frozen dataclass of floats, however: "
            f"{type(learner).__name__}.init() is {state!r}"
        )
