"""Worker processes of one run: what they share, and how they end."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import tiny_search
from optuna.trial import TrialState
from tiny_search import go, load, objective, objective_file

from galatune.controller.torch_hooks.devices import visible_gpus
from galatune.errors import ObjectiveError, PlanError
from galatune.study.ledger.attributes import ENDS, PROCESS, REASON, RECORD
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.options import RunOptions
from galatune.study.search.pilot import pilot
from galatune.study.search.processes.origin import Named
from galatune.study.search.processes.output import Lines
from galatune.study.search.processes.shares import Shares
from galatune.study.search.quota import ticket_of, uses_ticket

pytestmark = pytest.mark.usefixtures("folder", "interruptible")

TESTS = str(Path(tiny_search.__file__).parent)

SEES = """
import os

from tiny_search import objective as train


def objective(trial):
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        trial.set_user_attr(name, os.environ.get(name))
    return train(trial)
"""

FAILS = """
def objective(trial):
    trial.suggest_categorical("width", [2, 4, 8])
    raise ValueError("nothing works")
"""

STOPS = """
from tiny_search import objective as train


def objective(trial):
    value = train(trial)
    trial.study.stop()
    return value
"""

DIES = """
import os


def objective(trial):
    os._exit(3)
"""

DIES_IN_ONE = """
import os

from tiny_search import objective as train


def objective(trial):
    if trial.user_attrs["galatune_ticket"] == 1:
        os._exit(3)
    return train(trial)
"""

WAITS = """
import os
import time
from pathlib import Path

from tiny_search import objective as train


