"""Arguments and options that several commands share, each spelled and explained in one place."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from galatune.formatting import printable

__all__ = [
    "Duration",
    "File",
    "ReadFile",
    "arguments_argument",
    "control_option",
    "control_options",
    "drop_schedule_option",
    "given",
    "into_option",
    "json_option",
    "keep_option",
    "lr_option",
    "module_option",
    "name_option",
    "named",
    "objective_argument",
    "plan_option",
    "polish_option",
    "prior_option",
    "pruner_option",
    "repeats_option",
    "sampler_option",
    "seed_option",
    "storage_argument",
    "study_option",
    "tolerance_option",
    "warm_start_option",
    "workers_option",
    "yes_option",
]


EMPTY = "it is empty; give a value or leave the option out"
"""An empty shell variable is no name of anything."""
NULL = "it holds a null character; leave that out"


class Duration(click.FloatRange):
    """A number of seconds or hours: finite, and not negative."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse what is no duration."""
        duration: float = super().convert(value, param, ctx)
        if not math.isfinite(duration):
            self.fail(f"{printable(str(value))[:40]!r} is no duration; give a finite number.", param, ctx)
        return duration


def given(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty text and one that no system takes: the callback of places and names."""
    if value is not None and not value.strip():
        raise click.BadParameter(EMPTY)
    if value is not None and "\0" in value:
        raise click.BadParameter(NULL)
    return value


def named(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse a name that no study can have as well: bytes that are no text. A file may be called so."""
    if value is not None and any("\ud800" <= character <= "\udfff" for character in value):
        raise click.BadParameter(f"it is not written in UTF-8, however: {printable(value)!r}; name another")
    return given(ctx, param, value)


def named_each(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """`named`, for an option that may be repeated."""
    for value in values:
        named(ctx, param, value)
    return values


def share(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """A share of one, "0.01", or a percentage, "1%", as a number from 0 to below 1."""
    text = value.strip()
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise click.BadParameter(f"{value!r} is no share such as 0.01 or 1%, at least 0 and below 1")
    return number


class File(click.Path):
    """A file to be written."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.Path`, which takes an empty name for the working directory."""
        if not str(value).strip():
            self.fail(EMPTY, param, ctx)
        if "\0" in str(value):
            self.fail(NULL, param, ctx)
        if str(value) == "-":
            self.fail("'-' is no file; write /dev/stdout for the standard output", param, ctx)
        return super().convert(value, param, ctx)


class ReadFile(click.Path):
    """A file to be read."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.Path`, which takes an empty name for the working directory."""
        if not str(value).strip():
            self.fail(EMPTY, param, ctx)
        if "\0" in str(value):
            self.fail(NULL, param, ctx)
        return super().convert(value, param, ctx)


tolerance_option = click.option(
    "--tolerance",
    callback=share,
    metavar="SHARE",
    default="1%",
    show_default=True,
    help="Share of |median - best| of the old values that counts as no difference.",
)

storage_argument = click.argument("storage", metavar="STORAGE", callback=given)
"""An Optuna storage: URL, SQLite file or journal file."""

objective_argument = click.argument("objective", metavar="OBJECTIVE", required=False, callback=given)
"""``path/to/file.py:function``, ``package.module:function``, or a script."""

module_option = click.option(
    "-m",
    "module",
    metavar="MODULE",
    callback=given,
    help="Instead of OBJECTIVE: a module that calls study.optimize itself, run as python -m does.",
)

arguments_argument = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
"""A script's own arguments, behind ``--``."""

into_option = click.option(
    "--into",
    metavar="STORAGE2",
    callback=given,
    help="File or URL of the smaller study.  [default: <study>-gala.db]",
)

name_option = click.option(
    "--name", metavar="NAME2", callback=named, help="Name of the smaller study.  [default: <study>-gala]"
)

study_option = click.option(
    "--study", metavar="NAME", callback=named, help="Study in STORAGE; may be left out if it holds one."
)

control_option = click.option(
    "--control",
    type=click.Choice(["on", "off"]),
    help="With off the learning rate stays fixed at the old best's, and nothing is controlled.  [default: "
    "what galatune pilot chose, else on]",
)

warm_start_option = click.option(
    "--warm-start",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    help="Try the N best configurations of the old study first, without their rates; they are counted.",
)

polish_option = click.option(
    "--polish",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    help="At the end, run the N best configurations again with other rates: at most 3 N trials more.",
)

prior_option = click.option(
    "--prior/--no-prior",
    default=True,
    help="Whether control starts from what the old study knows of good rates.  [default: prior]",
)

sampler_option = click.option(
    "--sampler",
    type=click.Choice(["tpe", "random", "qmc", "gp", "cmaes", "nsgaii", "nsgaiii", "grid"]),
    help="Draws the configurations.  [default: grid if the old study had one, else tpe]",
)

pruner_option = click.option(
    "--pruner",
    type=click.Choice(["none", "median", "percentile", "successive-halving", "hyperband"]),
    help="Ends trials that report bad values.  [default: median if the old study has pruned trials, else "
    "none]",
)

repeats_option = click.option(
    "--repeats",
    type=click.IntRange(0, 50),
    metavar="N",
    default=3,
    show_default=True,
    help="First repeat the old best N times at its own rate, on top of the budget: the goal is their mean. 0 "
    "for its one value, which may be a lucky one.",
)

seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    show_default=True,
    help="Of the sampler and of each trial.",
)

workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    default=1,
    show_default=True,
    help="Processes on this machine that run the trials, each on a GPU of its own as far as there are "
    "enough; the budget stays the same.",
)

yes_option = click.option(
    "--yes", is_flag=True, help="Answer every question with yes, but keep what may be a rate."
)

plan_option = click.option(
    "--plan",
    "plan_file",
    type=ReadFile(),
    metavar="FILE",
    help="What galatune pilot --save wrote: what is dropped, and what the pilot chose.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")

lr_option = click.option(
    "--lr",
    multiple=True,
    callback=named_each,
    metavar="NAME",
    help="This parameter is a learning rate in any case. May be repeated.",
)

keep_option = click.option(
    "--keep",
    multiple=True,
    callback=named_each,
    metavar="NAME",
    help="This parameter stays in any case. May be repeated.",
)

drop_schedule_option = click.option(
    "--drop-schedule", is_flag=True, help="Drop schedules and multipliers of the learning rate as well."
)

_Command = TypeVar("_Command", bound=Callable[..., Any])

_CONTROL = (
    click.option(
        "--min-lr",
        type=float,
        metavar="RATE",
        default=0.0,
        help="Lower bound of the rate, before the schedule.",
    ),
    click.option(
        "--max-lr",
        type=float,
        metavar="RATE",
        help="Upper bound of the rate as applied.  [default: none; in reinforcement learning both bounds "
        "come from the old study's best quarter]",
    ),
    click.option(
        "--probe",
        type=click.Choice(["auto", "closure", "graph", "echo", "consecutive"]),
        default="auto",
        show_default=True,
        help="Source of the controller's gradient pairs.",
    ),
    click.option(
        "--step-scale",
        type=float,
        metavar="FACTOR",
        help="Multiplier on the estimated rate.  [default: chosen by optimizer and schedule]",
    ),
    click.option("--per-group", is_flag=True, help="A rate of its own for each parameter group."),
    click.option(
        "--max-growth",
        "max_growth_per_step",
        type=float,
        metavar="FACTOR",
        help="Maximum growth of the rate per step. A training of a hundred steps without a schedule may "
        "need 2.  [default: 1.05]",
    ),
)


def control_options(command: _Command) -> _Command:
    """How the learning rate is controlled: the options of `galatune.attach` that a command line can say."""
    for option in reversed(_CONTROL):
        command = option(command)
    return command
