from __future__ import annotations

import math
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from fake_studies import START, fake_study

from galatune.errors import ReportError
from galatune.report.savings import savings
from galatune.report.sinks import Delivery
from galatune.study.ledger.rows import ledger
from galatune_mlflow.connection import tracking_uri_or_default
from galatune_mlflow.payload import milliseconds
from galatune_mlflow.runs import Found
from galatune_mlflow.sink import MlflowSink

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OLD = [5.0, 4.0, 3.0, 3.0, 1.0, 3.5]


def deliver(old: optuna.Study, new: optuna.Study, **options: object) -> Delivery:
    return Delivery(savings(old, new, **options), ledger(old), ledger(new), "<!DOCTYPE html>")  # type: ignore[arg-type]


@pytest.fixture
def client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def runs(client: MlflowClient) -> tuple[list[Run], list[Run]]:
    """Reports and trials."""
    found = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1000)
    parents = [run for run in found if "galatune.trial" not in run.data.tags]
    trials = [run for run in found if "galatune.trial" in run.data.tags]
    return parents, sorted(trials, key=lambda run: int(run.data.tags["galatune.trial"]))


def test_a_report_is_one_run_with_a_child_a_trial(uri: str, client: MlflowClient) -> None:
    new = fake_study([2.0, 1.0, "failed", "pruned", "running"], name="new", controlled=True)
    words = MlflowSink().send(deliver(fake_study(OLD), new, price=60.0, currency="EUR"), uri)
    (parent,), trials = runs(client)
    assert "4 trials (4 new)" in words
    assert parent.data.metrics["galatune/saved_trials"] == 3
    assert parent.data.metrics["galatune/saved_cost"] == pytest.approx(3.0)
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("**Cost:** the whole smaller search took 4 trials, the old one 6")
    assert "3 of 5 trials" in note
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} == {
        "plan.json",
        "report.html",
        "report.json",
    }
    assert [run.info.status for run in trials] == ["FINISHED", "FINISHED", "FAILED", "KILLED"]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}


def test_a_trial_keeps_its_times_values_and_curve(uri: str, client: MlflowClient) -> None:
    MlflowSink().send(deliver(fake_study(OLD), fake_study([2.0, 1.0], name="new", controlled=True)), uri)
    _, (_, trial) = runs(client)
    start = milliseconds(START)
    assert start is not None
    assert (trial.info.start_time, trial.info.end_time) == (start + 60_000, start + 120_000)
    assert trial.data.params == {"width": "1.0"}
    assert trial.data.metrics["value"] == 1.0
    assert trial.data.metrics["seconds"] == 60.0
    curve = client.get_metric_history(trial.info.run_id, "learning_rate")
    assert [(m.step, m.value) for m in curve][:2] == [(1, 0.01), (11, 0.01 / 11)]
    assert [a.path for a in client.list_artifacts(trial.info.run_id)] == ["events.txt"]


def test_a_second_report_adds_only_what_is_missing(uri: str, client: MlflowClient) -> None:
    old = fake_study(OLD)
    MlflowSink().send(deliver(old, fake_study([2.0, 3.0], name="new", controlled=True)), uri)
    (first,), before = runs(client)
    assert "galatune/saved_trials" not in first.data.metrics
    words = MlflowSink().send(deliver(old, fake_study([2.0, 3.0, 1.0], name="new", controlled=True)), uri)
    (second,), after = runs(client)
    assert "3 trials (1 new)" in words
    assert second.info.run_id == first.info.run_id
    assert second.data.metrics["galatune/saved_trials"] == 2
    assert [run.info.run_id for run in after[:2]] == [run.info.run_id for run in before]
    assert len(client.get_metric_history(after[0].info.run_id, "learning_rate")) == 40


def test_the_same_report_twice_changes_nothing(uri: str, client: MlflowClient) -> None:
    delivery = deliver(fake_study(OLD), fake_study([1.0], name="new", controlled=True))
    MlflowSink().send(delivery, uri)
    (first,), trials = runs(client)
    MlflowSink().send(delivery, uri)
    (second,), again = runs(client)
    assert second.to_dictionary() == first.to_dictionary()
    assert [run.to_dictionary() for run in again] == [run.to_dictionary() for run in trials]
    assert len(client.get_metric_history(first.info.run_id, "galatune/saved_trials")) == 1


def test_a_number_that_is_no_longer_measured_does_not_stay(uri: str, client: MlflowClient) -> None:
    old, new = fake_study(OLD), fake_study([1.05], name="new", controlled=True)
    MlflowSink().send(deliver(old, new, tolerance=0.1), uri)
    MlflowSink().send(deliver(old, new, tolerance=0.0), uri)
    (parent,), _ = runs(client)
    value = parent.data.metrics["galatune/saved_trials"]
    assert math.isnan(value)
    assert "saved_trials" in parent.data.tags["galatune.not_measured"]


