"""Workers are killed at random, a hundred times: no ticket is lost, none is run twice at once.

One command runs all rounds, with a line for each:
``GALATUNE_KILL_ROUNDS=100 python -m pytest -m slow tests/study/search/test_kills.py``.
A failed round is repeated with ``GALATUNE_KILL_SEED`` and one round.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import kill_worker
import optuna
import pytest
from tiny_search import old_study

from galatune.study.ledger.attributes import GOAL, STAGE
from galatune.study.search.lanes import FIRST_ON_TOP, repeat_tickets
from galatune.study.search.quota import ticket_of, uses_ticket
from galatune.study.storage.writing import open_target

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("interruptible")]

ROUNDS = int(os.environ.get("GALATUNE_KILL_ROUNDS", "9"))
FIRST_SEED = int(os.environ.get("GALATUNE_KILL_SEED", "0"))
STORAGES = ("journal", "sqlite", "postgresql")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WORKERS = 3
TRIALS = 12
LONGEST = 600
"""Seconds after which a worker that nobody kills hangs."""

OBJECTIVE = "from kill_worker import objective as objective\n"


class Workers:
    """Those at work. Every twentieth round they are commands; else they are forked, which takes no import."""

    def __init__(self, folder: Path, into: str, commands: bool) -> None:
        self._folder, self._into, self._commands = folder, into, commands
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["warm_kill_worker"])
        self.alive: list[Any] = []

    def start(self) -> None:
        made = self._command() if self._commands else self._forked()
        self.alive.append(made)

    def _forked(self) -> BaseProcess:
        process = self._context.Process(
            target=kill_worker.work, args=(str(self._folder), self._into, TRIALS), daemon=True
        )
        process.start()
        return process

    def _command(self) -> subprocess.Popen[bytes]:
        program = Path(sys.executable).parent / "galatune"
        options = f"--yes --into {self._into} --trials {TRIALS}"
        arguments = [program, "run", "old.log", "objective.py:objective", *options.split()]
        with (self._folder / "commands.txt").open("ab") as output:
            return subprocess.Popen(arguments, cwd=self._folder, stdout=output, stderr=output)

    def kill(self, chance: random.Random, number: signal.Signals) -> bool:
        """Kill one of them, wait until it has ended, and start another; False if all have ended."""
        busy = [worker for worker in self.alive if _runs(worker)]
        if busy:
            worker = chance.choice(busy)
            os.kill(worker.pid, number)
            self._ended(worker)
            self.start()
        return bool(busy)

    def wait(self) -> None:
        """Until all have ended by themselves."""
        for worker in list(self.alive):
            self._ended(worker)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self.alive):
            worker.kill()
            self._ended(worker)

    def _ended(self, worker: Any) -> None:
        if isinstance(worker, subprocess.Popen):
            worker.wait(LONGEST)
        else:
            worker.join(LONGEST)
            assert worker.exitcode is not None, "a worker never ends"
        self.alive.remove(worker)


def _runs(worker: Any) -> bool:
    return worker.poll() is None if isinstance(worker, subprocess.Popen) else worker.is_alive()


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that forks workers imports them once, and commands the objective."""
    monkeypatch.setenv("PYTHONPATH", str(Path(kill_worker.__file__).parent), prepend=os.pathsep)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + ROUNDS))
