"""The learning-rate controller. It knows torch, and nothing of Optuna."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galatune.controller.controlled import attach as attach
    from galatune.controller.controlled import controlled as controlled
    from galatune.controller.controller import Controller as Controller
    from galatune.controller.events import Event as Event
    from galatune.controller.gradient_pair import GradientPair as GradientPair
    from galatune.controller.history import ProbeRecord as ProbeRecord
    from galatune.controller.learners import FTRL as FTRL
    from galatune.controller.learners import CoinBetting as CoinBetting
    from galatune.controller.learners import DiscountedFTRL as DiscountedFTRL
    from galatune.controller.learners import OnlineGradientDescent as OnlineGradientDescent
    from galatune.controller.learners import OptimisticFTRL as OptimisticFTRL
    from galatune.controller.optimizers import OptimizerMetric as OptimizerMetric
    from galatune.controller.optimizers import register_optimizer as register_optimizer
    from galatune.controller.optimizers import register_self_tuning as register_self_tuning
    from galatune.controller.probes import ClosureProbe as ClosureProbe
    from galatune.controller.probes import ConsecutiveProbe as ConsecutiveProbe
    from galatune.controller.probes import EchoProbe as EchoProbe
    from galatune.controller.probes import GraphProbe as GraphProbe
    from galatune.controller.probes import Probe as Probe
    from galatune.controller.probes.base import StepScales as StepScales
    from galatune.controller.probes.schedule import ProbeSchedule as ProbeSchedule
    from galatune.controller.rule.guard import Guard as Guard
    from galatune.controller.rule.prior import Prior as Prior

_HOMES = {
    "attach": "controlled",
    "controlled": "controlled",
    "Controller": "controller",
    "Event": "events",
    "GradientPair": "gradient_pair",
    "ProbeRecord": "history",
    "CoinBetting": "learners",
    "DiscountedFTRL": "learners",
    "FTRL": "learners",
    "OnlineGradientDescent": "learners",
    "OptimisticFTRL": "learners",
    "OptimizerMetric": "optimizers",
    "register_optimizer": "optimizers",
    "register_self_tuning": "optimizers",
    "ClosureProbe": "probes",
    "ConsecutiveProbe": "probes",
    "EchoProbe": "probes",
    "GraphProbe": "probes",
    "Probe": "probes",
    "StepScales": "probes.base",
    "ProbeSchedule": "probes.schedule",
    "Guard": "rule.guard",
    "Prior": "rule.prior",
}

__all__ = list(_HOMES)


class _Package(types.ModuleType):
    """Keeps the function `controlled`, in whose place the import system would put the module of that name."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_HOMES})


sys.modules[__name__].__class__ = _Package
