"""What several workers cost: trials that sleep, in turns with plain Optuna in as many processes."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.trial import TrialState, create_trial

from galatune.bench.cost.sleeping import Sleeping, noted_storage, space
from galatune.errors import GalatuneError

__all__ = ["Compared", "Run", "compare_workers"]

RATE = 1e-3
"""The rate is pinned here: control works, and decides nothing."""

OLD_TRIALS = 5
NAME = "new"


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        seconds: From the first trial's start to the last one's end.
        outside: The rest of the time that it took: the start of the processes, and their end.
        database: In which a process used the database, meanwhile and on average.
    """

    seconds: float
    outside: float
    database: float


@dataclass(frozen=True)
class Compared:
    """Searches with some number of workers.

    Attributes:
        workers: The number.
        trials: Of each search.
        plain: Those of plain Optuna, in the order in which they ran.
        controlled: Those of galatune, each right after or before the plain one in its place.
    """

    workers: int
    trials: int
    plain: tuple[Run, ...]
    controlled: tuple[Run, ...]

    @property
    def more(self) -> float:
        """How much longer the median search of galatune took, as a share."""
        return self._median(lambda run: run.seconds)

    @property
    def more_without_database(self) -> float:
        """The same without the time in which the database was used."""
        return self._median(lambda run: run.seconds - run.database)

    def _median(self, what: Callable[[Run], float]) -> float:
        ours, theirs = (statistics.median(map(what, runs)) for runs in (self.controlled, self.plain))
        return ours / theirs - 1.0


def compare_workers(
    workers: Sequence[int], trials: int, seconds: float, repeats: int, progress: Callable[[int, int], None]
) -> list[Compared]:
    """Search in turns: plain and galatune, galatune and plain, and so on.

    Args:
        workers: Numbers of workers.
        trials: Of each search, a multiple of all of them.
        seconds: That a trial sleeps.
        repeats: Searches of either kind per number of workers.
        progress: Called with (searches done, searches in all).

    Raises:
        GalatuneError: The trials cannot be shared evenly.
    """
    uneven = [number for number in workers if trials % number]
    if uneven:
        raise GalatuneError(f"--trials must be a multiple of --workers, however: {trials} by {uneven[0]}")
    found, done = [], 0
    for number in workers:
        runs: dict[str, list[Run]] = {"plain": [], "controlled": []}
        for turn in range(repeats):
            for kind in sorted(runs, reverse=turn % 2 == 0):
                runs[kind].append(_measured(kind, number, trials, seconds))
                done += 1
                progress(done, 2 * repeats * len(workers))
        found.append(Compared(number, trials, tuple(runs["plain"]), tuple(runs["controlled"])))
    return found


def _measured(kind: str, workers: int, trials: int, seconds: float) -> Run:
    """One search, in fresh processes and a fresh SQLite file."""
    search = {"plain": _plain, "controlled": _controlled}[kind]
    with TemporaryDirectory(prefix="galatune-") as made:
        began = time.monotonic()
        search(Path(made), workers, trials, seconds)
        took = time.monotonic() - began
        noted = noted_storage(Path(made))
        study = optuna.load_study(study_name=NAME, storage=_url(Path(made, "new.db")))
        done = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if len(done) != trials:
        raise GalatuneError(f"{len(done)} of {trials} trials are complete: nothing can be compared")
    first = min(trial.datetime_start for trial in done if trial.datetime_start is not None)
    last = max(trial.datetime_complete for trial in done if trial.datetime_complete is not None)
    span = (last - first).total_seconds()
    return Run(span, took - span, noted / workers)


def _url(file: Path) -> str:
    return f"sqlite:///{file}"


def _plain(folder: Path, workers: int, trials: int, seconds: float) -> None:
    """``study.optimize`` in each process, with its share of the trials and a sampler of its own."""
    with _quiet_pool(workers) as pool:
        pool.submit(_make_study, folder).result()
        shares = [pool.submit(_optimize, folder, seed, trials // workers, seconds) for seed in range(workers)]
        for share in shares:
            share.result()


def _make_study(folder: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name=NAME, storage=_url(folder / "new.db"))


def _optimize(folder: Path, seed: int, trials: int, seconds: float) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.load_study(study_name=NAME, storage=_url(folder / "new.db"), sampler=sampler)
    study.optimize(Sleeping(seconds, str(folder)), n_trials=trials)


def _controlled(folder: Path, workers: int, trials: int, seconds: float) -> None:
    with _quiet_pool(1) as pool:
        pool.submit(_run, folder, workers, trials, seconds).result()


def _run(folder: Path, workers: int, trials: int, seconds: float) -> None:
    """`galatune.run`, which starts the workers."""
    from galatune.study.scan.scan import scan
    from galatune.study.search.options import RunOptions
    from galatune.study.search.run import run

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    old = optuna.create_study(study_name="old", storage=_url(folder / "old.db"))
    sampler = optuna.samplers.RandomSampler(seed=0)
    drawn = optuna.create_study(sampler=sampler)
    for number in range(OLD_TRIALS):
        params = drawn.ask(space()).params
        old.add_trial(create_trial(value=float(number), params=params, distributions=space()))
    plan = scan(_url(folder / "old.db"))
    objective = Sleeping(seconds, str(folder))
    options = RunOptions(trials=trials, repeats=0, min_lr=RATE, max_lr=RATE, prior=False, workers=workers)
    run(plan, objective, into=str(folder / "new.db"), name=NAME, options=options)


def _quiet_pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
