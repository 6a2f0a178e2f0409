"""The best trial so far, for code that asks for it from its second trial on.

Repeats of the old best and trainings of a pilot come before the search and are no results of it, so
`study.best_trial` knows none yet. Code of a user guards its first trial at most, as in ``if trial.number == 0
or value < trial.study.best_value: save()``. So it gets the best of those.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from galatune.errors import ObjectiveError
from galatune.study.search.searched_view import is_repeat

__all__ = ["BestSoFar", "best_so_far", "forget_best_so_far", "know_best_so_far"]


OWN = "of the very study that runs it; return the value, and ask a study of your own for more trials"


class BestSoFar(optuna.Study):
    """A study of which the trials before the search count as long as the search has no result."""

    @property
    def best_trial(self) -> FrozenTrial:
        """See `optuna.Study`, also of ``best_value`` and ``best_params``, which ask this."""
        try:
            return super().best_trial
        except ValueError:
            found = [t for t in self.get_trials(deepcopy=False) if is_repeat(t) and _has_value(t)]
            if not found:
                raise
        best = max if self.direction == StudyDirection.MAXIMIZE else min
        return copy.deepcopy(best(found, key=lambda trial: trial.values[0]))

    def __reduce__(self) -> Any:
        """A copy is an ordinary study."""
        return object.__new__, (optuna.Study,), self.__getstate__()


class AtWork(BestSoFar):
    """The smaller study while an objective runs: its trials are begun and written down elsewhere."""

    def ask(self, *args: Any, **kwargs: Any) -> Trial:
        """Refused: it would be trained without control, and counted."""
        raise ObjectiveError(f"the objective asks for a trial {OWN}")

    def tell(self, *args: Any, **kwargs: Any) -> FrozenTrial:
        """Refused: what was controlled would not be written down."""
        raise ObjectiveError(f"the objective tells how a trial ended {OWN}")


def _has_value(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and trial.values is not None


def know_best_so_far(study: optuna.Study, kind: type[BestSoFar] = BestSoFar) -> None:
    """Put a study under this class; nothing if it is of a class of somebody else."""
    if type(study) is optuna.Study:
        study.__class__ = kind


def forget_best_so_far(study: optuna.Study) -> None:
    """Make it an ordinary study again."""
    if type(study) in (BestSoFar, AtWork):
        study.__class__ = optuna.Study


@contextmanager
def best_so_far(study: optuna.Study) -> Iterator[None]:
    """While an objective runs that may ask this study."""
    know_best_so_far(study, AtWork)
    try:
        yield
    finally:
        forget_best_so_far(study)
