"""What `Trainer.hyperparameter_search` would optimize, as an objective that `galatune.run` takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate.utils.memory import release_memory
from transformers.trainer_utils import (
    HPSearchBackend,
    default_compute_objective,
    default_hp_space_optuna,
)

from galatune.errors import PlanError

__all__ = ["objective"]


def objective(
    trainer: Any,
    hp_space: Callable[[Any], dict[str, Any]] | None = None,
    compute_objective: Callable[[dict[str, float]], Any] | None = None,
    hp_name: Callable[[Any], str] | None = None,
) -> Callable[[Any], Any]:
    """What ``trainer.hyperparameter_search(hp_space, compute_objective, backend="optuna")`` optimizes.

    The study that the search stored (its ``storage=`` and ``study_name=``) is the old one.

    Args:
        trainer: With a `model_init`, as for `hyperparameter_search`.
        hp_space: Of a trial to a dict of `TrainingArguments`; None for the default of Transformers.
        compute_objective: Of the metrics of `evaluate` to the value, or values; None for its default.
        hp_name: Of a trial to the name of its run.

    Returns:
        Takes an Optuna trial, trains and evaluates, and returns the value.

    Raises:
        PlanError: The trainer has no `model_init`, so that trials could not begin anew.

    Example:
        >>> objective = galatune_transformers.objective(trainer, hp_space)  # doctest: +SKIP
        >>> galatune.run(galatune.scan("old.db"), objective)  # doctest: +SKIP
    """
    if getattr(trainer, "model_init", None) is None:
        raise PlanError(
            "a Trainer that makes its model anew for each trial is needed, however: this one has no "
            "model_init; give Trainer(model_init=...) instead of model="
        )
    space = default_hp_space_optuna if hp_space is None else hp_space
    value_of = default_compute_objective if compute_objective is None else compute_objective

    def trial_objective(trial: Any) -> Any:
        before = trainer.hp_search_backend
        trainer.hp_search_backend = HPSearchBackend.OPTUNA
        trainer.hp_space, trainer.hp_name, trainer.compute_objective = space, hp_name, value_of
        trainer.objective = None
        try:
            trainer.train(trial=trial)
            if trainer.objective is None:  # not evaluated while it trained
                trainer.objective = value_of(trainer.evaluate())
            return trainer.objective
        finally:
            trainer.hp_search_backend = before
            trainer.model_wrapped, trainer.model = release_memory(trainer.model_wrapped, trainer.model)
            trainer.accelerator.clear()

    return trial_objective
