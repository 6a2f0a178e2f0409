"""`galatune report`: what the smaller study cost and what it saved."""

from __future__ import annotations

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
    storage_argument,
    study_option,
    tolerance_option,
)
from galatune.formatting import printable

if TYPE_CHECKING:
    from galatune.report.pair import Pair
    from galatune.report.savings import SavingsReport

__all__ = ["report"]

NEEDED = ("galatune.report.pair", "galatune.report.savings", "scipy.stats", "rich.table")
DRAWING = ("galatune.report.page", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.figure")


@click.command()
@storage_argument
@study_option
@into_option
@name_option
@click.option("--html", type=File(), help="Write the report as one page.")
@click.option("--csv", type=File(), help="Write both studies, a row a trial.")
@click.option("--price", type=click.FloatRange(min=0), help="Money an hour of training; needs --currency.")
@click.option("--currency", callback=given, metavar="TEXT", help="Of the price, EUR.")
@tolerance_option
@json_option
@click.option("--sink", callback=given, metavar="NAME", help="Send it there too: mlflow.")
@click.option(
    "--tracking-uri",
    callback=given,
    metavar="URI",
    help="Where the sink sends it, if not where its host would.",
)
def report(
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
    tracking_uri: str | None,
) -> None:
    """Account for what the smaller study saved.

    STORAGE holds the old study; the smaller one is looked for where galatune run puts it. Both are only
    read.

    \b
    galatune report study.db
    galatune report study.db --html report.html --price 2.50 --currency EUR
    galatune report study.db --sink mlflow --tracking-uri http://localhost:5000
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    if (price is None) != (currency is None):
        raise click.UsageError("--price and --currency go together")
    if tracking_uri is not None and sink is None:
        raise click.UsageError("--tracking-uri needs --sink, for example --sink mlflow")
    load(*NEEDED, *(DRAWING if html or sink else ()), *(("pandas",) if csv else ()))
    from galatune.report.pair import read_pair
    from galatune.report.savings import compare
    from galatune.report.sinks import find_sink
    from galatune.study.storage.writing import default_target

    target = find_sink(sink) if sink is not None else None
    _check_files(html, csv, storage, into)
    pair = read_pair(storage, study, into, name)
    for note in pair.notes:
        click.echo(f"note: {note}", err=True)
    result = compare(pair.baseline, pair.shrunk, tolerance=tolerance, price=price, currency=currency)
    # The default place of the smaller study is known only now.
    _check_files(html, csv, storage, into or default_target(pair.baseline.study)[0])
    document = None
    if html is not None or target is not None:
        from galatune.report.page import page

        document = page(result, pair.baseline, pair.shrunk)
    if html is not None and document is not None:
        _write(html, document)
    if csv is not None:
        _write(csv, _trials(pair))
    _print(result, pair, as_json)
    if target is not None and document is not None:
        from galatune.report.sinks import Delivery

        where = target.send(Delivery(result, pair.baseline, pair.shrunk, document), tracking_uri)
        click.echo(where, err=True)


def _check_files(html: Path | None, csv: Path | None, *storages: str | None) -> None:
    """What is written must be neither a study nor twice the same file."""
    from galatune.errors import ReportError
    from galatune.study.storage.writing import refuse_storage, same_place

    for path in (html, csv):
        if path is not None:
            refuse_storage(path, *(storage for storage in storages if storage is not None))
    if html is not None and csv is not None and same_place(str(html), str(csv)):
        raise ReportError(f"--html and --csv name the same file {str(html)!r}; name two")


def _print(result: SavingsReport, pair: Pair, as_json: bool) -> None:
    """The report on stdout: one JSON object, or a table below three sentences."""
    from galatune.report.text import table, verdict

    sentences = verdict(result, pair.shrunk)
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps({**result.to_json(), "verdict": asdict(sentences)}, indent=2, allow_nan=False))
        return
    from rich.console import Console

    for heading, sentence in sentences.lines:
        click.echo(f"{heading + ':':7}{printable(sentence)}")
    click.echo()
    Console(markup=False, highlight=False, emoji=False).print(table(result))


def _trials(pair: Pair) -> str:
    """Every trial of both studies as CSV."""
    import pandas as pd

    frames = [ledger.frame() for ledger in (pair.baseline, pair.shrunk)]
    return str(pd.concat([frame for frame in frames if not frame.empty] or frames).to_csv(index=False))


def _write(path: Path, text: str) -> None:
    from galatune.errors import ReportError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"cannot write {str(path)!r}: {error.strerror}; name a file where there is room and you may write"
        ) from error
    click.echo(f"written to {path}", err=True)
