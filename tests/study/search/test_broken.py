"""What an objective, a disk or somebody else does to a running search: one line, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tiny_search import go, load, objective, outcome, yes

from galatune.errors import GalatuneError, PlanError, StorageError
from galatune.study.ledger.attributes import REASON, RECORD
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.only_here import only_in_this_process
from galatune.study.storage.writing import open_target

pytestmark = pytest.mark.usefixtures("folder")

KINDS = ["new.log", pytest.param("new.db", marks=pytest.mark.slow)]


def study_in(into: str) -> optuna.Study:
    """The smaller study, as another program opens it."""
    storage = RDBStorage(f"sqlite:///{into}") if into.endswith(".db") else None
    return optuna.load_study(
        study_name="old-gala", storage=storage or JournalStorage(JournalFileBackend(into))
    )


def at_trial(number: int, what: Callable[[Any], Any]) -> Callable[[Any], float]:
    """The objective, with something that happens in one trial, after its training."""

    def one(trial: Any) -> float:
        value = objective(trial)
        if trial.number == number:
            what(trial)
        return value

    return one


class OwnError(BaseException):
    """Not an `Exception`."""


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError


def endless(trial: Any) -> None:
    endless(trial)


def raising(error: BaseException) -> Callable[[Any], None]:
    def one(trial: Any) -> None:
        raise error

    return one


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (raising(OwnError("mine")), "OwnError: mine"),
        (raising(GeneratorExit()), "GeneratorExit"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(asyncio.CancelledError()), "CancelledError"),
        (raising(MemoryError()), "MemoryError"),
        (endless, "RecursionError"),
        (raising(UnspeakableError()), "UnspeakableError"),
        (raising(StopIteration()), "StopIteration"),
    ],
)
def test_whatever_an_objective_raises_ends_its_trial_alone(
    plan: ShrinkPlan, what: Callable[[Any], Any], reason: str
) -> None:
    study = go(plan, at_trial(1, what), trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials[1].user_attrs[REASON].startswith(reason)


# -- processes that the objective forks


def fork(then: Callable[[], Any]) -> Callable[[Any], None]:
    def one(trial: Any) -> None:
        child = os.fork()
        if child == 0:
            then()
        else:
            Path("status").write_text(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))

    return one


def leave(status: Any) -> Callable[[], None]:
    def one() -> None:
        raise SystemExit(status)

    return one


def fail() -> None:
    raise ValueError("the child's")


@pytest.mark.parametrize(
    ("then", "status"), [(lambda: None, 0), (leave(None), 0), (leave(7), 7), (leave("why"), 1), (fail, 1)]
)
def test_a_forked_child_never_comes_back_from_the_objective(
    plan: ShrinkPlan, then: Callable[[], Any], status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = outcome(go(plan, into="whole.log", trials=3))
    study = go(plan, at_trial(1, fork(then)), trials=3)
    assert Path("status").read_text() == str(status)
    assert outcome(study) == whole
    assert len(study.trials) == 3
    assert ("the child's" in capfd.readouterr().err) == (then is fail)


def test_a_forked_child_that_is_interrupted_ends_there(capfd: pytest.CaptureFixture[str]) -> None:
    with only_in_this_process():
        child = os.fork()
        if child == 0:
            raise KeyboardInterrupt
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert "KeyboardInterrupt" in capfd.readouterr().err


# -- what others do to the study


@pytest.mark.parametrize("into", KINDS)
@pytest.mark.parametrize("early", [False, True])
def test_a_study_that_is_deleted_while_it_runs(plan: ShrinkPlan, into: str, early: bool) -> None:
    def one(trial: Any) -> float:
        if early and trial.number == 1:
            optuna.delete_study(study_name="old-gala", storage=study_in(into)._storage)
        value = objective(trial)
        if trial.number == 1 and not early:
            optuna.delete_study(study_name="old-gala", storage=study_in(into)._storage)
        return value

    with pytest.raises(
        StorageError, match="was deleted by another process; the same command begins it again"
    ):
        go(plan, one, into=into, trials=3)
    assert len(go(plan, into=into, trials=3).trials) == 3


@pytest.mark.slow
def test_a_trial_that_is_deleted_while_it_runs(plan: ShrinkPlan) -> None:
    def delete(trial: Any) -> None:
        with closing(sqlite3.connect("new.db")) as connection:
            connection.execute("DELETE FROM trials WHERE number = 1")
            connection.commit()

    with pytest.raises(StorageError, match="a running trial of study 'old-gala' was deleted by another"):
        go(plan, at_trial(1, delete), into="new.db", trials=3)


@pytest.mark.parametrize("body", [5, "text", None, [], {}, {"schema": 99}, {"plan": 5}, "x" * 100_000])
def test_an_attribute_that_is_overwritten_while_it_runs(plan: ShrinkPlan, body: Any) -> None:
    study = go(plan, at_trial(1, lambda trial: load().set_user_attr(RECORD, body)), trials=3)
    assert study.user_attrs[RECORD]["stopped_because"] == "the budget of 3 trials is used up"
    with pytest.raises(PlanError, match="is not galatune's"):
        go(plan, trials=4, agree=yes)


@pytest.mark.parametrize("name", ["", "_ticket", "_process", "_stage", "_beat", "_interrupted"])
def test_an_attribute_of_a_trial_that_is_overwritten(plan: ShrinkPlan, name: str) -> None:
    values = [5, "text", [], {}, True, -1, 10**30, 1e300, {"schema": 1}]

    def overwrite(trial: Any) -> float:
        value = objective(trial)
        trial.study._storage.set_trial_user_attr(trial._trial_id, f"galatune{name}", values[trial.number])
        return value

    study = go(plan, overwrite, trials=len(values))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * len(values)


# -- disks and files


@pytest.mark.parametrize("into", KINDS)
@pytest.mark.parametrize("room", [0, 300])
def test_a_full_disk_is_one_line_and_the_same_command_continues(
    plan: ShrinkPlan, into: str, room: int
) -> None:
    whole = outcome(go(plan, into="whole.log", trials=4))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(trial: Any) -> None:
        size = Path(into).stat().st_size + room
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    try:
        with pytest.raises(StorageError, match="the same command continues") as caught:
            go(plan, at_trial(1, fill), into=into, trials=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert study_in(into).trials[0].state == TrialState.COMPLETE
    assert outcome(go(plan, into=into, trials=4, agree=yes)) == whole


DAMAGED = {
    "head.db": b"SQLite format 3\0" + b"x" * 4000,
    "short.db": b"SQLite format 3\0",
    "other.log": b'{"op_code": "open", "file": "a.txt"}\n{"op_code": "close"}\n',
    "codes.log": b'{"op_code": 77, "worker_id": "a"}\n',
    "fields.log": b'{"op_code": 0, "worker_id": "a"}\n',
    "list.log": b'{"op_code": [0]}\n',
    "text.txt": b"hello\n",
    "nul.log": b"\0" * 100,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_line_and_left_as_it_is(plan: ShrinkPlan, name: str) -> None:
    Path(name).write_bytes(DAMAGED[name])
    for act in (lambda: go(plan, into=name, trials=1), lambda: scan(name)):
        with pytest.raises(StorageError) as caught:
            act()
        assert "\n" not in str(caught.value)
    assert Path(name).read_bytes() == DAMAGED[name]


@pytest.mark.parametrize("name", ["empty.log", pytest.param("empty.db", marks=pytest.mark.slow)])
def test_an_empty_file_is_a_new_one(plan: ShrinkPlan, name: str) -> None:
    Path(name).touch()
    assert len(go(plan, into=name, trials=1).trials) == 1


def special(name: str) -> str:
    if name == "pipe":
        os.mkfifo(name)
    elif name == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(name)
    elif name == "link":
        Path(name).symlink_to("/dev/null")
    return name


@pytest.mark.parametrize(
    "name", ["pipe", "socket", "link", "/dev/null", "/dev/zero", "/dev/full", "sqlite:////dev/null", "."]
)
def test_what_is_no_file_is_refused_without_being_opened(plan: ShrinkPlan, name: str) -> None:
    place = special(name)
    for act in (lambda: go(plan, into=place, trials=1), lambda: scan(place)):
        with pytest.raises(GalatuneError, match=r"device, a pipe or a socket|directory") as caught:
            act()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["[1, 2]", "5", '{"op_code": 99, "worker_id": "x"}', "{}"])
def test_a_journal_that_others_wrote_into_is_damaged(plan: ShrinkPlan, line: str) -> None:
    go(plan, into="new.log", trials=1)
    with Path("new.log").open("a") as file:
        file.write(f"{line}\n")
    before = Path("new.log").read_bytes()
    with pytest.raises(StorageError, match=r"journal is damaged: 'new.log' .*with --into") as caught:
        go(plan, into="new.log", trials=2)
    assert "\n" not in str(caught.value)
    assert Path("new.log").read_bytes() == before


@pytest.mark.parametrize("into", ["new.log", "new.db"])
def test_a_file_that_is_deleted_meanwhile_is_one_line(plan: ShrinkPlan, into: str) -> None:
    def deletes(trial: Any) -> float:
        Path(into).unlink()
        return objective(trial)

    with pytest.raises(StorageError, match=rf"file {into} is gone") as caught:
        go(plan, deletes, into=into, trials=2)
    assert "\n" not in str(caught.value)


def test_a_journal_that_is_shortened_meanwhile_ends_the_run(plan: ShrinkPlan) -> None:
    def shortens(trial: Any) -> float:
        os.truncate("new.log", 0)
        return objective(trial)

    with pytest.raises(StorageError, match="shortened the file"):
        go(plan, shortens, into="new.log", trials=2)
    assert Path("new.log").read_bytes() == b""


def test_a_target_may_be_a_link(plan: ShrinkPlan) -> None:
    Path("link.log").symlink_to("real.log")
    go(plan, into="link.log", trials=1)
    assert Path("link.log").is_symlink()
    assert len(go(plan, into="real.log", trials=2).trials) == 2


def test_a_loop_of_links_is_one_line(plan: ShrinkPlan) -> None:
    Path("a.log").symlink_to("b.log")
    Path("b.log").symlink_to("a.log")
    with pytest.raises(StorageError) as caught:
        open_target("a.log", "old", source="old.log")
    assert "\n" not in str(caught.value)