def below(parent: Run, trials: list[Run]) -> bool:
    """Whether the trials, each once, hang below the parent."""
    numbers = [run.data.tags["galatune.trial"] for run in trials]
    return len(numbers) == len(set(numbers)) and {run.data.tags["mlflow.parentRunId"] for run in trials} == {
        parent.info.run_id
    }


def test_trials_move_below_a_new_report_if_its_run_was_deleted(uri: str, client: MlflowClient) -> None:
    delivery = deliver(fake_study(OLD), fake_study([2.0, 1.0], name="new", controlled=True))
    MlflowSink().send(delivery, uri)
    (first,), before = runs(client)
    client.delete_run(first.info.run_id)
    assert "2 trials (0 new)" in MlflowSink().send(delivery, uri)
    (second,), after = runs(client)
    assert second.info.run_id != first.info.run_id
    assert [run.info.run_id for run in after] == [run.info.run_id for run in before]
    assert below(second, after)
    client.restore_run(first.info.run_id)
    MlflowSink().send(delivery, uri)
    (third,), trials = runs(client)
    assert below(third, trials)


def test_a_deleted_trial_is_sent_again_and_stays_once_if_it_is_restored(
    uri: str, client: MlflowClient
) -> None:
    delivery = deliver(fake_study(OLD), fake_study([2.0, 1.0], name="new", controlled=True))
    MlflowSink().send(delivery, uri)
    _, (trial, _) = runs(client)
    client.delete_run(trial.info.run_id)
    assert "2 trials (1 new)" in MlflowSink().send(delivery, uri)
    client.restore_run(trial.info.run_id)
    assert "2 trials (0 new)" in MlflowSink().send(delivery, uri)
    (parent,), trials = runs(client)
    assert len(trials) == 2
    assert below(parent, trials)


