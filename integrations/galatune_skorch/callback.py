"""The callback for skorch's nets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from skorch.callbacks import Callback

from galatune.callback import CallbackControl
from galatune.controller.controlled import LeftAlone
from galatune.controller.controller import Controller
from galatune.controller.events import Event
from galatune.controller.options import Options
from galatune.controller.probes.base import Probe
from galatune.controller.probes.schedule import ProbeSchedule
from galatune.controller.rule.guard import Guard
from galatune.controller.rule.learner import Learner
from galatune.controller.rule.prior import Prior

__all__ = ["GalatuneCallback"]

APPLIED = "lr_applied"
"""In the history, and so a column of what is printed of each epoch."""


class GalatuneCallback(Callback):
    """Controls the learning rates of a net's optimizers.

    Written to the history, for each batch and each epoch: ``lr_applied``, the rate with which the last step
    was taken (of the group with the largest), the schedule included; of optimizers beside `optimizer_`, with
    their name before it. The net's own ``lr`` does not matter.

    Control lasts as long as an optimizer, not as long as a call of `fit`: `partial_fit` and
    ``fit`` with ``warm_start`` go on, and so does what `save_params` and `load_params` bring back, if
    ``f_optimizer`` is among it, or what is pickled. `fit` without ``warm_start`` begins anew. `detach` lets
    the optimizers go.

    An optimizer that cannot be controlled trains as it would without the callback, and a warning says why.
    Within `galatune.controlled`, and so within ``galatune run``, that block controls the optimizers by its
    own options, and the callback writes the history.

    Args:
        probe: This and the following options are those of `galatune.attach`.
        probe_schedule: See `galatune.attach`.
        step_scale: See `galatune.attach`.
        step_scale_factor: See `galatune.attach`.
        min_lr: See `galatune.attach`.
        max_lr: See `galatune.attach`.
        per_group: See `galatune.attach`.
        learner: See `galatune.attach`.
        guard: See `galatune.attach`.
        alignment: See `galatune.attach`.
        prior: See `galatune.attach`.
        on_event: See `galatune.attach`.

    Raises:
        ControlError: An option is out of range; said when training begins, as scikit-learn wants it.

    Example:
        >>> from skorch import NeuralNetClassifier  # doctest: +SKIP
        >>> net = NeuralNetClassifier(Module, callbacks=[GalatuneCallback()])  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        probe: str | Probe = "auto",
        probe_schedule: ProbeSchedule | None = None,
        step_scale: float | None = None,
        step_scale_factor: float = 1.0,
        min_lr: float = 0.0,
        max_lr: float = math.inf,
        per_group: bool = False,
        learner: Learner | None = None,
        guard: Guard | None = None,
        alignment: str = "auto",
        prior: Prior | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.probe = probe
        self.probe_schedule = probe_schedule
        self.step_scale = step_scale
        self.step_scale_factor = step_scale_factor
        self.min_lr = min_lr
        self.max_lr = max_lr
        self.per_group = per_group
        self.learner = learner
        self.guard = guard
        self.alignment = alignment
        self.prior = prior
        self.on_event = on_event

    @property
    def controllers(self) -> list[Controller]:
        """One for each controlled optimizer of the last training; they can be read after its end."""
        return self._present().controllers

    @property
    def left_alone(self) -> list[LeftAlone]:
        """Optimizers that cannot be controlled, and why."""
        return self._present().left_alone

    def detach(self) -> None:
        """Let the optimizers go: hooks are removed, and rates are the net's again."""
        self._present().end()
        self._present().forget()

    # -- skorch's events

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Take the optimizers under control, or go on with them."""
        self._present().begin([optimizer for _, optimizer in _optimizers(net)])

    def on_batch_end(self, net: Any, batch: Any = None, training: Any = None, **kwargs: Any) -> None:
        """Write the applied rates of a training batch."""
        if training:
            for name, rate in self._rates(net):
                net.history.record_batch(name, rate)

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Write the applied rates of the epoch's last step."""
        for name, rate in self._rates(net):
            net.history.record(name, rate)

    def _rates(self, net: Any) -> list[tuple[str, float]]:
        control = self._present()
        return [(name, max(control.rates(one))) for name, one in _optimizers(net) if control.rates(one)]

    def _present(self) -> CallbackControl:
        """Control by the present options: `set_params` may have changed them."""
        options = Options(**{one.name: getattr(self, one.name) for one in fields(Options)})
        control: CallbackControl | None = vars(self).get("control_")
        if control is None or control.options != options:
            if control is not None:
                control.end()
            control = self.control_ = CallbackControl(options)
        return control

    def __getstate__(self) -> dict[str, Any]:
        """Without the controllers: a copied optimizer has a state of its own, from which a copy goes on."""
        return {name: value for name, value in vars(self).items() if name != "control_"}


def _optimizers(net: Any) -> list[tuple[str, Any]]:
    """Name of its applied rate and optimizer, for each of a net's."""
    found = []
    for name in net._optimizers:
        own = name.rstrip("_")
        found.append((APPLIED if own == "optimizer" else f"{own}_{APPLIED}", getattr(net, f"{own}_")))
    return found
