"""`galatune predict`: predict the rows of a table in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galatune.cli.loading import load
from galatune.cli.options import File, ReadFile
from galatune.formatting import printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["predict"]

NEEDED = ("torch", "pandas", "sklearn", "galatune.tabular.files.predicting")


@click.command()
@click.argument("model", metavar="MODEL", type=ReadFile())
@click.argument("data", metavar="DATA", type=ReadFile())
@click.option(
    "--out",
    type=File(),
    help="Write to this file, Parquet if its name ends in .parquet, else CSV.  [default: CSV to stdout]",
)
@click.option("--proba", is_flag=True, help="Add a column with the probability of each class.")
def predict(model: Path, data: Path, out: Path | None, proba: bool) -> None:
    """Predict each row of a table, in its order, with a model of galatune fit.

    MODEL is the folder that galatune fit --out wrote. DATA is a CSV or Parquet file with the columns that the
    model was fitted to; others are ignored, the target too.

    \b
    Examples:
      galatune predict model new.csv > predictions.csv
      galatune predict model new.parquet --proba --out predictions.parquet
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    load(*NEEDED)
    from galatune.tabular.files.predicting import predict_file

    predicted = predict_file(
        model, data, proba=proba, note=lambda text: click.echo(f"note: {text}", err=True)
    )
    if out is None:
        click.echo(predicted.to_csv(index=False), nl=False)
    else:
        _write(out, predicted)


def _write(out: Path, predicted: pd.DataFrame) -> None:
    from galatune.files import write_files
    from galatune.tabular.files.predicting import as_parquet

    parquet = out.suffix.lower() == ".parquet"
    write_files({out: as_parquet(predicted) if parquet else predicted.to_csv(index=False)})
    click.echo(f"written to {printable(str(out))}", err=True)
