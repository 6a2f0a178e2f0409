"""The options of `attach` and `controlled`, checked in one place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from galatune.controller.probes import PROBES
from galatune.controller.probes.base import Probe
from galatune.controller.probes.schedule import Rhythm
from galatune.controller.rule.guard import Event, Guard
from galatune.controller.rule.rate import DiscountedFTRL, Learner
from galatune.errors import ControlError

__all__ = ["ALIGNMENTS", "Options"]

ALIGNMENTS = ("auto", "minibatch", "travelled")
"""What the gradient is compared with: itself after the step, or the direction of the step."""


@dataclass(frozen=True)
class Options:
    """How a learning rate is controlled; `attach` documents each.

    Raises:
        ControlError: An option is out of range.
    """

    probe: str | Probe = "auto"
    probe_every: int = 1
    probe_first: int = 10
    probe_thinning: float = 0.1
    step_scale: float | None = None
    min_lr: float = 0.0
    max_lr: float = math.inf
    per_group: bool = False
    learner: Learner | None = None
    guard: Guard | None = None
    on_event: Callable[[Event], None] | None = None
    alignment: str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.probe, str) and self.probe not in ("auto", *PROBES):
            raise ControlError(f"unknown probe {self.probe!r}; use one of {', '.join(['auto', *PROBES])}")
        if not isinstance(self.probe, str) and not callable(getattr(self.probe, "remember", None)):
            raise ControlError(f"a probe is a name or a Probe object, however: probe={self.probe!r}")
        if self.alignment not in ALIGNMENTS:
            raise ControlError(
                f"alignment is one of {', '.join(ALIGNMENTS)}, however: alignment={self.alignment!r}"
            )
        if self.alignment == "travelled" and self.probe in ("echo", "consecutive"):
            raise ControlError(
                f"alignment='travelled' needs a minibatch that did not choose the step, which "
                f"probe={self.probe!r} has not; use probe='closure' or 'graph'"
            )
        if self.probe_every < 1 or self.probe_first < 0:
            raise ControlError(
                "probe_every must be at least 1 and probe_first at least 0, however: "
                f"probe_every={self.probe_every}, probe_first={self.probe_first}"
            )
        if not (self.guard is None or isinstance(self.guard, Guard)):
            raise ControlError(f"guard is a Guard or None, however: guard={self.guard!r}")
        if not 0 <= self.probe_thinning < 1:
            raise ControlError(
                "probe_thinning is a share of the steps taken, from 0 to below 1, however: "
                f"probe_thinning={self.probe_thinning:g}"
            )
        if self.step_scale is not None and not 0 < self.step_scale < math.inf:
            raise ControlError(
                f"step_scale must be positive and finite, however: step_scale={self.step_scale:g}"
            )
        if not 0 <= self.min_lr <= self.max_lr or not self.max_lr:
            raise ControlError(
                "0 <= min_lr <= max_lr and max_lr > 0 must hold, however: "
                f"min_lr={self.min_lr:g}, max_lr={self.max_lr:g}"
            )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Options from keyword arguments.

        Raises:
            ControlError: One of them is none.
        """
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ControlError(f"unknown option {unknown[0]!r}; use one of {', '.join(names)}")
        return cls(**given)

    @property
    def rhythm(self) -> Rhythm:
        """Which steps are probed."""
        return Rhythm(self.probe_first, self.probe_every, self.probe_thinning)

    @property
    def chosen_learner(self) -> Learner:
        """The learner, the default one where none was given."""
        return self.learner or DiscountedFTRL()

    def goes_by_the_way(self, *, fresh: bool) -> bool:
        """Whether a gradient is compared with the direction travelled.

        Args:
            fresh: Whether the probed minibatch had no part in that direction, or can be taken out of it.
        """
        recipe = self.alignment == "auto" and isinstance(self.chosen_learner, DiscountedFTRL)
        return fresh and (recipe or self.alignment == "travelled")

    @property
    def chosen_guard(self) -> Guard:
        """The guard, the default one where none was given."""
        return self.guard or Guard()
