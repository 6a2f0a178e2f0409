"""galatune takes the learning rate out of an Optuna study.

Verbs and estimators live here and load on first use, so that ``import galatune`` stays cheap; types
stay in their folders.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galatune.controller import Guard as Guard
    from galatune.controller import Prior as Prior
    from galatune.controller import attach as attach
    from galatune.controller import controlled as controlled
    from galatune.errors import GalatuneError as GalatuneError
    from galatune.report.savings import savings as savings
    from galatune.study.scan.scan import scan as scan
    from galatune.study.search.fixed_trial import fixed_trial as fixed_trial
    from galatune.study.search.run import run as run
    from galatune.tabular import GalaClassifier as GalaClassifier
    from galatune.tabular import GalaRegressor as GalaRegressor

__version__ = "0.1.0"

_HOME = {
    "GalaClassifier": "galatune.tabular",
    "GalaRegressor": "galatune.tabular",
    "GalatuneError": "galatune.errors",
    "Guard": "galatune.controller",
    "Prior": "galatune.controller",
    "attach": "galatune.controller",
    "controlled": "galatune.controller",
    "fixed_trial": "galatune.study.search.fixed_trial",
    "run": "galatune.study.search.run",
    "savings": "galatune.report.savings",
    "scan": "galatune.study.scan.scan",
}

__all__ = [
    "GalaClassifier",
    "GalaRegressor",
    "GalatuneError",
    "Guard",
    "Prior",
    "attach",
    "controlled",
    "fixed_trial",
    "run",
    "savings",
    "scan",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'galatune' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
