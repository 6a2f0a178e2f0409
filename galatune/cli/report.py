"""`galatune report`: what the smaller study cost and what it saved."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galatune.cli.loading import load
from galatune.cli.options import (
    File,
    given,
    into_option,
    json_option,
    name_option,
    named,
    storage_argument,
    study_option,
    tolerance_option,
)
from galatune.formatting import printable

if TYPE_CHECKING:
    from galatune.report.pair import Pair
    from galatune.report.savings import SavingsReport
    from galatune.report.sinks import Sink

__all__ = ["report"]

NEEDED = ("galatune.report.pair", "galatune.report.savings", "rich.table")
DRAWING = ("galatune.report.page", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.figure")


class _WithSinks(click.Command):
    """A command whose ``--sink-to`` also takes the names that the chosen sink gives to it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look which sink is named, then parse with its names for the destination."""
        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        name = parser.parse_args(list(args))[0].get("sink")
        if name and name.strip():
            load("galatune.report.sinks")
            from galatune.report.sinks import find_sink

            ctx.obj = find_sink(name)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return all parameters, ``--sink-to`` with the sink's own names."""
        params = super().get_params(ctx)
        if ctx.obj is None:
            return params
        from galatune.report.sinks import destination_options

        place = next(i for i, param in enumerate(params) if param.name == "sink_to")
        params[place] = copy.copy(params[place])
        params[place].opts = [*params[place].opts, *destination_options(ctx.obj)]
        return params


@click.command(cls=_WithSinks)
@storage_argument
@study_option
@into_option
@name_option
@click.option("--html", type=File(), help="Write the report as one HTML page.")
@click.option("--csv", type=File(), help="Write every trial of both studies, one row per trial.")
@click.option("--price", type=click.FloatRange(min=0), help="Money per hour of training; needs --currency.")
@click.option("--currency", callback=named, metavar="TEXT", help="Currency of the price, such as EUR.")
@tolerance_option
@json_option
@click.option(
    "--sink", callback=given, metavar="NAME", help="Also send the report there; an unknown name lists them."
)
@click.option(
    "--sink-to",
    callback=given,
    metavar="DESTINATION",
    help="Where the sink sends it, if not to its default place.",
)
@click.pass_obj
def report(
    target: Sink | None,
    storage: str,
    study: str | None,
    into: str | None,
    name: str | None,
    html: Path | None,
    csv: Path | None,
    price: float | None,
    currency: str | None,
    tolerance: float,
    as_json: bool,
    sink: str | None,
    sink_to: str | None,
) -> None:
    """Account for what the smaller study saved.

    STORAGE holds the old study; the smaller one is looked for where galatune run puts it. Both are only
    read.

    \b
    galatune report study.db
    galatune report study.db --html report.html --price 2.50 --currency EUR
    galatune report study.db --sink NAME --sink-to DESTINATION
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    if (price is None) != (currency is None):
        raise click.UsageError("--price and --currency go together")
    if sink_to is not None and sink is None:
        raise click.UsageError("--sink-to needs --sink")
    load(*NEEDED, *(DRAWING if html or target else ()), *(("pandas",) if csv else ()))
    from galatune.report.savings import account

    pair = _read(html, csv, storage, study, into, name)
    result = account(pair.baseline, pair.shrunk, tolerance=tolerance, price=price, currency=currency)
    document = _page(result, pair) if html or target else ""
    _write({html: document if html else None, csv: pair.csv() if csv else None})
    click.echo(json.dumps(result.to_json(), indent=2, allow_nan=False) if as_json else result.text())
    if target is not None:
        from galatune.report.sinks import Delivery

        click.echo(target.send(Delivery(result, pair.baseline, pair.shrunk, document), sink_to), err=True)


def _read(
    html: Path | None, csv: Path | None, storage: str, study: str | None, into: str | None, name: str | None
) -> Pair:
    """Read both studies, once it is clear that no file to be written is one of them."""
    from galatune.report.pair import read_pair
    from galatune.study.storage.writing import default_target

    _check_files(html, csv, storage, into)
    pair = read_pair(storage, study, into, name)
    for note in pair.notes:
        click.echo(f"note: {note}", err=True)
    # The default place of the smaller study is known only now.
    _check_files(html, csv, storage, into or default_target(pair.baseline.study)[0])
    return pair


def _check_files(html: Path | None, csv: Path | None, *storages: str | None) -> None:
    """Refuse to write over a study, or twice into the same file."""
    from galatune.errors import ReportError
    from galatune.study.storage.writing import refuse_storage, same_place

    for path in (html, csv):
        if path is not None:
            refuse_storage(path, *(storage for storage in storages if storage is not None))
    if html is not None and csv is not None and same_place(str(html), str(csv)):
        raise ReportError(f"--html and --csv name the same file {str(html)!r}; name two")


def _page(result: SavingsReport, pair: Pair) -> str:
    from galatune.report.page import page

    return page(result, pair.baseline, pair.shrunk)


def _write(contents: Mapping[Path | None, str | None]) -> None:
    """Write what was asked for."""
    from galatune.files import write_files

    files = {path: text for path, text in contents.items() if path is not None and text is not None}
    write_files(files)
    for path in files:
        click.echo(f"written to {printable(str(path))}", err=True)
