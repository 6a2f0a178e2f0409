"""`galatune fit`: fit an estimator to a table in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galatune.cli.loading import load
from galatune.cli.options import Duration, ReadFile, given, json_option, named, named_each, share
from galatune.formatting import in_shell, printable

if TYPE_CHECKING:
    from galatune.tabular.files.fitting import FittedFile
    from galatune.tabular.files.task import AskedTask

__all__ = ["fit"]

NEEDED = (
    "torch",
    "torch._dynamo",  # torch's optimizers import it when the first one is built: not within --max-time
    *("pandas", "sklearn", "galatune.tabular.files.fitting", "galatune.tabular.files.folder"),
)
DRAWING = ("jinja2", "rich.table", "matplotlib.backends.backend_agg", "matplotlib.figure")


@click.command()
@click.argument("data", metavar="DATA", type=ReadFile())
@click.option("--target", required=True, callback=named, metavar="NAME", help="Column to predict.")
@click.option(
    "--out",
    required=True,
    callback=given,
    metavar="FOLDER",
    help="Folder to be made for the model and its card.",
)
@click.option(
    "--task",
    type=click.Choice(["auto", "classification", "regression"]),
    default="auto",
    show_default=True,
    help="What to do; auto decides by the target: text, true and false, and at most 10 integers are classes.",
)
@click.option(
    "--drop", multiple=True, callback=named_each, metavar="NAME", help="Leave a column out. May be repeated."
)
@click.option("--weights", callback=named, metavar="NAME", help="Column that says how much each row counts.")
@click.option(
    "--test",
    callback=share,
    metavar="FRACTION",
    default="0.2",
    show_default=True,
    help="Share of the rows held out for the scores; 0 for none.",
)
@click.option(
    "--max-time",
    type=Duration(min=0, min_open=True),
    metavar="S",
    help="Stop training after so many seconds and keep the best weights until then.",
)
@click.option(
    "--max-iter",
    type=click.IntRange(min=1),
    metavar="N",
    default=500,
    show_default=True,
    help="Largest number of epochs; training stops sooner when it makes no progress.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    default=0,
    show_default=True,
    help="Of the rows held out and of the training.",
)
@click.option(
    "--device",
    callback=given,
    metavar="NAME",
    default="cpu",
    show_default=True,
    help="Torch device to train on; auto for the accelerator of the machine if it has one.",
)
@click.option("--overwrite", is_flag=True, help="Replace the model in FOLDER if there is one.")
@json_option
def fit(
    data: Path,
    target: str,
    out: str,
    task: AskedTask,
    drop: tuple[str, ...],
    weights: str | None,
    test: float,
    max_time: float | None,
    max_iter: int,
    seed: int,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Fit a neural network to a table; its learning rate is set during training.

    DATA is a CSV or Parquet file; separator, encoding and decimal mark are found out. Some rows are held out
    and scored, beside a constant that knows only the target. FOLDER gets the model, card.html and card.json.

    \b
    Examples:
      galatune fit customers.csv --target churn --out model
      galatune fit houses.parquet --target price --drop id --max-time 60 --out houses
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    load(*NEEDED, *DRAWING)
    from galatune.tabular.files.fitting import FitOptions, fit_file
    from galatune.tabular.files.folder import check_folder, write_folder

    folder = Path(out)
    check_folder(folder, overwrite=overwrite)
    options = FitOptions(target, task, drop, weights, test, max_time, max_iter, seed, device)
    show = sys.stderr if sys.stderr.isatty() else None
    fitted = fit_file(data, options, say=lambda line: click.echo(line, err=True), show=show)
    click.echo(fitted.card.training.text(), err=True)
    write_folder(folder, fitted)
    _show(fitted, as_json)
    click.echo(f"written to {printable(out)}: the model and its card, card.html", err=True)
    click.echo(f"To predict: galatune predict {in_shell(out)} {in_shell(str(data))}", err=True)


def _show(fitted: FittedFile, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(fitted.card.to_json(), indent=2, allow_nan=False))
    else:
        click.echo(fitted.card.text())
    for note in fitted.card.notes:
        click.echo(f"note: {note}", err=True)
