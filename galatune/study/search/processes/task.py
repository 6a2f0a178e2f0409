"""What a worker is given."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import optuna

from galatune.errors import PlanError
from galatune.formatting import first_line
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.objective import Objective
from galatune.study.search.options import RunOptions, Search, Watcher
from galatune.study.search.processes.origin import Origin
from galatune.study.search.pruning import Pruning
from galatune.study.search.sampler import sampler_for, sampler_name
from galatune.study.search.searched_view import SearchedSampler
from galatune.study.search.stopping import Budget
from galatune.study.storage.address import is_url, sqlite_file
from galatune.study.storage.writing import open_target

__all__ = ["Task", "task_of"]


@dataclass(frozen=True)
class Task:
    """A search, as plain data.

    Attributes:
        run: What this run alone is called.
        place: File or URL of the smaller study.
        name: Its name.
        plan: What is dropped.
        options: How its trials run.
        budget: Says when it is over.
        pruning: Its pruner; without one if the script makes it.
        origin: Where the objective comes from.
    """

    run: str
    place: str
    name: str
    plan: ShrinkPlan
    options: RunOptions
    budget: Budget
    pruning: Pruning
    origin: Origin

    def pickled(self) -> bytes:
        """For another process.

        Raises:
            PlanError: A sampler or a pruner cannot be given to one.
        """
        try:
            return pickle.dumps(self)
        except Exception as error:
            raise PlanError(
                "workers need a sampler, a pruner and an objective that can be pickled, however: "
                f"{first_line(error)}; name a sampler and a pruner of Optuna's, or leave workers out"
            ) from None

    def search(self, objective: Objective, options: RunOptions, watcher: Watcher) -> Search:
        """Open the study, whose sampler draws for this process.

        A sampler that was given as an object gets other random numbers than in any other worker; those of
        ours follow the tickets.

        Args:
            objective: From `origin`.
            options: Those of the run, with what a script adds.
            watcher: Told how it proceeds.
        """
        storage = open_target(self.place, self.plan.study, source="", name=self.name)
        drawing = sampler_for(options.sampler, self.plan, options.seed)
        if drawing is options.sampler:
            drawing.reseed_rng()
        given = options.pruner
        pruning = replace(self.pruning, pruner=given) if isinstance(given, PRUNER) else self.pruning
        sampler = SearchedSampler(drawing, sampler_name(drawing))
        study = optuna.load_study(
            study_name=self.name, storage=storage, sampler=sampler, pruner=pruning.pruner
        )
        return Search(study, self.plan, objective, options, self.budget, watcher, pruning=pruning)


PRUNER = optuna.pruners.BasePruner


def task_of(search: Search, run: str, origin: Origin, place: str) -> Task:
    """The task of each worker of a search.

    Args:
        search: The search.
        run: What the run alone is called.
        origin: Where the objective comes from.
        place: File or URL of the smaller study, from here.
    """
    options = origin.for_worker(search.options)
    of_script = options.pruner is None and isinstance(search.options.pruner, PRUNER)
    pruning = replace(search.pruning, pruner=PRUNER_OF_NOBODY) if of_script else search.pruning
    name = search.study.study_name
    return Task(run, _absolute(place), name, search.plan, options, search.budget, pruning, origin)


PRUNER_OF_NOBODY = optuna.pruners.NopPruner()


def _absolute(place: str) -> str:
    """A file by its whole path: what runs before the search may change the working directory."""
    path = sqlite_file(place) if is_url(place) else Path(place)
    return place if path is None else str(path.absolute())
