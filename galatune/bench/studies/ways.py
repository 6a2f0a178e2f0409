"""The ways of searching that are compared, as data: what each knows, what sets its rate, what prunes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from galatune.errors import GalatuneError
from galatune.formatting import printable

__all__ = ["CORE", "NULL", "WAYS", "Way", "find_ways"]

Rate = Literal["searched", "old best", "1e-3", "narrowed", "controlled"]
Pruner = Literal["as before", "median", "hyperband"]


@dataclass(frozen=True)
class Way:
    """One way of searching a space that an old study has searched before.

    Attributes:
        name: On the command line.
        title: In tables.
        rate: What decides the learning rate of a training: it is searched like every parameter, fixed at that
            of the old best trial or at 1e-3, searched in the range of the old best quarter of trials, or
            controlled by galatune.
        pruner: "as before" for that of the old study, which may be none.
        warm: Whether the search begins with the three best old configurations (with their rates, if the rate
            is searched).
        prior: Whether control starts from the good rates that the old study knows.
        searches: Whether there is a search at all; without one the old best configuration is taken as it is.
        pilot: Whether a pilot comes first, whose choice says which of the other ways the search goes on in.
    """

    name: str
    title: str
    rate: Rate = "searched"
    pruner: Pruner = "as before"
    warm: bool = False
    prior: bool = False
    searches: bool = True
    pilot: bool = field(default=False, repr=False)  # the repr is part of each result's key

    @property
    def knows(self) -> bool:
        """Whether it needs the old study, whose cost then counts in the ledger of old and new together.

        Control from nothing takes from the old study only which parameters exist.
        """
        return self.warm or self.prior or not self.searches or self.rate in ("old best", "narrowed")


NULL = Way("null", "the old search again, from nothing")

WAYS = {
    way.name: way
    for way in (
        NULL,
        Way("no-search", "no search: the old best at its rate", searches=False),
        Way("fixed", "rate fixed at the old best", rate="old best"),
        Way("hyperband", "Hyperband, from nothing", pruner="hyperband"),
        Way("galatune", "galatune, cold", rate="controlled"),
        Way("galatune-prior", "galatune, good rates known", rate="controlled", prior=True),
        Way("galatune-pilot", "galatune, a pilot chooses", rate="controlled", prior=True, pilot=True),
        Way("transfer", "rate searched, three old best first", warm=True),
        Way("galatune-warm", "galatune, three old best first", rate="controlled", warm=True),
        Way(
            "galatune-prior-warm",
            "galatune, good rates known, three old best first",
            rate="controlled",
            prior=True,
            warm=True,
        ),
        Way(
            "galatune-hyperband",
            "galatune, good rates known, with Hyperband",
            rate="controlled",
            prior=True,
            pruner="hyperband",
        ),
        Way(
            "galatune-prior-median",
            "galatune, good rates known, with the median pruner",
            rate="controlled",
            prior=True,
            pruner="median",
        ),
        Way(
            "galatune-prior-median-warm",
            "galatune, good rates known, with the median pruner, three old best first",
            rate="controlled",
            prior=True,
            warm=True,
            pruner="median",
        ),
        Way("hyperband-warm", "Hyperband, three old best first", pruner="hyperband", warm=True),
        Way("fixed-warm", "rate fixed, three old best first", rate="old best", warm=True),
        Way("narrowed", "rate within the old best quarter", rate="narrowed"),
        Way("fixed-1e-3", "rate fixed at 1e-3", rate="1e-3"),
        Way("galatune-median", "galatune with the median pruner, cold", rate="controlled", pruner="median"),
        Way("median", "median pruner, from nothing", pruner="median"),
        Way("median-warm", "median pruner, three old best first", pruner="median", warm=True),
    )
}
"""By name, in the order in which they are run and shown."""

CORE = ("null", "no-search", "fixed", "hyperband", "galatune")
"""What the named comparisons need, and the quick form runs."""


def find_ways(names: str | None, default: tuple[str, ...] = tuple(WAYS)) -> list[Way]:
    """The ways of a comma-separated list, and always the null, which the others are compared with.

    Raises:
        GalatuneError: A name is unknown.

    Example:
        >>> [way.name for way in find_ways("galatune,fixed")]
        ['null', 'fixed', 'galatune']
    """
    wanted = default if names is None else [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in WAYS]
    if unknown:
        raise GalatuneError(
            f"there is no way {printable(unknown[0])!r}; --ways takes {', '.join(WAYS)}, separated by commas"
        )
    return [way for name, way in WAYS.items() if name in wanted or way is NULL]
