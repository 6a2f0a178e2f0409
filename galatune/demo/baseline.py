"""The old study of the demo: the learning rate searched, as it is usually done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import torch
from optuna.trial import FrozenTrial

from galatune.demo.objective import objective
from galatune.report.ledger import MACHINE_ATTRIBUTE
from galatune.study.machine import this_machine

__all__ = ["STUDY", "search"]

STUDY = "digits"


def search(path: Path, trials: int, seed: int, on_trial: Callable[[FrozenTrial], None]) -> None:
    """Run the old study, or what is missing of it.

    Args:
        path: SQLite file; made where it does not exist.
        trials: Number of trials in all.
        seed: Of the sampler and of torch.
        on_trial: Called with each finished trial.
    """
    study = optuna.create_study(
        study_name=STUDY,
        storage=f"sqlite:///{path}",
        sampler=optuna.samplers.TPESampler(seed=seed),
        load_if_exists=True,
    )
    # An ordinary study does not say where it ran; this one does, so that its hours can be compared.
    study.set_user_attr(MACHINE_ATTRIBUTE, {**this_machine(), "device": "cpu"})
    torch.manual_seed(seed)
    missing = max(0, trials - len(study.get_trials(deepcopy=False)))
    study.optimize(objective, n_trials=missing, callbacks=[lambda _, trial: on_trial(trial)])