def test_reports_that_crossed_each_other_are_one_after_a_third(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = deliver(fake_study(OLD), fake_study([2.0, 1.0], name="new", controlled=True))
    with monkeypatch.context() as blind:
        blind.setattr("galatune_mlflow.sink.find_runs", lambda *_: Found())
        for _ in range(2):  # neither saw what the other sent
            MlflowSink().send(delivery, uri)
    assert [len(found) for found in runs(client)] == [2, 4]
    for _ in range(2):
        assert "2 trials (0 new)" in MlflowSink().send(delivery, uri)
        (parent,), trials = runs(client)
        assert len(trials) == 2
        assert below(parent, trials)


def test_a_run_is_found_again_after_everything_was_renamed(uri: str, client: MlflowClient) -> None:
    delivery = deliver(fake_study(OLD), fake_study([2.0], name="new", controlled=True))
    MlflowSink().send(delivery, uri)
    (parent,), (trial,) = runs(client)
    client.rename_experiment(parent.info.experiment_id, "mine")
    for run in (parent, trial):
        client.set_tag(run.info.run_id, "mlflow.runName", "mine")
    client.set_tag(trial.info.run_id, "mlflow.parentRunId", "nobody")
    assert "1 trials (0 new)" in MlflowSink().send(delivery, uri)
    (again,), trials = runs(client)
    assert again.info.run_id == parent.info.run_id
    assert below(again, trials)


def test_a_deleted_experiment_is_said_with_its_cure(uri: str, client: MlflowClient) -> None:
    delivery = deliver(fake_study(OLD), fake_study([2.0], name="new", controlled=True))
    MlflowSink().send(delivery, uri)
    (parent,), _ = runs(client)
    client.delete_experiment(parent.info.experiment_id)
    with pytest.raises(ReportError, match=rf"restore --experiment-id {parent.info.experiment_id}\)"):
        MlflowSink().send(delivery, uri)
    client.restore_experiment(parent.info.experiment_id)
    assert "(0 new)" in MlflowSink().send(delivery, uri)


def test_an_experiment_made_at_the_same_moment_is_used(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient as Client

    made = client.create_experiment("galatune: old")
    seen = [None]
    look = Client.get_experiment_by_name

    def late(self: MlflowClient, name: str) -> object:
        return seen.pop() if seen else look(self, name)

    monkeypatch.setattr(Client, "get_experiment_by_name", late)
    MlflowSink().send(deliver(fake_study(OLD), fake_study([2.0], name="new", controlled=True)), uri)
    (parent,), _ = runs(client)
    assert parent.info.experiment_id == made


@pytest.mark.parametrize("location", ["file:///proc/nowhere", "s3://no-such-bucket/x", "ftp://127.0.0.1:1/x"])
def test_a_place_for_artifacts_that_cannot_be_reached_is_one_line(
    uri: str, client: MlflowClient, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client.create_experiment("galatune: old", location)
    with pytest.raises(ReportError) as caught:
        MlflowSink().send(deliver(fake_study(OLD), fake_study([2.0], name="new", controlled=True)), uri)
    assert "\n" not in str(caught.value)
    assert "did not take the report" in str(caught.value)


def test_a_trial_that_was_cut_short_is_completed(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient as Client

    delivery = deliver(fake_study(OLD), fake_study([2.0, 1.0], name="new", controlled=True))
    kept = Client.set_terminated

    def lost(self: MlflowClient, run_id: str, *args: object, **options: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(Client, "set_terminated", lost)
    with pytest.raises(ReportError, match="did not take the report: gone"):
        MlflowSink().send(delivery, uri)
    monkeypatch.setattr(Client, "set_terminated", kept)
    assert "2 trials (2 new)" in MlflowSink().send(delivery, uri)
    (parent,), trials = runs(client)
    assert [run.info.status for run in [parent, *trials]] == ["FINISHED"] * 3
    assert len(client.get_metric_history(trials[0].info.run_id, "learning_rate")) == 40


def test_names_and_values_that_mlflow_would_refuse_are_taken(uri: str, client: MlflowClient) -> None:
    params = [{"../<b>": 1.0, "a" * 400: 2.0}]
    new = fake_study([1.0], name="'; drop `x`\n[new]", controlled=True, params=params)
    old = fake_study([2.0, float("inf")], name="../../<old>\n'")
    MlflowSink().send(deliver(old, new), uri)
    (parent,), (trial,) = runs(client)
    assert len(trial.data.params) == 2
    assert parent.info.run_name == "'; drop `x`\\n[new]"


def test_infinite_values_are_tagged_not_sent(uri: str, client: MlflowClient) -> None:
    MlflowSink().send(
        deliver(fake_study(OLD), fake_study([float("inf"), 1.0], name="n", controlled=True)), uri
    )
    _, (trial, _) = runs(client)
    assert "value" not in trial.data.metrics
    assert trial.data.tags["galatune.not_finite"] == "value"


def test_many_parameters_and_points_fit(uri: str, client: MlflowClient) -> None:
    params = [{f"p{i}": float(i) for i in range(230)}]
    MlflowSink().send(
        deliver(fake_study(OLD), fake_study([1.0], controlled=True, name="n", params=params)), uri
    )
    _, (trial,) = runs(client)
    assert len(trial.data.params) == 230


def test_nothing_global_is_touched(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import mlflow

    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    environment = dict(os.environ)
    MlflowSink().send(deliver(fake_study(OLD), fake_study([1.0], name="n", controlled=True)), uri)
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None
    assert dict(os.environ) == environment
    assert not (tmp_path / "mlruns").exists()


def test_a_server_that_is_away_is_noticed_at_once_and_its_password_kept(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    connect = socket.create_connection

    def counted(address: tuple[str, int], **options: float) -> socket.socket:
        tried.append(address)
        return connect(address, **options)

    monkeypatch.setattr(socket, "create_connection", counted)
    with pytest.raises(ReportError) as caught:
        MlflowSink().send(
            deliver(fake_study(OLD), fake_study([1.0], name="n")), f"http://ada:secret@127.0.0.1:{port}"
        )
    assert tried == [("127.0.0.1", port)]
    message = str(caught.value)
    assert "\n" not in message
    assert "secret" not in message
    assert "sends what is missing later" in message


@pytest.mark.parametrize("uri", ["nonsense://x", "./mlruns"])
def test_a_uri_that_mlflow_refuses_is_one_line(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReportError) as caught:
        MlflowSink().send(deliver(fake_study(OLD), fake_study([1.0], name="n")), uri)
    assert "\n" not in str(caught.value)


def test_the_uri_is_always_chosen_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri_or_default(None) == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert tracking_uri_or_default(None) == "http://there"
    assert tracking_uri_or_default("http://here") == "http://here"


@pytest.mark.slow
def test_two_processes_at_once_are_one_report_after_a_third(tmp_path: Path) -> None:
    fake_study(OLD, storage=f"sqlite:///{tmp_path / 'old.db'}")
    fake_study(
        [2.0, 1.0] * 6, name="old-gala", controlled=True, storage=f"sqlite:///{tmp_path / 'old-gala.db'}"
    )
    command = [sys.executable, "-m", "galatune", "report", "old.db", "--sink", "mlflow"]
    at_once = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in at_once:
        process.communicate(timeout=120)
        assert process.returncode in (0, 1)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    from mlflow import MlflowClient

    (parent,), trials = runs(MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}"))
    assert len(trials) == 12
    assert below(parent, trials)
