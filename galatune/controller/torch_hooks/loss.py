"""The loss of a step, for a guard that asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from galatune.controller.torch_hooks.backward import attend, leaves
from galatune.controller.torch_hooks.distributed import Ranks, is_sharded

__all__ = ["LossWatch", "loss_value"]


class LossWatch:
    """Listens to backward calls: if what they start from is one number, it is the loss.

    Several calls before a step (accumulation, several losses) add up, as their gradients do. A loss that
    was scaled for float16 is recorded with its scale.
    """

    def __init__(self) -> None:
        self._wanted: set[int] = set()
        self._sharded, self._ranks = False, Ranks()
        self._seen: list[Tensor] = []

    def watch(self, parameters: Sequence[Tensor]) -> None:
        """From here on, remember losses that reach these parameters."""
        self._wanted, self._seen = {id(p) for p in parameters}, []
        attend(self, bool(self._wanted))
        self._sharded = any(is_sharded(p) for p in parameters)

    def saw_backward(self, outputs: Sequence[Any], grad_outputs: Any, inputs: Any) -> None:
        """See `galatune.controller.torch_hooks.backward.Listener`."""
        wanted = self._wanted | self._ranks.whole_copies(self._wanted) if self._sharded else self._wanted
        if wanted & {id(leaf) for leaf in leaves(outputs)}:
            self._seen += [o.detach() for o in outputs if isinstance(o, Tensor) and o.numel() == 1]

    def take(self, returned: Any, parameters: Sequence[Tensor]) -> float | None:
        """The loss since `watch`, None if it is not known; waits for the device. Stops watching.

        Args:
            returned: What the step's closure returned, which is the loss if it is a number; None without one.
            parameters: Of the optimizer; the loss is the mean over the ranks that share them.
        """
        seen, self._wanted, self._seen = self._seen, set(), []
        attend(self, False)
        own = loss_value(returned)
        if own is None and seen:
            own = sum(float(loss) for loss in seen)
        return self._ranks.mean_loss(own, parameters)


def loss_value(returned: Any) -> float | None:
    """What a closure returned, as a number; None if it is none."""
    if isinstance(returned, Tensor):
        return float(returned.detach()) if returned.numel() == 1 else None
    return float(returned) if isinstance(returned, (int, float)) else None
