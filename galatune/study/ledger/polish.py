"""How a trial of the stage "polish" differs from the one whose configuration it has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from galatune.formatting import printable

__all__ = ["Polish"]


@dataclass(frozen=True)
class Polish:
    """A configuration once more, with another rate than its own.

    Attributes:
        trial: Number of the trial in the same study that found it.
        step_scale_factor: Multiplies the step scale of the controller.
        rates: Dropped dimension to the value that it is fixed at, without control; empty if it is controlled.
    """

    trial: int
    step_scale_factor: float = 1.0
    rates: Mapping[str, Any] = field(default_factory=dict)

    def to_attribute(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "trial": self.trial,
            "step_scale_factor": self.step_scale_factor,
            "rates": dict(self.rates),
        }

    @classmethod
    def from_attribute(cls, body: Any) -> Polish | None:
        """Read it back; None if there is none, or if it does not have the agreed shape."""
        if not isinstance(body, Mapping):
            return None
        trial, factor, rates = body.get("trial"), body.get("step_scale_factor"), body.get("rates")
        if (
            not isinstance(trial, int)
            or not isinstance(factor, int | float)
            or not isinstance(rates, Mapping)
        ):
            return None
        return cls(trial, float(factor), dict(rates)) if 0 < factor < math.inf else None

    @property
    def fixed(self) -> str | None:
        """The values that the rates are fixed at, in words; None if they are controlled."""
        return ", ".join(f"{printable(k)}={v!s:.20}" for k, v in self.rates.items()) or None

    def text(self) -> str:
        """What is different, in words.

        >>> Polish(7, 2.0).text(), Polish(7, rates={"lr": 0.01}).text()
        ('trial 7 with 2 times the step scale', 'trial 7 with lr=0.01 fixed')
        """
        if self.fixed is not None:
            return f"trial {self.trial} with {self.fixed} fixed"
        return f"trial {self.trial} with {self.step_scale_factor:g} times the step scale"