def objective(trial):
    value = train(trial)
    Path(f"{os.getpid()}.began").touch()
    while not Path("go on").exists():
        time.sleep(0.05)
    return value
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import what the tests import."""
    monkeypatch.setenv("PYTHONPATH", TESTS)


def shared(plan: ShrinkPlan, workers: int = 2, text: str | None = None, **given: Any) -> optuna.Study:
    """A run of workers, with the objective of `tiny_search` or that of a file."""
    if text is None:
        return go(plan, workers=workers, **given)
    origin = Named(f"{objective_file(Path.cwd(), text)}:objective")
    return go(plan, workers=workers, origin=origin, **given)


class Told:
    """A watcher that notes what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.finished: list[int] = []
        self.goals = self.runs = 0

    def run_started(self, budget: Any, study: optuna.Study) -> None:
        self.runs += 1

    def goal_set(self, goal: Any) -> None:
        self.goals += 1

    def trial_started(self, number: int, capture: Any) -> None:
        raise AssertionError("no trial begins in this process")

    def trial_finished(self, trial: optuna.trial.FrozenTrial) -> None:
        self.finished.append(trial.number)

    def said(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.slow
@pytest.mark.parametrize("into", ["new.log", "new.db"])
def test_workers_share_the_budget_and_the_repeats_exactly(plan: ShrinkPlan, into: str) -> None:
    told = Told()
    study = shared(plan, 3, into=into, trials=7, repeats=2, confirm=False, watcher=told)
    trials = study.get_trials()
    tickets = [ticket_of(study, trial) for trial in trials]
    assert sorted(ticket for ticket in tickets if ticket < 2**31) == list(range(7))
    assert len(tickets) == len(set(tickets)) == 9
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert sorted(told.finished) == list(range(9))
    assert (told.runs, told.goals) == (1, 1)
    assert study.user_attrs[RECORD]["stopped_because"] == "the budget of 7 trials is used up"
    assert study.user_attrs[RECORD]["options"]["workers"] == 3
    assert {trial.user_attrs[PROCESS]["worker"] for trial in trials} <= {1, 2, 3}
    assert os.getpid() not in {trial.user_attrs[PROCESS]["pid"] for trial in trials}


@pytest.mark.slow
def test_each_worker_sees_one_gpu_after_another(plan: ShrinkPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-b")
    monkeypatch.delenv("OMP_NUM_THREADS")
    study = shared(plan, 3, SEES, trials=9)
    seen = {
        trial.user_attrs[PROCESS]["worker"]: trial.user_attrs["CUDA_VISIBLE_DEVICES"]
        for trial in study.get_trials()
    }
    assert seen.items() <= {1: "5", 2: "GPU-b", 3: "5"}.items()
    threads = {trial.user_attrs["OMP_NUM_THREADS"] for trial in study.get_trials()}
    assert threads == {str(max(1, len(os.sched_getaffinity(0)) // 3))}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,GPU-b"
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.slow
def test_five_failures_in_a_row_end_all_workers(plan: ShrinkPlan) -> None:
    with pytest.raises(ObjectiveError, match="5 trials in a row failed, the last one with: ValueError"):
        shared(plan, 2, FAILS, trials=40)
    assert sum(trial.state == TrialState.FAIL for trial in load().trials) < 10


@pytest.mark.slow
def test_an_objective_that_stops_the_study_ends_all_workers(plan: ShrinkPlan) -> None:
    study = shared(plan, 2, STOPS, trials=40)
    assert study.user_attrs[RECORD]["stopped_because"] == "the objective stopped the study"
    states = [trial.state for trial in study.trials]
    assert 1 <= len(states) <= 4
    assert set(states) == {TrialState.COMPLETE}


@pytest.mark.slow
def test_a_run_whose_workers_are_all_gone_ends_in_one_line(plan: ShrinkPlan) -> None:
    told = Told()
    with pytest.raises(ObjectiveError, match="no worker is left: all 2 have ended, the last one ended with"):
        shared(plan, 2, DIES, trials=4, watcher=told)
    assert [line.partition(" (")[0] for line in told.lines[1:]] != []
    assert all("ended with exit status 3; its trial is tried again" in line for line in told.lines[1:])
    states = {trial.state.name for trial in load().trials}
    assert states == {"FAIL", "WAITING"}


@pytest.mark.slow
def test_a_configuration_that_ends_its_process_is_not_tried_without_limit(plan: ShrinkPlan) -> None:
    told = Told()
    study = shared(plan, 4, DIES_IN_ONE, trials=4, watcher=told)
    assert sum(trial.state == TrialState.COMPLETE for trial in study.get_trials()) == 3
    (failed,) = (t for t in study.get_trials() if t.state == TrialState.FAIL and uses_ticket(t))
    words = "the objective has ended its process 3 times: it ended with exit status 3"
    assert failed.user_attrs[REASON] == words
    assert failed.number in told.finished
    assert sum("its trial is tried again" in line for line in told.lines) == 2
    assert sum("its trial has failed" in line for line in told.lines) == 1


@pytest.mark.slow
def test_ends_are_counted_over_several_runs(plan: ShrinkPlan) -> None:
    with pytest.raises(ObjectiveError, match="no worker is left"):
        shared(plan, 2, DIES_IN_ONE, trials=3, watcher=Told())
    study = shared(plan, 2, DIES_IN_ONE, trials=3, watcher=Told())
    assert sum(uses_ticket(trial) for trial in study.get_trials()) == 3
    assert max(trial.user_attrs.get(ENDS, 0) for trial in study.get_trials()) == 3


PROGRAM = """
import sys
from pathlib import Path

import tiny_search
from galatune.study.scan.scan import scan
from galatune.study.search.processes.origin import Named

if __name__ == "__main__":
    try:
        study = tiny_search.go(
            scan("old.log"), workers=2, trials=4, origin=Named("tiny_objective.py:objective")
        )
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def waiting(plan: ShrinkPlan) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, both of whose workers are in the middle of a trial."""
    objective_file(Path.cwd(), WAITS)
    Path("program.py").write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, "program.py"], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        while len(pids()) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        yield process
        process.kill()


def pids() -> list[int]:
    return [int(file.stem) for file in Path.cwd().glob("*.began")]


def wait_until_gone(numbers: list[int]) -> None:
    while any(Path(f"/proc/{number}").exists() for number in numbers):
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c_ends_all_and_no_trial_stays_running(waiting: subprocess.Popen[str]) -> None:
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait() == 130
    wait_until_gone(pids())
    assert sorted(t.state.name for t in load().trials) == ["FAIL", "FAIL", "WAITING", "WAITING"]
    assert load().user_attrs[RECORD]["stopped_because"] == "interrupted"


@pytest.mark.slow
def test_a_killed_worker_is_named_and_its_trial_is_tried_again(waiting: subprocess.Popen[str]) -> None:
    os.kill(pids()[0], signal.SIGKILL)
    Path("go on").touch()
    _, said = waiting.communicate()
    assert waiting.returncode == 0
    assert f"(process {pids()[0]}) was ended by SIGKILL, as the system does if memory runs out; " in said
    states = sorted(trial.state.name for trial in load().trials)
    assert states == ["COMPLETE"] * 4 + ["FAIL"]


@pytest.mark.slow
def test_workers_end_if_the_process_that_started_them_is_killed(waiting: subprocess.Popen[str]) -> None:
    waiting.kill()
    wait_until_gone(pids())
    assert "RUNNING" not in {trial.state.name for trial in load().trials}


@pytest.mark.parametrize("workers", [0, 257])
def test_a_number_of_workers_out_of_range_is_refused(plan: ShrinkPlan, workers: int) -> None:
    with pytest.raises(PlanError, match=f"--workers must lie between 1 and 256, however: {workers}"):
        go(plan, workers=workers, trials=1)


def test_an_objective_that_cannot_be_imported_by_its_name_is_refused(plan: ShrinkPlan) -> None:
    with pytest.raises(PlanError, match=r"by its name, however: .*<lambda> cannot be"):
        go(plan, lambda trial: objective(trial), workers=2, trials=1)
    assert not load().trials


def test_a_pruner_that_cannot_be_pickled_is_refused(plan: ShrinkPlan) -> None:
    class Own(optuna.pruners.NopPruner):
        pass

    with pytest.raises(PlanError, match="that can be pickled, however: "):
        go(plan, workers=2, trials=1, pruner=Own())


def test_a_pilot_has_no_workers(plan: ShrinkPlan) -> None:
    with pytest.raises(PlanError, match="one pair after another; leave workers out"):
        pilot(plan, objective, options=RunOptions(workers=2), into="new.log")


@pytest.mark.parametrize(
    ("given", "seen"),
    [("0,1", ("0", "1")), ("GPU-a, 2", ("GPU-a", "2")), ("1,-1,2", ("1",)), ("", ()), ("-1", ())],
)
def test_what_the_environment_says_of_gpus_is_believed(
    monkeypatch: pytest.MonkeyPatch, given: str, seen: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == seen


def test_threads_that_the_environment_says_are_left_alone() -> None:
    assert Shares.of_machine(2, (), {"OMP_NUM_THREADS": "3"}).of(1) == {}
    assert Shares.of_machine(1000, (), {}).of(1) == {"OMP_NUM_THREADS": "1"}
    assert Shares(3, ("a", "b")).text().startswith("3 workers, one after another on 2 GPUs (a, b);")


def test_the_environment_is_as_before_once_a_worker_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.delenv("OMP_NUM_THREADS")
    with Shares(2, ("4", "5"), 1).inherited_by(2):
        assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"]) == ("5", "1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"
    assert "OMP_NUM_THREADS" not in os.environ


def test_output_in_pieces_becomes_whole_lines() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    for piece in (b"a\nb", b"c\r", b"d\r\n", b"\xff\ne", b"f"):
        lines.add(piece)
    assert said == ["a", "d", "\ufffd"]
    lines.end()
    lines.end()
    assert said == ["a", "d", "\ufffd", "ef"]


def test_what_names_an_objective_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Named("a.py:f", "/tmp"))) == Named("a.py:f", "/tmp")
