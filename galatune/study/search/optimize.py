"""`optimize`: ``study.optimize`` with the learning rates under control and out of the search."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from galatune.controller.controlled import Capture, Choice, LeftAlone, controlled
from galatune.controller.options import Options
from galatune.controller.torch_hooks.traced_numbers import plain
from galatune.controller.torch_hooks.traced_rates import InitialRates, tracing
from galatune.errors import PlanError
from galatune.formatting import listed, printable
from galatune.study.ledger.attributes import DROPPED, RECORD
from galatune.study.search.attempt import NOT_THE_TYPE
from galatune.study.search.objective import Objective
from galatune.study.search.only_here import only_in_this_process
from galatune.study.search.pruning import CurveWatch, Pruning
from galatune.study.search.second_construction import StoppedAtFirstStep
from galatune.study.search.select_optimizers import OptimizerSelection, RateKnowledge
from galatune.study.search.suggested_space import SpaceTrial, SuggestedSpace, plan_of
from galatune.study.search.trial_run import nothing_controlled, record_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from galatune.controller.options import ControlOptions

__all__ = ["optimize"]


def optimize(
    study: optuna.Study,
    objective: Objective,
    n_trials: int | None = None,
    timeout: float | None = None,
    n_jobs: int = 1,
    catch: Iterable[type[Exception]] | type[Exception] = (),
    callbacks: Iterable[Callable[[optuna.Study, FrozenTrial], None]] | None = None,
    gc_after_trial: bool = False,
    show_progress_bar: bool = False,
    *,
    lr: Collection[str] = (),
    keep: Collection[str] = (),
    drop_schedule: bool = False,
    **options: Unpack[ControlOptions],
) -> None:
    """``study.optimize`` in which the learning rate is controlled and not searched. No old study is needed.

    The rules of `galatune.scan` decide what a learning rate is, by the names that the objective suggests and
    those of the study's trials. In the first trial of an empty study only the names before it are known: a
    rate that cannot be told by them is searched in that trial. A rate is answered with a constant and is no
    parameter of the trial; the optimizers that follow it are controlled.

    Each controlled trial has the user attributes ``galatune`` (what was controlled and what it cost),
    ``galatune_lr_peak`` and ``galatune_lr_final`` (highest and last rate as applied), and
    ``galatune_dropped``, from which `galatune.fixed_trial` answers an objective in full.

    What cannot be controlled trains as it would without: a trial whose optimizer sets its own step is begun
    again with its rate from the sampler; if no torch optimizer steps, the trial keeps the constant as its
    parameter, a warning says why, and the next trials search the rate. Nothing is seeded. There is no goal
    and no comparison with another search: for those, see `galatune.run`.

    Args:
        study: Continued where it is.
        objective: Unchanged.
        n_trials: This and the following arguments are those of ``study.optimize``.
        timeout: In seconds; see ``study.optimize``.
        n_jobs: See ``study.optimize``.
        catch: See ``study.optimize``.
        callbacks: See ``study.optimize``.
        gc_after_trial: See ``study.optimize``.
        show_progress_bar: See ``study.optimize``.
        lr: Parameters that are learning rates in any case; see `galatune.scan`.
        keep: Parameters that are searched in any case; see `galatune.scan`.
        drop_schedule: Drop schedules and multipliers as well; see `galatune.scan`.
        **options: Those of `galatune.attach`.

    Raises:
        ControlError: An option is out of range.
        PlanError: ``lr`` and ``keep`` name the same parameter.

    Example:
        >>> import galatune, optuna
        >>> from galatune.demo.objective import objective
        >>> study = optuna.create_study()
        >>> galatune.optimize(study, objective, n_trials=20)  # doctest: +SKIP
    """
    control = Options(**options)
    if both := sorted(set(lr) & set(keep)):
        raise PlanError(f"{printable(both[0])} cannot be both lr and keep; leave one out")
    space = SuggestedSpace(lr, keep, drop_schedule=drop_schedule)
    with tracing():
        # Of the class: ``study.optimize = functools.partial(galatune.optimize, study)`` is one way in.
        type(study).optimize(
            study,
            ControlledObjective(objective, control, space),
            n_trials=n_trials,
            timeout=timeout,
            n_jobs=n_jobs,
            catch=catch,
            callbacks=callbacks,
            gc_after_trial=gc_after_trial,
            show_progress_bar=show_progress_bar,
        )


class ControlledObjective:
    """An objective whose learning rates are answered with constants, and controlled.

    Args:
        objective: As the user gave it.
        options: Of control.
        space: What is known of the search space; all trials share it.
    """

    def __init__(self, objective: Objective, options: Options, space: SuggestedSpace) -> None:
        self._objective, self._space = objective, space
        self._options = {one.name: getattr(options, one.name) for one in fields(Options)}
        self._traces, self._controlled_before = True, False
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, trial: optuna.trial.Trial) -> Any:
        """One trial."""
        curve = CurveWatch(trial, Pruning())
        self._space.begin(trial.study)
        self._controlled_before |= self._space.controlled
        try:
            return self._attempt(trial, curve)
        except StoppedAtFirstStep:  # it sets its own step: nothing trained yet
            return self._attempt(trial, curve, drops=False)

    def _attempt(self, trial: optuna.trial.Trial, curve: CurveWatch, *, drops: bool = True) -> Any:
        adopted = SpaceTrial.over(trial, self._space if drops else None, curve, traces=self._traces)
        selection, result, error = _Selection(adopted), None, None
        with controlled(select=selection, **self._options) as capture:
            curve.capture = capture
            try:
                with only_in_this_process():
                    result = plain(self._objective(adopted))
            except Exception as raised:
                error = raised
        if error is not None and self._may_refuse(adopted, capture, error):
            self._traces = False
            return self._attempt(trial, curve, drops=drops)
        # After the optimizers were let go, when a training that was too short is known.
        record = record_of(capture, adopted.events + curve.events(isinstance(error, optuna.TrialPruned)))
        if record.optimizers:
            trial.set_user_attr(RECORD, record.to_attribute())
        if record.controlled:
            self._controlled_before = True
            for name, rate in record.scalars.items():
                trial.set_user_attr(name, rate)
            trial.set_user_attr(DROPPED, [asdict(one) for one in adopted.dropped])
        if error is not None:
            raise error
        if drops and not record.controlled:
            self._settle(adopted, capture)
        return result

    def _may_refuse(self, adopted: SpaceTrial, capture: Capture, error: Exception) -> bool:
        """Whether it ended before it has trained, and may have done so for the class of a number."""
        trained = capture.controllers or capture.left_alone
        if trained or isinstance(error, (*NOT_THE_TYPE, optuna.TrialPruned)):
            return False
        return self._traces and bool(adopted.origins)

    def _settle(self, adopted: SpaceTrial, capture: Capture) -> None:
        """A trial ended and nothing was controlled in it: say so, and keep what it trained with."""
        dropped = adopted.dropped
        if not dropped:
            why = self._space.searched(list(adopted.params))
            if why is not None:
                self._warn(f"{why}; until then trials run as in study.optimize")
            return
        adopted.keep_answers()
        names = listed([one.name for one in dropped])
        then = ""
        with self._lock:
            if not self._controlled_before:
                self._space.give_back([one.name for one in dropped])
                then = f"; from the next trial on {names} is searched"
        self._warn(f"{nothing_controlled(capture)}; {names} is its parameter{then}")

    def _warn(self, words: str) -> None:
        """Once per call of `optimize`."""
        with self._lock:
            new, self._said = words not in self._said, self._said | {words}
        if new:
            warnings.warn(f"galatune: {words}", stacklevel=2)


class _Selection:
    """Decides which optimizers are controlled, by what was dropped when the first one steps."""

    def __init__(self, trial: SpaceTrial) -> None:
        self._trial = trial
        self._made: OptimizerSelection | None = None

    def __call__(self, initial: InitialRates, everyone: Sequence[InitialRates]) -> Choice:
        """See `galatune.controller.controlled.Select`."""
        if not self._trial.dropped:
            return Choice(False, "no learning rate was dropped")
        if self._made is None:
            self._made = OptimizerSelection(
                plan_of(self._trial.dropped), RateKnowledge(compares=False), self._trial
            )
        return self._made(initial, everyone)

    def left_alone(self, initial: InitialRates, left: LeftAlone) -> None:
        """See `galatune.controller.controlled.Select`."""
        if self._made is not None:
            self._made.left_alone(initial, left)
