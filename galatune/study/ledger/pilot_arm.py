"""The place of a trial of the stage "pilot": in which pair, and which of its two arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = ["ARMS", "Arm", "PilotArm"]

Arm = Literal["controlled", "fixed"]

ARMS: tuple[Arm, ...] = get_args(Arm)


@dataclass(frozen=True)
class PilotArm:
    """One training of a pair.

    Attributes:
        pair: From 0. Both trainings of a pair have one configuration and one seed.
        arm: "controlled", or "fixed" at the rate of the old best.
        trial: Number of the old trial that has this configuration.
    """

    pair: int
    arm: Arm
    trial: int | None

    def to_attribute(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"pair": self.pair, "arm": self.arm, "trial": self.trial}

    @classmethod
    def from_attribute(cls, body: Any) -> PilotArm | None:
        """Read it back; None if there is none, or if it does not have the agreed shape."""
        if not isinstance(body, Mapping):
            return None
        pair, arm, trial = body.get("pair"), body.get("arm"), body.get("trial")
        if not isinstance(pair, int) or isinstance(pair, bool) or pair < 0 or arm not in ARMS:
            return None
        return cls(pair, arm, trial if isinstance(trial, int) else None)
