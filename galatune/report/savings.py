"""`savings`: two studies in, a report of what the second one saved out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import optuna

from galatune.formatting import finite
from galatune.report.comparison import Comparison, compare
from galatune.report.text import Verdict, as_text, verdict
from galatune.study.ledger.rows import Ledger, ledger

__all__ = ["SavingsReport", "account", "savings"]


@dataclass(frozen=True)
class SavingsReport(Comparison):
    """What the smaller study saved, and how good its best value is; the numbers are those of `Comparison`.

    Attributes:
        verdict: The same in four sentences.
    """

    verdict: Verdict

    def text(self, width: int | None = None) -> str:
        """The four sentences and a table, as ``galatune report`` prints them.

        Args:
            width: Columns of the table; None for those of the terminal.
        """
        return as_text(self, self.verdict, width)

    def to_json(self) -> dict[str, Any]:
        """The keys of ``galatune report --json``; every number is finite or None."""
        body: dict[str, Any] = finite(asdict(self))
        return body


def savings(
    baseline: optuna.Study,
    shrunk: optuna.Study,
    *,
    tolerance: float = 0.01,
    price: float | None = None,
    currency: str | None = None,
) -> SavingsReport:
    """Account for what a smaller study saved.

    Args:
        baseline: The old study.
        shrunk: The study without the learning-rate dimensions.
        tolerance: Fraction of |median - best| of the old complete values that counts as no difference.
        price: Money per hour of training; needs `currency`.
        currency: Of the price.

    Returns:
        The report; ``.text()`` says it, ``.to_json()`` gives the keys of ``galatune report --json``.

    Raises:
        ReportError: The studies have different directions, or an option makes no sense.

    Examples:
        >>> from optuna.trial import create_trial
        >>> old, new = optuna.create_study(), optuna.create_study()
        >>> old.add_trials([create_trial(value=v) for v in (5.0, 3.0, 2.0, 1.0)])
        >>> new.add_trials([create_trial(value=v) for v in (2.0, 1.0)])
        >>> savings(old, new).saved.trials
        2
    """
    return account(ledger(baseline), ledger(shrunk), tolerance=tolerance, price=price, currency=currency)


def account(
    baseline: Ledger,
    shrunk: Ledger,
    *,
    tolerance: float = 0.01,
    price: float | None = None,
    currency: str | None = None,
) -> SavingsReport:
    """`savings` of ledgers that are already read."""
    found = compare(baseline, shrunk, tolerance=tolerance, price=price, currency=currency)
    return SavingsReport(
        directions=found.directions,
        baseline=found.baseline,
        shrunk=found.shrunk,
        to_match=found.to_match,
        saved=found.saved,
        total=found.total,
        random_order=found.random_order,
        quality=found.quality,
        verdict=verdict(found, shrunk),
    )
