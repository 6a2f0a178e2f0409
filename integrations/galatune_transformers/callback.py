"""The callback for the Trainer of Hugging Face Transformers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from galatune.callback import CallbackControl
from galatune.controller.controlled import LeftAlone
from galatune.controller.controller import Controller
from galatune.controller.options import Options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from galatune.controller.options import ControlOptions

__all__ = ["GalatuneCallback"]

APPLIED = "learning_rate_applied"
"""Beside the Trainer's own "learning_rate"."""


class GalatuneCallback(TrainerCallback):
    """Controls the learning rate of the Trainer's optimizer during `Trainer.train`.

    An optimizer that cannot be controlled (Schedule-Free, LOMO, ...) trains as it would without the callback,
    and a warning says why. `evaluate` and `predict` are untouched. At the end the optimizer is let go.

    Each entry of the Trainer's log that has a "learning_rate" has a "learning_rate_applied" beside it.
    "learning_rate" is what `TrainingArguments.learning_rate` and the scheduler say; of it only the shape of
    the schedule counts. "learning_rate_applied" is the rate with which the last step was taken, that shape
    included. Both are those of the first parameter group. It goes to `state.log_history` and to whatever the
    Trainer reports to (TensorBoard, MLflow, ...).

    ``train(resume_from_checkpoint=...)`` goes on to the bit as if it had not been interrupted, as far as the
    Trainer itself does.

    Within `galatune.controlled`, and so within ``galatune run``, that block controls the optimizer by its own
    options, and the callback logs.

    Args:
        **options: Those of `galatune.attach`.

    Raises:
        ControlError: An option is out of range.

    Example:
        >>> from transformers import Trainer  # doctest: +SKIP
        >>> Trainer(model=model, args=args, callbacks=[GalatuneCallback()]).train()  # doctest: +SKIP
    """

    def __init__(self, **options: Unpack[ControlOptions]) -> None:
        self._control = CallbackControl(Options(**options))

    @property
    def controllers(self) -> list[Controller]:
        """One for each controlled optimizer of the last training; they can be read after its end."""
        return self._control.controllers

    @property
    def left_alone(self) -> list[LeftAlone]:
        """Optimizers that cannot be controlled, and why."""
        return self._control.left_alone

    # -- the Trainer's events

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Come before those that report logs, so that they see the applied rate."""
        _come_first(self, sys._getframe(1))

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the optimizer under control, after a checkpoint was loaded."""
        _come_first(self, sys._getframe(1))
        self._control.forget()
        self._control.begin([kwargs["optimizer"]])

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the applied rate beside the schedule's."""
        logs, optimizer = kwargs["logs"], kwargs.get("optimizer")
        if "learning_rate" not in logs or optimizer is None or not self._control.steps(optimizer):
            return
        for rate in self._control.rates(optimizer)[:1]:
            logs[APPLIED] = rate
            if state.log_history and "learning_rate" in state.log_history[-1]:
                state.log_history[-1][APPLIED] = rate

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the optimizer go, after the last checkpoint."""
        self._control.end()
        self._control.forget()


def _come_first(callback: Any, frame: Any) -> None:
    """Move a callback to the front of the list in which its caller, the Trainer's handler, holds it.

    Nothing tells a callback of the handler. Callbacks after it in the list keep their places, so the handler
    may be going through it.
    """
    held = getattr(frame.f_locals.get("self"), "callbacks", None)
    if isinstance(held, list) and callback in held:
        held.remove(callback)
        held.insert(0, callback)
