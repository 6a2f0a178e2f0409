"""A report and a trial in MLflow's terms: names, numbers and times that it accepts.

Pure functions of the ledgers; nothing here talks to a server.
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from galatune.formatting import printable
from galatune.report.savings import SavingsReport
from galatune.report.sinks import Delivery
from galatune.study.ledger.rows import Ledger, TrialRow

__all__ = [
    "Curve",
    "chunks",
    "description",
    "identity",
    "key",
    "milliseconds",
    "params_of",
    "rate_curves",
    "report_metrics",
    "split_finite",
    "trial_metrics",
]

LONGEST_KEY = 250
LONGEST_PARAM = 6_000
T = TypeVar("T")


@dataclass(frozen=True)
class Curve:
    """A metric by step."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


def identity(baseline: Ledger, shrunk: Ledger) -> str:
    """Return an identifier of this pair of studies that does not change while the smaller one grows.

    Two studies may have the same name, so the start of their first trials is included.

    Returns:
        32 hexadecimal digits, safe in a search filter.
    """
    first = [
        study.rows[0].start.isoformat() if study.rows and study.rows[0].start else ""
        for study in (baseline, shrunk)
    ]
    body = json.dumps([baseline.study, shrunk.study, *first])
    return hashlib.sha256(body.encode()).hexdigest()[:32]


def key(name: str) -> str:
    """Return a name that MLflow accepts for a parameter or metric.

    >>> key("lr (base)"), key("../x"), key("")
    ('lr _base_', '_x', '_')
    """
    clean = re.sub(r"[^A-Za-z0-9_\-. /:]", "_", name)[:LONGEST_KEY].strip() or "_"
    if posixpath.normpath(clean) != clean or clean.startswith(("/", "..")) or clean == ".":
        clean = clean.replace("/", "_").lstrip(".") or "_"
    return clean


def params_of(row: TrialRow) -> dict[str, str]:
    """Return parameters under names that MLflow accepts; names that become equal are numbered."""
    params: dict[str, str] = {}
    for name, value in row.params.items():
        clean, count = key(name), 2
        while clean in params:
            clean, count = f"{key(name)[: LONGEST_KEY - 8]} {count}", count + 1
        params[clean] = printable(str(value))[:LONGEST_PARAM]
    return params


def trial_metrics(row: TrialRow) -> dict[str, float | None]:
    """Return what a trial reached and cost; None if it is not known."""
    values = row.values or ()
    names = ["value"] if len(values) == 1 else [f"value_{i}" for i in range(len(values))]
    return {
        **dict(zip(names, values, strict=True)),
        "seconds": row.seconds,
        "steps": row.steps,
        "probes": row.probes,
        "gradient_evaluations": row.gradient_evaluations,
    }


def rate_curves(row: TrialRow) -> tuple[Curve, ...]:
    """Return the learning rate by step, one curve per optimizer."""
    points: dict[int, list[tuple[int, float]]] = {}
    for point in row.record.learning_rate if row.record else ():
        if math.isfinite(point.rate):
            points.setdefault(point.optimizer, []).append((point.step, float(point.rate)))
    several = len(points) > 1
    return tuple(
        Curve(
            f"learning_rate/{which + 1}" if several else "learning_rate",
            tuple(step for step, _ in curve),
            tuple(rate for _, rate in curve),
        )
        for which, curve in sorted(points.items())
    )


def report_metrics(report: SavingsReport) -> dict[str, float | None]:
    """Return the numbers of the report as ``galatune/<name>``; None if one was not measured."""
    match, saved, quality = report.to_match, report.saved, report.quality
    total, order = report.total, report.random_order
    timed = saved.hours_measured
    found: dict[str, float | None] = {
        "total_trials": total.trials,
        "total_hours": total.hours,
        "total_gradient_evaluations": None if report.shrunk.uncounted else total.gradient_evaluations,
        "baseline_gradient_evaluations": (
            None if report.baseline.uncounted else report.baseline.gradient_evaluations
        ),
        "goal": match.goal,
        "goal_repeats": match.goal_repeats,
        "reached": quality.reached,
        "reached_repeats": quality.repeats,
        "confirmed": None if match.confirmed is None else float(match.confirmed),
        "saving_claimed": float(saved.claimed),
        "random_order_probability": order.probability,
        "random_order_median_trials": order.median_trials,
        "saved_trials": saved.trials,
        "saved_trials_percent": saved.trials_percent,
        "saved_hours": saved.hours if timed else None,
        "saved_hours_percent": saved.hours_percent if timed else None,
        **({"saved_cost": saved.cost if timed else None} if saved.currency else {}),
        "matched": float(match.matched),
        "baseline_trials_to_match": match.baseline_trials,
        "shrunk_trials_to_match": match.shrunk_trials,
        "baseline_hours_to_match": match.baseline_hours,
        "shrunk_hours_to_match": match.shrunk_hours,
        "baseline_trials": report.baseline.trials,
        "shrunk_trials": report.shrunk.trials,
        "baseline_hours": report.baseline.hours,
        "shrunk_hours": report.shrunk.hours,
        "baseline_best_value": report.baseline.best_value,
        "shrunk_best_value": report.shrunk.best_value,
        "quality_difference": quality.difference,
        "quality_interval_low": quality.interval[0] if quality.interval else None,
        "quality_interval_high": quality.interval[1] if quality.interval else None,
    }
    return {f"galatune/{name}": value for name, value in found.items()}


def split_finite(metrics: Mapping[str, float | None]) -> tuple[dict[str, float], list[str]]:
    """Return the metrics that can be stored, and the names of those that are unknown or not finite."""
    known = {name: float(v) for name, v in metrics.items() if v is not None and math.isfinite(v)}
    return known, [name for name in metrics if name not in known]


def description(delivery: Delivery) -> str:
    """Return the four sentences as markdown, with names escaped."""
    sentences = delivery.report.verdict.lines
    lines = [f"**{heading}:** {_escaped(sentence)}" for heading, sentence in sentences]
    return "\n\n".join([*lines, "The page is the artifact report.html."])


def milliseconds(moment: datetime | None) -> int | None:
    """Return milliseconds since 1970; a time without a zone is local time, as Optuna writes it."""
    return None if moment is None else max(0, round(moment.timestamp() * 1000))


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut items into pieces of at most ``size``.

    >>> chunks([1, 2, 3], 2)
    [[1, 2], [3]]
    """
    return [items[i : i + size] for i in range(0, len(items), size)]


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", printable(text))
