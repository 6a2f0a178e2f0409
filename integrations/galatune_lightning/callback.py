"""The callback for Lightning's Trainer, of either package: `lightning` and `pytorch_lightning`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from galatune.callback import CallbackControl
from galatune.controller.controlled import LeftAlone
from galatune.controller.controller import Controller
from galatune.controller.options import Options
from galatune.errors import GalatuneError
from galatune_lightning.names import rate_names

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from galatune.controller.options import ControlOptions

__all__ = ["GalatuneCallback"]

HOSTS = ("lightning.pytorch", "pytorch_lightning")


class GalatuneCallback:
    """Controls the learning rates of the LightningModule's optimizers during `Trainer.fit`.

    All optimizers are controlled, with automatic and with manual optimization; one that cannot be (LBFGS,
    Prodigy, ...) trains as it would without the callback, and a warning says why. `Trainer.validate`, `test`
    and `predict` are untouched. At the end of `fit` the optimizers are let go.

    The rate that a step was taken with is logged to the trainer's loggers, and put among its
    `callback_metrics`, in the steps in which LearningRateMonitor logs the schedule's rate, and under its name
    with "-applied" behind it: ``lr-Adam-applied``, ``lr-Adam/pg1-applied``.

    `Trainer.fit(ckpt_path=...)` goes on to the bit as if it had not been interrupted, as far as Lightning
    itself does; also from a checkpoint that `Trainer.save_checkpoint` wrote after `fit`.

    Within `galatune.controlled`, and so within ``galatune run``, that block controls the optimizers by its
    own options, and the callback logs.

    Args:
        **options: Those of `galatune.attach`.

    Raises:
        ControlError: An option is out of range.
        GalatuneError: Neither `lightning` nor `pytorch_lightning` is installed.

    Example:
        >>> import lightning  # doctest: +SKIP
        >>> trainer = lightning.Trainer(max_epochs=5, callbacks=[GalatuneCallback()])  # doctest: +SKIP
    """

    def __new__(cls, **options: Any) -> GalatuneCallback:
        """An object that is also a callback of the imported Lightning package."""
        return object.__new__(_bound(cls))

    def __init__(self, **options: Unpack[ControlOptions]) -> None:
        self._take(Options(**options))

    def _take(self, options: Options) -> None:
        self._control = CallbackControl(options)
        self._stepped: dict[int, int] = {}
        self._logs, self._step = False, 0

    def __reduce__(self) -> Any:
        return _again, (type(self).__mro__[1], self._control.options, self._control.state_dict())

    @property
    def controllers(self) -> list[Controller]:
        """One for each controlled optimizer of the last training; they can be read after its end."""
        return self._control.controllers

    @property
    def left_alone(self) -> list[LeftAlone]:
        """Optimizers that cannot be controlled, and why."""
        return self._control.left_alone

    # -- Lightning's hooks

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """A fit begins; what an earlier one left is forgotten before a checkpoint is loaded."""
        if stage == "fit":
            self._control.forget()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Take the optimizers under control, after a checkpoint was loaded."""
        self._control.begin(trainer.optimizers)
        self._stepped = {place: self._control.steps(one) for place, one in enumerate(trainer.optimizers)}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note where LearningRateMonitor logs the rate of the coming step."""
        self._logs = trainer._logger_connector.should_update_logs
        self._step = trainer.fit_loop.epoch_loop._batches_that_stepped

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the rates of the optimizers that stepped."""
        rates: dict[str, float] = {}
        names = rate_names(trainer.optimizers, trainer.lr_scheduler_configs) if self._logs else []
        for place, optimizer in enumerate(trainer.optimizers):
            steps = self._control.steps(optimizer)
            if steps != self._stepped.get(place) and self._logs:
                rates |= zip(names[place], self._control.rates(optimizer), strict=False)
            self._stepped[place] = steps
        if not rates:
            return
        device = trainer.strategy.root_device
        trainer.callback_metrics.update({name: torch.tensor(r, device=device) for name, r in rates.items()})
        for logger in trainer.loggers:
            logger.log_metrics(rates, step=self._step)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Let the optimizers go, after the last checkpoint."""
        self._control.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Let the optimizers go."""
        self._control.end()

    def state_dict(self) -> dict[str, Any]:
        """What an ended fit goes on with; empty while one lasts, when the optimizers hold the state."""
        return self._control.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """From a checkpoint that was written after a fit."""
        self._control.load_state_dict(state_dict)


def _again(cls: type[GalatuneCallback], options: Options, state: Mapping[str, Any]) -> GalatuneCallback:
    """A copy, which controls nothing yet."""
    made: GalatuneCallback = object.__new__(_bound(cls))
    made._take(options)
    made.load_state_dict(state)
    return made


def _bound(cls: type[GalatuneCallback]) -> type[GalatuneCallback]:
    """The class with the Callback of each Lightning package that is imported, else of an installed one."""
    names = [name for name in HOSTS if name in sys.modules] or [_installed()]
    key = (cls, *(sys.modules[name].Callback for name in names))
    if key not in _classes:
        about = {"__qualname__": cls.__qualname__, "__module__": cls.__module__, "__doc__": cls.__doc__}
        _classes[key] = type(cls.__name__, key, about)
    return _classes[key]


_classes: dict[tuple[type, ...], type[GalatuneCallback]] = {}


def _installed() -> str:
    for name in HOSTS:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return name
    raise GalatuneError(
        "galatune_lightning needs Lightning, however: neither lightning nor pytorch_lightning is installed; "
        "pip install lightning"
    )
