"""The tables: a table of means per score, of what fits cost, of paired differences; and how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from rich.table import Table

from galatune.bench.tables.comparisons import Comparison, Difference
from galatune.bench.tables.datasets import DataSet
from galatune.bench.tables.methods import BY_VALIDATION, METHODS, ORACLE
from galatune.bench.tables.scores import SCORES, Score
from galatune.bench.text import interval_text, plain_table
from galatune.formatting import listed, plural

__all__ = ["absent_words", "comparison_tables", "comparison_words"]

LABELS = {BY_VALIDATION: "fixed rate", ORACLE: "(oracle)"}

DIGITS = 4
"""Of a difference, behind the point."""

CHOSEN = "*"
"""Marks a set on which our defaults were chosen."""


def comparison_tables(found: Comparison) -> list[Table]:
    """Per score the means and the differences, then processor seconds and memory."""
    tables = []
    for score in SCORES:
        sets = [one for one in found.sets if found.mean(one.name, "ours", score) is not None]
        if sets:
            tables.append(_means(found, score, sets))
        if differences := found.differences(score):
            tables.append(_differences(found, differences, score))
    return [*tables, _seconds(found), _memory(found)] if tables else []


def comparison_words(found: Comparison) -> list[str]:
    """How to read the tables, who is better than ours, and which fits failed."""
    better = [
        f"{label(one.peer)} is better than ours on {one.dataset} ({SCORES[score]}, by {one.mean:.3g})."
        for score in SCORES
        for one in found.differences(score)
        if one.verdict == "peer better"
    ]
    failed = [
        f"Failed: {fit.cell.method} on {fit.cell.dataset}, split {fit.cell.seed}: {fit.failure}"
        for fit in found.failed
    ]
    return [
        "Less is better in every table. Mean ranks describe, they are not tested. A method is shown by the "
        "scores that its settings aim at.",
        *_few_splits(found),
        f"{CHOSEN} Our defaults were chosen on this set. The oracle is the fixed rate that is best on the "
        "test rows of each split, for each score anew.",
        "Intervals: 95 %, corrected resampled t of Nadeau and Bengio over paired splits, each set alone, "
        "not adjusted for being several.",
        "Processor seconds of one fit (of all seven for the fixed rate); memory is the peak of its process, "
        "imports included.",
        *better,
        *failed,
    ]


def _few_splits(found: Comparison) -> list[str]:
    dear = {name: METHODS[name].most_splits for name in found.methods() if name in METHODS}
    return [
        f"{label(name)} is fitted on the first {plural(most, 'split')} of each set, and not ranked."
        for name, most in dear.items()
        if most is not None
    ]


def absent_words(sets: Sequence[str], methods: Mapping[str, Sequence[str]]) -> list[str]:
    """What was left out, and what to do.

    Args:
        sets: Names of absent data sets.
        methods: Names of methods, with the packages that they lack.
    """
    words = []
    if sets:
        words.append(f"left out, not in the folder of GALATUNE_DATA: {listed(sets)}")
    for name, packages in methods.items():
        words.append(
            f"left out: {name} needs {listed(packages)}; install it with pip install 'galatune[bench-tables]'"
        )
    return words


def label(method: str) -> str:
    """How a method is called in tables."""
    return LABELS.get(method) or METHODS[method].label


def _means(found: Comparison, score: Score, sets: Sequence[DataSet]) -> Table:
    names = found.methods(score)
    table = plain_table(SCORES[score], ["set", "splits", *map(label, names)], ["set"])
    for one in sets:
        counts = str(len(found.values(one.name, "ours", score)))
        means = [found.mean(one.name, name, score) for name in names]
        table.add_row(_named(one), counts, *(_number(value, "#.3g") for value in means))
    new = [one for one in sets if not one.chosen_on]
    for words, group in (("mean rank", sets), ("the same, without *", new)):
        ranks, count = found.mean_ranks(score, group)
        if count > 1 and (group is sets or len(new) < len(sets)):
            row = (_number(ranks.get(name), ".2f") for name in names)
            table.add_row(f"{words}, {plural(count, 'set')}", "", *row)
    return table


def _differences(found: Comparison, differences: Sequence[Difference], score: Score) -> Table:
    sets = {one.name: one for one in found.sets}
    headings = ["set", "peer", "splits", "ours - peer", "95 % interval", "verdict"]
    table = plain_table(f"{SCORES[score]}: ours - peer", headings, ["set", "peer", "verdict"])
    before = ""
    for one in differences:
        shown = "" if one.dataset == before else _named(sets[one.dataset])
        before = one.dataset
        interval = "" if one.interval is None else interval_text(one.interval, DIGITS)
        mean = f"{one.mean:+.{DIGITS}f}"
        table.add_row(shown, label(one.peer), str(one.splits), mean, interval, _verdict(one))
    return table


def _verdict(one: Difference) -> str:
    """The verdict, and who is ahead where it leaves that open."""
    if one.verdict in ("ours better", "peer better") or not one.mean:
        return one.verdict
    return f"{one.verdict}, {'peer' if one.mean > 0 else 'ours'} ahead"


def _seconds(found: Comparison) -> Table:
    return _costs(found, "processor seconds per fit", "seconds", ".3g")


def _memory(found: Comparison) -> Table:
    return _costs(found, "largest memory, MB", "memory", ".0f")


def _costs(found: Comparison, title: str, name: Literal["seconds", "memory"], shown: str) -> Table:
    methods = [one for one in found.methods() if one != ORACLE]
    table = plain_table(title, ["set", *map(label, methods)], ["set"])
    for one in found.sets:
        values = [found.cost(one.name, method, name) for method in methods]
        if any(value is not None for value in values):
            table.add_row(one.name, *(_number(value, shown) for value in values))
    return table


def _named(one: DataSet) -> str:
    return f"{one.name} {CHOSEN}" if one.chosen_on else one.name


def _number(value: float | None, shown: str) -> str:
    return "" if value is None else format(value, shown)
