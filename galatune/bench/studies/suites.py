"""Which objectives, settings, ways and seeds belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from galatune.bench.studies.objectives.objective import OBJECTIVES, SETTINGS
from galatune.bench.studies.objectives.shoppers import FOLDER, Shoppers
from galatune.bench.studies.testbed import Plan
from galatune.bench.studies.ways import CORE, WAYS, find_ways
from galatune.errors import GalatuneError
from galatune.formatting import printable

__all__ = ["HELD_OUT", "choose"]

FULL_SEEDS, QUICK_SEEDS = 5, 1

HELD_OUT = range(5, 10)
"""Seeds on which nothing is chosen: they are run once a method is frozen."""


def choose(
    suite: str,
    objectives: str | None,
    settings: str | None,
    ways: str | None,
    seeds: int | None,
    frozen: str | None,
) -> Plan:
    """What a command asks for.

    Args:
        suite: "quick" or "full".
        objectives: Comma-separated names; None for all whose data is there.
        settings: Comma-separated names; None for all.
        ways: Comma-separated names; None for those of the suite.
        seeds: Number of seeds; None for those of the suite.
        frozen: Commit at which the method was frozen; the seeds are then `HELD_OUT`.

    Raises:
        GalatuneError: A name is unknown, or a seed is held out.
    """
    count = seeds or (QUICK_SEEDS if suite == "quick" else FULL_SEEDS)
    if count > HELD_OUT.start:
        raise GalatuneError(
            f"--seeds takes at most {HELD_OUT.start}, however: {count}; seeds {HELD_OUT.start} to "
            f"{HELD_OUT.stop - 1} are for a method that is frozen, with --frozen COMMIT"
        )
    return Plan(
        _named("objectives", objectives, OBJECTIVES, _available()),
        _named("settings", settings, SETTINGS, SETTINGS),
        tuple(find_ways(ways, CORE if suite == "quick" else tuple(WAYS))),
        tuple(HELD_OUT[:count] if frozen else range(count)),
    )


def _available() -> list[str]:
    """Objectives whose data is there."""
    there = (FOLDER / "online_shoppers.parquet").is_file()
    return [name for name in OBJECTIVES if there or name != Shoppers.name]


def _named(
    option: str, names: str | None, known: Iterable[str], default: Sequence[str] | Iterable[str]
) -> tuple[str, ...]:
    if names is None:
        return tuple(default)
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise GalatuneError(
            f"--{option} knows no {printable(unknown[0])!r}; it takes {', '.join(known)}, separated by commas"
        )
    return tuple(name for name in known if name in wanted)
