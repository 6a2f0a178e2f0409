"""What MLflow holds of a report already: its experiment, its run and those of its trials."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from galatune.errors import ReportError
from galatune.formatting import printable
from galatune_mlflow.connection import artifact_location
from galatune_mlflow.patience import PatientClient

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["FINISHED", "IDENTITY", "PARENT", "TRIAL", "Found", "find_experiment", "find_runs"]

IDENTITY, TRIAL, PARENT = "galatune.identity", "galatune.trial", "mlflow.parentRunId"
BASELINE = "galatune.baseline"
"""Finds an experiment again after it was renamed."""
MODEL_TRAINING = ("mlflow.experimentKind", "custom_model_development")
"""Tells MLflow's user interface that this is not an experiment with language models."""
FINISHED = ("FINISHED", "KILLED", "FAILED")
PAGE = 1_000


@dataclass
class Found:
    """Runs of one report.

    Attributes:
        parent: The run of the report, None if there is none.
        trials: The run of each trial, by trial number.
        surplus: Runs that are there twice: two reports were sent at once, or a deleted run was restored.
    """

    parent: Run | None = None
    trials: dict[int, Run] = field(default_factory=dict)
    surplus: list[Run] = field(default_factory=list)


def find_experiment(client: PatientClient, study: str, uri: str) -> str:
    """Return the id of a study's experiment, which is made if there is none.

    Raises:
        ReportError: It was deleted.
    """
    name = f"galatune: {printable(study)}"[:500]
    named = client.get_experiment_by_name(name)
    if named is not None and named.lifecycle_stage == "active":
        return str(named.experiment_id)
    digest = hashlib.sha256(study.encode("utf-8", "backslashreplace")).hexdigest()[:32]
    renamed = client.search_experiments(filter_string=f"tags.`{BASELINE}` = '{digest}'", max_results=1)
    if renamed:
        return str(renamed[0].experiment_id)
    if named is not None:
        raise ReportError(
            f"the MLflow experiment {name!r} is deleted; restore it (mlflow experiments restore "
            f"--experiment-id {named.experiment_id}) or delete it for good (mlflow gc)"
        )
    tags = {MODEL_TRAINING[0]: MODEL_TRAINING[1], BASELINE: digest}
    try:
        return str(client.create_experiment(name, artifact_location(uri), tags=tags))
    except ReportError:
        made = client.get_experiment_by_name(name)  # by a report that is sent at the same moment
        if made is None:
            raise
        return str(made.experiment_id)


def find_runs(client: PatientClient, experiment: str, identity: str) -> Found:
    """Find the runs of a report.

    Of runs that are there twice, one that is finished stays, else that with the lowest id: two reports that
    tidy up at once choose the same.
    """
    found = Found()
    for run in sorted(_all_runs(client, experiment, identity), key=_rank):
        number = run.data.tags.get(TRIAL)
        if number is None and found.parent is None:
            found.parent = run
        elif number is not None and number.isdecimal() and int(number) not in found.trials:
            found.trials[int(number)] = run
        else:
            found.surplus.append(run)
    return found


def _rank(run: Run) -> tuple[bool, str]:
    return run.info.status not in FINISHED, str(run.info.run_id)


def _all_runs(client: PatientClient, experiment: str, identity: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            filter_string=f"tags.`{IDENTITY}` = '{identity}'",
            max_results=PAGE,
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return
