"""What all names of a study begin or end with: ``hp_``, ``params.``. It says nothing about one of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from galatune.study.scan import vocabulary as words_for
from galatune.study.scan.vocabulary import find, tokens

__all__ = ["without_shared_affixes"]

_SEPARATOR = re.compile(r"([\W_]+)")
_TELLING = frozenset({"pid"}).union(
    words_for.RATE,
    words_for.SCHEDULE,
    words_for.EXPONENT,
    words_for.NEGATED,
    words_for.PLACES,
    words_for.MODELS,
    words_for.LOGISTIC,
    words_for.BOOSTERS,
    words_for.SHORT_BOOSTERS,
    words_for.WEIGHTS,
    words_for.BY_HAND,
    words_for.OTHER_FRAMEWORKS,
    words_for.NETWORK,
    words_for.REINFORCEMENT,
    words_for.PARTS - {"model", "classifier"},  # of pipelines too: model__alpha
)
"""Words that say something although every name has them."""


def without_shared_affixes(names: Collection[str]) -> dict[str, str]:
    """Each name with what is left of it.

    >>> without_shared_affixes(["hp_lr", "hp_dropout"])
    {'hp_lr': 'lr', 'hp_dropout': 'dropout'}
    >>> without_shared_affixes(["xgb_lr", "xgb_gamma"])
    {'xgb_lr': 'xgb_lr', 'xgb_gamma': 'xgb_gamma'}
    """
    if len(names) < 2:
        return {name: name for name in names}
    pieces = [_SEPARATOR.split(name) for name in names]
    start = _shared(pieces)
    end = _shared([parts[:start:-1] for parts in pieces])
    return {name: "".join(parts[start : len(parts) - end]) for name, parts in zip(names, pieces, strict=True)}


def _shared(pieces: Sequence[Sequence[str]]) -> int:
    """How many pieces all names begin with, up to one that says something; each keeps one at least."""
    columns = list(zip(*(parts[:-1] for parts in pieces), strict=False))
    for count, column in enumerate(columns):
        if len(set(column)) > 1 or find(tokens(column[0]), _TELLING):
            return count
    return len(columns)
