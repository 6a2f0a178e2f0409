"""Warn the user at the line that called an estimator, however deep the code is that found out."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

INSIDE = ("galatune", "sklearn", "torch")
"""Packages whose lines a user cannot change."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line outside of galatune, scikit-learn and torch.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn("Nothing was learned.")
        >>> str(caught[0].message)
        'Nothing was learned.'
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