def test_whoever_is_killed_every_ticket_ends_in_one_trial(
    seed: int, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(seed)
    kind, number = STORAGES[seed % 3], SIGNALS[seed // 3 % 3]
    places = {"journal": "new.log", "sqlite": "new.db"}
    into = places[kind] if kind in places else request.getfixturevalue("postgresql_url")
    old_study(str(tmp_path / "old.log"))
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    notes = tmp_path / kill_worker.NOTES
    begun = time.monotonic()
    with Workers(tmp_path, into, commands=seed % 20 == 0) as workers:
        kills = kill_at_random(workers, chance, number, notes)
        workers.wait()
        workers.start()  # the same command, once more
        workers.wait()
    place = into if "://" in into else str(tmp_path / into)
    study = optuna.load_study(study_name="old-gala", storage=open_target(place, "old", source="old.log"))
    runs = executions(notes)
    check_laws(study, runs)
    with capsys.disabled():
        seconds, ran = time.monotonic() - begun, sum(map(len, runs.values()))
        words = f"{kills} kills, {ran} executions of {len(runs)} tickets, {seconds:.0f} s"
        print(f"\nseed {seed}: {kind}, {number.name}, {words}", end=" ")


def kill_at_random(workers: Workers, chance: random.Random, number: signal.Signals, notes: Path) -> int:
    """How many were killed."""
    for _ in range(WORKERS):
        workers.start()
    while not notes.exists():  # until they are busy
        assert any(map(_runs, workers.alive))
        time.sleep(0.01)
    kills = 0
    for _ in range(chance.randint(3, 9)):
        time.sleep(chance.uniform(0.0, 0.4))
        kills += workers.kill(chance, number)
    return kills


Execution = dict[str, Any]


def executions(notes: Path) -> dict[int, list[Execution]]:
    """By ticket, in the order in which they began: trial, process, first and last sign of life, value."""
    found: dict[tuple[int, int, int], Execution] = {}
    for line in notes.read_text().splitlines():
        what, ticket, number, pid, *value, at = line.split()
        key = (int(ticket), int(number), int(pid))
        run = found.setdefault(key, {"number": key[1], "pid": key[2], "begin": float(at), "value": None})
        run["last"] = float(at)
        if what == "end":
            run["value"] = float(value[0])
    by_ticket = defaultdict(list)
    for key, run in sorted(found.items(), key=lambda item: float(item[1]["begin"])):
        by_ticket[key[0]].append(run)
    return by_ticket


def check_laws(study: optuna.Study, runs: dict[int, list[Execution]]) -> None:
    trials = study.get_trials()
    tickets = {trial.number: ticket_of(study, trial) for trial in trials}
    finished = [trial for trial in trials if uses_ticket(trial)]
    assert sorted(tickets[trial.number] for trial in finished) == list(range(TRIALS))
    left = [tickets[trial.number] for trial in trials if not trial.state.is_finished()]
    assert all(TRIALS <= ticket < FIRST_ON_TOP for ticket in left), "a ticket of the budget is left"
    assert {trial.state.name for trial in finished} == {"COMPLETE"}
    check_repeats(study, tickets)
    for ticket, made in runs.items():
        for one, next_one in itertools.pairwise(made):
            assert one["last"] <= next_one["begin"], f"two executions of ticket {ticket} overlap"
        numbers = [one["number"] for one in made]
        assert len(set(numbers)) == len(numbers), f"a trial of ticket {ticket} ran twice"
        assert {tickets[number] for number in numbers} == {ticket}, "a ticket changed"
    for trial in finished:
        (ran,) = [one for one in runs[tickets[trial.number]] if one["number"] == trial.number]
        assert ran["value"] == trial.value
    check_configurations(trials, tickets)


def check_repeats(study: optuna.Study, tickets: dict[int, int]) -> None:
    """Exactly so many, each once, all before the first trial of the search, and the goal is their mean."""
    complete = [trial for trial in study.get_trials() if trial.state.name == "COMPLETE"]
    repeats = [trial for trial in complete if trial.user_attrs.get(STAGE) == "repeat"]
    assert sorted(tickets[trial.number] for trial in repeats) == repeat_tickets(kill_worker.REPEATS)
    searched = [trial for trial in complete if uses_ticket(trial)]
    assert max(t.datetime_complete for t in repeats) <= min(t.datetime_start for t in searched)
    in_order = sorted(repeats, key=lambda trial: tickets[trial.number])
    assert study.user_attrs[GOAL]["values"] == [trial.value for trial in in_order]
    confirming = [trial for trial in complete if trial.user_attrs.get(STAGE) == "confirm"]
    used = [tickets[trial.number] for trial in confirming]
    assert len(set(used)) == len(used), "a repeat that confirms ran twice"
    assert len(used) % kill_worker.REPEATS == 0, "a repeat that confirms is missing"


def check_configurations(trials: list[optuna.trial.FrozenTrial], tickets: dict[int, int]) -> None:
    """Whatever of a configuration was known is tried again."""
    for trial in trials:
        later = [
            one
            for one in trials
            if tickets[one.number] == tickets[trial.number] and one.number > trial.number
        ]
        for one in later:
            known = {**one.system_attrs.get("fixed_params", {}), **one.params}
            assert {**known, **trial.params} == known
