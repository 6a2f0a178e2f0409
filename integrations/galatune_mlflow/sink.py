"""A report as one MLflow run with a child run per trial.

Only `mlflow.MlflowClient` is used, so that the caller's active run, experiment and tracking URI do not
change. Runs are found again by tags: a second report adds what is missing and repeats nothing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from galatune.formatting import in_shell, printable
from galatune.report.sinks import Delivery
from galatune.study.ledger.rows import Ledger, TrialRow
from galatune.study.storage.address import redact
from galatune_mlflow.connection import is_new_store, open_client, tracking_uri_or_default
from galatune_mlflow.patience import PatientClient
from galatune_mlflow.payload import (
    chunks,
    description,
    identity,
    milliseconds,
    params_of,
    rate_curves,
    report_metrics,
    split_finite,
    trial_metrics,
)
from galatune_mlflow.runs import FINISHED, IDENTITY, PARENT, TRIAL, Found, find_experiment, find_runs

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

__all__ = ["MlflowSink"]

STUDY = "galatune.study"
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
MOST_METRICS, MOST_PARAMS = 1_000, 100
LONGEST_TAG = 5_000


class MlflowSink:
    """Sends a report to MLflow."""

    destination_options = ("--tracking-uri",)

    def send(self, delivery: Delivery, destination: str | None = None) -> str:
        """Send what is not there yet.

        Args:
            delivery: The report.
            destination: MLflow's tracking URI; None for the one in MLFLOW_TRACKING_URI, else
                ``sqlite:///mlflow.db``.

        Returns:
            Where it lies, and how to look at it.

        Raises:
            ReportError: MLflow could not be reached or refused.
        """
        uri = tracking_uri_or_default(destination)
        if is_new_store(uri):
            click.echo(f"making a new MLflow store at {redact(uri)}, about 7 seconds", err=True)
        with open_client(uri) as client:
            experiment = find_experiment(client, delivery.baseline.study, uri)
            tag = identity(delivery.baseline, delivery.shrunk)
            found = find_runs(client, experiment, tag)
            parent = _send_report(client, experiment, tag, found.parent, delivery)
            _tidy(client, parent, found)
            sent = 0
            for row in delivery.shrunk.finished:
                run = found.trials.get(row.number)
                if run is None or run.info.status not in FINISHED:
                    _send_trial(client, experiment, tag, parent, delivery.shrunk.study, row, run)
                    sent += 1
            _finish(client, parent, delivery.shrunk)
        return _where(uri, experiment, parent, sent, len(delivery.shrunk.finished))


def _tidy(client: PatientClient, parent: str, found: Found) -> None:
    """Hang every trial below the report's run, which may be a new one, and remove what is there twice.

    A removed run can be restored in MLflow.
    """
    for run in found.trials.values():
        if run.data.tags.get(PARENT) != parent:
            client.set_tag(run.info.run_id, PARENT, parent)
    for run in found.surplus:
        client.delete_run(run.info.run_id)


def _send_report(
    client: PatientClient, experiment: str, tag: str, parent: Run | None, delivery: Delivery
) -> str:
    """Send the parent run; MLflow lets metrics and tags change from report to report, parameters not."""
    study = delivery.shrunk
    if parent is None:
        starts = [milliseconds(row.start) for row in study.finished if row.start]
        parent = client.create_run(
            experiment,
            start_time=min((s for s in starts if s is not None), default=None),
            run_name=printable(study.study),
            tags={IDENTITY: tag, STUDY: printable(study.study)[:LONGEST_TAG]},
        )
    run_id = str(parent.info.run_id)
    _add_params(client, parent, _report_params(delivery))
    metrics, missing = split_finite(report_metrics(delivery.report))
    stale = {name: float("nan") for name in missing if name in parent.data.metrics}
    changed = {n: v for n, v in {**metrics, **stale}.items() if not _same(parent.data.metrics.get(n), v)}
    _add_metrics(client, run_id, [_metric(name, value, _now()) for name, value in changed.items()])
    for name, text in _report_tags(delivery, missing).items():
        if text or name in parent.data.tags:
            client.set_tag(run_id, name, text[:LONGEST_TAG])
    client.log_text(run_id, delivery.page, "report.html")
    client.log_text(run_id, _json(delivery.report.to_json()), "report.json")
    client.log_text(run_id, _json(dict(study.provenance.plan)), "plan.json")
    return run_id


def _report_params(delivery: Delivery) -> dict[str, str]:
    return {
        "baseline": printable(delivery.baseline.study)[:LONGEST_TAG],
        "study": printable(delivery.shrunk.study)[:LONGEST_TAG],
        "directions": ", ".join(delivery.report.directions),
    }


def _report_tags(delivery: Delivery, missing: Sequence[str]) -> dict[str, str]:
    report, provenance = delivery.report, delivery.shrunk.provenance
    return {
        "mlflow.note.content": description(delivery),
        "galatune.verdict": report.quality.verdict,
        "galatune.matched": str(report.to_match.matched).lower(),
        "galatune.saving": "claimed" if report.saved.claimed else printable(report.saved.not_claimed or ""),
        "galatune.tolerance": f"{report.to_match.tolerance:g}",
        "galatune.currency": printable(report.saved.currency or ""),
        "galatune.not_measured": ", ".join(name.removeprefix("galatune/") for name in missing),
        "galatune.why": printable(report.to_match.why or ""),
        "galatune.sampler": printable(provenance.sampler or ""),
        "galatune.pruner": printable(provenance.pruner or ""),
        "galatune.seed": "" if provenance.seed is None else str(provenance.seed),
    }


def _send_trial(
    client: PatientClient, experiment: str, tag: str, parent: str, study: str, row: TrialRow, run: Run | None
) -> None:
    """Send one child run. It is ended last, so that one that was cut short is recognized and completed."""
    start, end = milliseconds(row.start), milliseconds(row.end)
    moment = end or start or 0
    if run is None:
        run = client.create_run(
            experiment,
            start_time=start,
            run_name=f"trial {row.number}",
            tags=_trial_tags(tag, parent, study, row),
        )
    run_id = str(run.info.run_id)
    _add_params(client, run, params_of(row))
    metrics, _ = split_finite(trial_metrics(row))
    points = [_metric(name, value, moment) for name, value in metrics.items()]
    for curve in rate_curves(row):
        points += [_metric(curve.name, v, moment, s) for s, v in zip(curve.steps, curve.values, strict=True)]
    _add_metrics(client, run_id, points)
    if row.record is not None and row.record.events:
        client.log_text(run_id, _events(row), "events.txt")
    client.set_terminated(run_id, status=STATUS[row.state], end_time=end)


def _trial_tags(tag: str, parent: str, study: str, row: TrialRow) -> dict[str, str]:
    metrics = trial_metrics(row)
    _, missing = split_finite(metrics)
    infinite = [name for name in missing if metrics[name] is not None]
    tags = {
        IDENTITY: tag,
        STUDY: printable(study)[:LONGEST_TAG],
        TRIAL: str(row.number),
        PARENT: parent,
        "galatune.state": row.state,
        "galatune.stage": row.stage,
    }
    if infinite:
        tags["galatune.not_finite"] = ", ".join(infinite)
    if row.reason:
        tags["galatune.reason"] = printable(row.reason)[:LONGEST_TAG]
    return tags


def _finish(client: PatientClient, run_id: str, study: Ledger) -> None:
    ends = [end for end in (milliseconds(row.end) for row in study.finished) if end is not None]
    client.set_terminated(run_id, status="FINISHED", end_time=max(ends, default=None))


def _add_params(client: PatientClient, run: Run, params: Mapping[str, str]) -> None:
    """Add the parameters that are missing: a parameter of a run cannot change."""
    from mlflow.entities import Param

    missing = [Param(name, value) for name, value in params.items() if name not in run.data.params]
    for piece in chunks(missing, MOST_PARAMS):
        client.log_batch(run.info.run_id, params=piece)


def _add_metrics(client: PatientClient, run_id: str, metrics: Sequence[Metric]) -> None:
    for piece in chunks(metrics, MOST_METRICS):
        client.log_batch(run_id, metrics=piece)


def _metric(name: str, value: float, moment: int, step: int = 0) -> Metric:
    from mlflow.entities import Metric

    return Metric(name, float(value), moment, int(step))


def _same(one: float | None, other: float) -> bool:
    """Whether both are equal, or both not a number."""
    return one is not None and (one == other or (math.isnan(one) and math.isnan(other)))


def _events(row: TrialRow) -> str:
    events = row.record.events if row.record else ()
    lines = [f"step {e.step}, optimizer {e.optimizer + 1}, {e.kind}: {e.reason}" for e in events]
    return "\n".join(map(printable, lines)) + "\n"


def _json(body: object) -> str:
    return json.dumps(body, indent=2, default=str)


def _now() -> int:
    return round(time.time() * 1000)


def _where(uri: str, experiment: str, run_id: str, sent: int, trials: int) -> str:
    head = f"MLflow has the report and {trials} trials ({sent} new)"
    if uri.startswith(("http://", "https://")):
        return f"{head}: {redact(uri).rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"
    return f"{head}; look at it with: mlflow ui --backend-store-uri {in_shell(redact(uri))}"
