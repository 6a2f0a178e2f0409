"""A report through a real tracking server on the loopback interface."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_studies import fake_study

from galatune.report.savings import savings
from galatune.report.sinks import Delivery
from galatune.study.ledger.rows import ledger
from galatune_mlflow.sink import MlflowSink

STARTS_WITHIN = 120


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[str]:
    """URL of a server that is up."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    with (
        (tmp_path / "server.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"no server within {STARTS_WITHIN} s")


@pytest.mark.slow
def test_a_report_reaches_a_server_once(server: str) -> None:
    from mlflow import MlflowClient

    old, new = fake_study([5.0, 3.0, 1.0], name="old"), fake_study([2.0, 1.0], name="new", controlled=True)
    delivery = Delivery(savings(old, new), ledger(old), ledger(new), "<!DOCTYPE html>")
    assert "2 new" in MlflowSink().send(delivery, server)
    assert "0 new" in MlflowSink().send(delivery, server)
    client = MlflowClient(tracking_uri=server)
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments)
    assert len(found) == 3
    (parent,) = (run for run in found if "galatune.trial" not in run.data.tags)
    assert "report.html" in {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
