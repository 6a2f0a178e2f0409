"""The processes that run the trials of a study: which of them are gone.

A process of this machine is looked up by its number and start time. Of any other, on another machine, in
another container or from before a restart, only its beat is seen: each counts up an attribute of its trial,
twice a minute. Clocks are not compared: whoever waits for a beat measures with its own clock how long the
attribute has not changed.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from galatune.study.ledger.attributes import BEAT, PROCESS
from galatune.study.ledger.machine import is_alive, this_process

__all__ = ["Heart", "Workers", "let_go", "new_claim", "work_for"]

BEAT_SECONDS = 30.0
"""Between two beats: in a journal, each of them is a line of 120 characters."""

MISSED_BEATS = 5
"""A process is gone once this many have not come."""

CLAIM_SECONDS = 5.0
"""Longer than a process takes from beginning a trial to claiming it, or from releasing one to queueing it."""

_run: dict[str, Any] = {}
"""The run that this process works for: its "run", and "worker", the number in it. Empty if there is none."""

_claims: dict[str, int] = {}
"""Claims of this process that are at work, and the thread of each."""


def new_claim() -> dict[str, Any]:
    """What a process notes in a trial that is its own; it is at work until this thread lets go."""
    claim = uuid.uuid4().hex
    _claims[claim] = threading.get_ident()
    return {**this_process(), "claim": claim, "beat": BEAT_SECONDS, **_run}


def work_for(run: str, worker: int) -> None:
    """Say in each claim from here on that this process is a worker.

    Args:
        run: What its run alone is called.
        worker: Number of this process, from 1.
    """
    _run.update(run=run, worker=worker)


def let_go() -> None:
    """Whatever this thread has claimed is not at work any longer."""
    for claim in [one for one, thread in _claims.items() if thread == threading.get_ident()]:
        del _claims[claim]


class Workers:
    """What one process has seen of those that share a study with it."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[str, float, bool]] = {}

    def is_gone(self, trial: FrozenTrial) -> bool:
        """Whether the process of a running trial has certainly ended, or its beat has stopped."""
        process = trial.user_attrs.get(PROCESS)
        alive = _is_at_work(process)
        if alive is not None:
            return not alive
        return self._unchanged(trial) > _patience(process)

    def has_left(self, trial: FrozenTrial) -> bool:
        """Whether the process that released a trial will not queue its configuration any more."""
        alive = _is_at_work(trial.user_attrs.get(PROCESS))
        return alive is False or self._unchanged(trial) > CLAIM_SECONDS

    def awaited(self, study: optuna.Study) -> bool:
        """Whether a trial is running of which only time can tell whether its process is gone.

        Or in another worker of the same run: nobody else would go on with it, or with what comes after it.
        """
        return any(
            _is_of_this_run(trial.user_attrs.get(PROCESS))
            or (_is_at_work(trial.user_attrs.get(PROCESS)) is None and not self._has_changed(trial))
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        )

    def _unchanged(self, trial: FrozenTrial) -> float:
        """Seconds for which a trial has looked as it does now."""
        now = time.monotonic()
        look = repr([trial.state, trial.user_attrs.get(PROCESS), trial.user_attrs.get(BEAT)])
        before, since, _ = self._seen.get(trial._trial_id, (look, now, False))
        if look != before:
            since = now
        self._seen[trial._trial_id] = look, since, self._has_changed(trial) or look != before
        return now - since

    def _has_changed(self, trial: FrozenTrial) -> bool:
        return self._seen.get(trial._trial_id, ("", 0.0, False))[2]


class Heart:
    """Lets others see that this process is alive, while it runs a trial of a study.

    Args:
        study: The smaller study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._key: int | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @contextmanager
    def beating(self, trial: optuna.trial.Trial) -> Iterator[None]:
        """Count up an attribute of a trial."""
        self._key = trial._trial_id
        try:
            yield
        finally:
            self._key = None

    def _beat(self) -> None:
        count = 0
        while not self._end.wait(BEAT_SECONDS):
            count, key = count + 1, self._key
            # It may be released or deleted, which its end will say; a server that is away may come back.
            with suppress(Exception):
                if key is not None:
                    self._study._storage.set_trial_user_attr(key, BEAT, count)


def _is_at_work(process: Any) -> bool | None:
    """None if only time can tell."""
    alive = is_alive(process)
    if not alive or process["pid"] != os.getpid():
        return alive
    return process.get("claim") in _claims


def _is_of_this_run(process: Any) -> bool:
    """Whether a process is another worker of the same run, and alive."""
    same = isinstance(process, Mapping) and bool(_run) and process.get("run") == _run["run"]
    return same and process.get("worker") != _run["worker"] and bool(is_alive(process))


def _patience(process: Any) -> float:
    """Seconds without a beat after which a process is gone; one that has not said who it is has none."""
    if not isinstance(process, Mapping):
        return CLAIM_SECONDS
    beat = process.get("beat")
    return MISSED_BEATS * (beat if isinstance(beat, (int, float)) and 0 < beat < 3600 else BEAT_SECONDS)
