"""What control remembers of each parameter group: one object in ``group["galatune"]``.

It travels with the optimizer through copies, pickles and ``state_dict()``, and becomes plain types there.
Nothing outside this file knows their keys.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from galatune.controller.rule.estimate import AlignmentMean
from galatune.controller.rule.learner import Learner
from galatune.controller.rule.loss_trend import LossTrend
from galatune.controller.rule.rate import RateState
from galatune.controller.torch_hooks.optimizer_step import LostHooks

__all__ = [
    "KEY",
    "SCHEMA",
    "ControlState",
    "GroupState",
    "OptimizerState",
    "Pending",
    "control_states",
    "lost_hooks",
]

KEY = "galatune"
"""Key of a parameter group under which its state travels."""

SCHEMA = 2
"""Version of the plain types; a state of another version is refused."""

Group = MutableMapping[str, Any]

lost_hooks = LostHooks(KEY)


@dataclass(frozen=True)
class GroupState:
    """Of one parameter group.

    Attributes:
        ratio: Its initial rate relative to the largest initial rate; 0 if it is not to move.
        initial: Its initial rate.
        peak: Largest rate that its schedule has set so far.
        applied: Rate of the last step.
        late: True if its ratio is that of its peak, because it was held still while others moved.
        moved: Which of its parameters were not frozen in a step so far, one bit each, in hexadecimal; None
            in a state from before this was kept.
    """

    ratio: float
    initial: float
    peak: float = 0.0
    applied: float = 0.0
    late: bool = False
    moved: str | None = None


@dataclass(frozen=True)
class OptimizerState:
    """Of the whole optimizer; the first group holds it.

    Attributes:
        step: Steps taken under control.
        probes: Gradient pairs measured.
        last_probe: Number of steps before the last one that was probed.
        gradient_evaluations: Gradients computed, the loop's own (one per step) and those of probes.
        decays: Whether a schedule lowers the rate; None until the first step.
        probe: Name of the probe in use.
        probe_owed: True if a probe was due and could not be prepared, so that the next step makes up for it.
        losses: Of every step.
    """

    step: int = 0
    probes: int = 0
    last_probe: int = 0
    gradient_evaluations: int = 0
    decays: bool | None = None
    probe: str = ""
    probe_owed: bool = False
    losses: LossTrend = field(default_factory=LossTrend)


class Pending(dict[str, Any]):
    """What the probe keeps between a step and its probe: lists of tensors, and plain types."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"  # tensors would fill pages when an optimizer is printed


@dataclass
class ControlState:
    """All that control remembers of one parameter group.

    Copying it gives plain types, and so does unpickling it: a copied optimizer has lost its hooks and is not
    under control. `attach` turns them into a state again.

    Attributes:
        group: Of this group; None until its first step.
        rate: Of the rate; in the first of the groups that share one.
        optimizer: Of the optimizer; in its first group.
        pending: What the probe keeps; likewise.
    """

    group: GroupState | None = None
    rate: RateState = field(default_factory=RateState)
    optimizer: OptimizerState = field(default_factory=OptimizerState)
    pending: Pending = field(default_factory=Pending)

    def plain(self) -> dict[str, Any]:
        """As dicts, lists, tensors, numbers and strings.

        They load under ``torch.load(weights_only=True)``.
        """
        return {
            "schema": SCHEMA,
            "group": None if self.group is None else dataclasses.asdict(self.group),
            "rate": dataclasses.asdict(self.rate),
            "optimizer": dataclasses.asdict(self.optimizer),
            "pending": {
                name: list(part) if isinstance(part, list) else part for name, part in self.pending.items()
            },
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any], learner: Learner) -> ControlState:
        """From `plain`; a learner's state that another kind of learner wrote is left out."""
        group, rate = plain["group"], dict(plain["rate"])
        rate["learner"] = _learner_state(rate["learner"], learner)
        rate["alignment_mean"] = AlignmentMean(**rate["alignment_mean"])
        for name in ("curvatures", "sharpness", "losses"):
            rate[name] = tuple(rate[name])
        optimizer = dict(plain["optimizer"])
        losses = optimizer.pop("losses", {})  # older ones have none
        optimizer["losses"] = LossTrend(**{**losses, "recent": tuple(losses.get("recent", ()))})
        return cls(
            group=None if group is None else GroupState(**group),
            rate=RateState(**rate),
            optimizer=OptimizerState(**optimizer),
            pending=Pending(plain["pending"]),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        copied: dict[str, Any] = copy.deepcopy(self.plain(), memo)
        return state_of_a_copy(copied)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return state_of_a_copy, (self.plain(),)


def state_of_a_copy(plain: dict[str, Any]) -> dict[str, Any]:
    """The plain state of a copied or unpickled optimizer, whose step will warn that it is not controlled."""
    lost_hooks.use()
    return plain


def control_states(groups: Sequence[Group]) -> list[ControlState]:
    """The state of each group; an empty one for a group that has none yet."""
    return [group.setdefault(KEY, ControlState()) for group in groups]


def _learner_state(plain: Mapping[str, float] | None, learner: Learner) -> Any:
    fresh = learner.init()
    names = {one.name for one in dataclasses.fields(fresh)}
    return type(fresh)(**plain) if plain is not None and set(plain) == names else None
