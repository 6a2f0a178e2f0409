"""The old study of the demo: the learning rate searched, as it is usually done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import torch
from optuna.trial import FrozenTrial

from galatune.demo.objective import objective
from galatune.errors import PlanError
from galatune.study.ledger.attributes import DEMO, MACHINE
from galatune.study.ledger.machine import this_machine
from galatune.study.storage.reading import open_source

__all__ = ["STUDY", "search"]

STUDY = "digits"


def search(path: Path, trials: int, seed: int, on_trial: Callable[[FrozenTrial], None]) -> None:
    """Run the old study, unless it is there already.

    An unfinished one starts anew: otherwise Optuna's sampler would draw its first configurations a second
    time, and the trials wasted on that would be reported as our saving.

    Args:
        path: SQLite file; made if it does not exist.
        trials: Number of trials in all.
        seed: Of the sampler and of torch.
        on_trial: Called with each finished trial.

    Raises:
        PlanError: The file holds a study that this demo did not make, or made with other options.
    """
    storage = f"sqlite:///{path}"
    made = {"seed": seed, "trials": trials}
    if path.exists() and not _unfinished(storage, path, made):
        return
    study = optuna.create_study(
        study_name=STUDY, storage=storage, sampler=optuna.samplers.TPESampler(seed=seed)
    )
    study.set_user_attr(DEMO, made)
    # An ordinary study does not say where it ran; this one does, so that its hours can be compared.
    study.set_user_attr(MACHINE, {**this_machine(), "device": "cpu"})
    torch.manual_seed(seed)
    study.optimize(objective, n_trials=trials, callbacks=[lambda _, trial: on_trial(trial)])


def _unfinished(storage: str, path: Path, made: dict[str, int]) -> bool:
    """Whether the study must be made; an unfinished one of ours is deleted first."""
    with open_source(str(path)) as source:
        found = {name: source.study(name) for name in source.names()}
        attributes = {name: study.user_attrs.get(DEMO) for name, study in found.items()}
        done = {name: sum(t.state.is_finished() for t in study.trials) for name, study in found.items()}
    if attributes.get(STUDY) != made or len(found) > 1:
        raise PlanError(
            f"'{path}' was not made by this demo with --trials {made['trials']} and --seed {made['seed']}; "
            "name another folder with --dir"
        )
    if done[STUDY] == made["trials"]:
        return False
    optuna.delete_study(study_name=STUDY, storage=storage)
    return True
