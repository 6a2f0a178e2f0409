"""The methods in one table: each fits the training rows of a split and predicts its test rows.

Every peer has the defaults of its authors and the preparation that its documentation asks for, nothing tuned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from galatune.bench.tables import fixed_rates, peers, pytabkit_nets
from galatune.bench.tables.fixed_rates import RATES, rate_name
from galatune.bench.tables.scores import SCORES, Score
from galatune.errors import GalatuneError
from galatune.formatting import listed

__all__ = ["BY_VALIDATION", "FIXED_RATES", "GROUPS", "METHODS", "ORACLE", "OURS", "Method", "find_methods"]

OURS = "ours"
FIXED_RATES = "fixed-rates"
BY_VALIDATION, ORACLE = "fixed-by-validation", "fixed-oracle"
"""What comparisons make of the seven fits at fixed rates: the rate chosen on rows held out of the training
rows of each split, and the rate chosen on its test rows."""

ALL = tuple(SCORES)


@dataclass(frozen=True)
class Method:
    """A way to learn a table.

    Attributes:
        name: What the command line calls it.
        label: Heading of its column.
        build: (whether classes are predicted, seed) to an estimator with the interface of scikit-learn.
        packages: Distributions that decide its results; it is left out unless all are installed.
        sources: Files and folders below ``galatune/`` that do.
        judged: Scores that it aims at.
        classifies_only: Whether it is left out of regressions.
        most_splits: Splits after which it is left out, because it is dear; None for no limit.
    """

    name: str
    label: str
    build: Callable[[bool, int], Any]
    packages: tuple[str, ...]
    sources: tuple[str, ...]
    judged: tuple[Score, ...] = ALL
    classifies_only: bool = False
    most_splits: int | None = None

    @property
    def missing(self) -> list[str]:
        """Distributions that are not installed."""
        return [package for package in self.packages if not _installed(package)]


OWN = ("torch", "numpy", "pandas", "scikit-learn")
PREPARED = ("numpy", "pandas", "scikit-learn")
PYTABKIT = ("pytabkit", "torch", *PREPARED)

METHODS = {
    method.name: method
    for method in (
        Method(OURS, "ours", fixed_rates.controlled, OWN, ("tabular", "controller")),
        Method(
            "hist-gradient-boosting", "HistGB", peers.hist_gradient_boosting, PREPARED,
            ("bench/tables/peers.py",),
        ),
        Method(
            "xgboost", "XGBoost", peers.xgboost, ("xgboost", *PREPARED), ("bench/tables/peers.py",),
        ),
        Method("sklearn-mlp", "sklearn MLP", peers.sklearn_mlp, PREPARED, ("bench/tables/peers.py",)),
        *(
            Method(
                rate_name(rate), f"rate {rate:g}", partial(fixed_rates.fixed, rate), OWN,
                ("tabular", "bench/tables/fixed_rates.py", "bench/tables/fixed_rate_models.py"),
            )
            for rate in RATES
        ),
        Method(
            "realmlp", "RealMLP", pytabkit_nets.realmlp, PYTABKIT, ("bench/tables/pytabkit_nets.py",),
            judged=("rmse", "error"),
        ),
        Method(
            "realmlp-log-loss", "RealMLP log loss", pytabkit_nets.realmlp_log_loss, PYTABKIT,
            ("bench/tables/pytabkit_nets.py",), judged=("log_loss", "auc_loss"), classifies_only=True,
        ),
        Method(
            "tabm", "TabM", pytabkit_nets.tabm, PYTABKIT, ("bench/tables/pytabkit_nets.py",),
            judged=("rmse", "error"), most_splits=2,
        ),
    )
}  # fmt: skip
"""Every method, by name."""

GROUPS = {FIXED_RATES: tuple(map(rate_name, RATES))}
"""Names that stand for several methods."""


def find_methods(names: str | None) -> tuple[list[Method], dict[str, list[str]]]:
    """Methods by a comma-separated list of names, and what those that cannot run lack.

    Args:
        names: None for all; ours is always among them.

    Raises:
        GalatuneError: A named method is unknown or not installed, or the list is empty.
    """
    if names is None:
        lacking = {name: method.missing for name, method in METHODS.items() if method.missing}
        return [method for name, method in METHODS.items() if name not in lacking], lacking
    typed = [name.strip() for name in names.split(",") if name.strip()]
    known = listed([*(name for name in METHODS if name not in GROUPS[FIXED_RATES]), FIXED_RATES])
    if not typed:
        raise GalatuneError(f"no method is named in {names!r}; use {known}")
    wanted = {OURS}
    for name in typed:
        if name not in METHODS and name not in GROUPS:
            raise GalatuneError(f"no method {name!r}; use {known}")
        wanted.update(GROUPS.get(name, (name,)))
    for name in wanted:
        if missing := METHODS[name].missing:
            raise GalatuneError(
                f"method {name} needs {listed(missing)}; install it with pip install 'galatune[bench-tables]'"
            )
    return [method for name, method in METHODS.items() if name in wanted], {}


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
