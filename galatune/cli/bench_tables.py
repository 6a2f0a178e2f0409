"""`galatune bench tables`: the estimators beside other learners of tables."""

from __future__ import annotations

from pathlib import Path

import click

from galatune.cli.bench import out_option, printed
from galatune.cli.options import Duration

__all__ = ["tables"]


@click.command()
@click.option("--sets", metavar="NAMES", help="Comma-separated; an unknown one lists them.  [default: all]")
@click.option(
    "--methods",
    metavar="NAMES",
    help="Comma-separated; an unknown one lists them. Ours is added.  [default: all that are installed]",
)
@click.option(
    "--splits",
    type=click.IntRange(min=1),
    help="Splits of each set, seeds 0 to N - 1.  [default: 10 of sets with less than 2,000 rows, else 5]",
)
@click.option(
    "--max-hours",
    type=Duration(min=0, min_open=True),
    default=8.0,
    show_default=True,
    help="Stop after this time; the same command goes on.",
)
@out_option
def tables(sets: str | None, methods: str | None, splits: int | None, max_hours: float, out: Path) -> None:
    """Compare GalaClassifier and GalaRegressor with gradient boosting and other nets, defaults each.

    The same splits for all: a quarter of the rows for the test, at most 10,000 for the training. Fits run
    one after another in a process with one thread each, so that processor seconds and memory compare.
    "fixed-rates" is our network at seven fixed rates, chosen per split on rows held out of the training
    rows. XGBoost, RealMLP and TabM (the latter on two splits) come with pip install
    'galatune[bench-tables]'; tables with GALATUNE_DATA.

    \b
    galatune bench tables
    galatune bench tables --sets diabetes,wine --splits 2 --methods hist-gradient-boosting,sklearn-mlp
    """  # noqa: D301  # click's mark of a paragraph that keeps its lines
    from galatune.bench.tables.comparisons import Comparison
    from galatune.bench.tables.datasets import find_sets
    from galatune.bench.tables.fits import Plan, run_fits, tidy
    from galatune.bench.tables.methods import find_methods
    from galatune.bench.tables.text import absent_words, comparison_tables, comparison_words
    from galatune.cli.countdown import Countdown

    found_sets, absent = find_sets(sets)
    found_methods, lacking = find_methods(methods)
    for line in absent_words(absent, lacking):
        click.echo(line, err=True)
    plan = Plan(found_sets, found_methods, splits)
    fits = run_fits(plan, out, max_hours, Countdown("fits"))
    compared = Comparison(found_sets, fits)
    printed(comparison_tables(compared))
    for line in comparison_words(compared) if fits else ():
        click.echo(line)
    if (left := len(plan.cells()) - len(fits)) > 0:
        click.echo(f"Time was up with {left} fits left; the same command goes on.", err=True)
    if fits:
        tidy(fits).to_csv(out / "tables.csv", index=False)
        click.echo(f"Every fit: {out / 'tables.csv'}", err=True)
