"""A fixed learning rate in the controller's place, for comparisons of the two."""

from __future__ import annotations

from torch.optim import Optimizer

__all__ = ["FixedRate"]


class FixedRate:
    """Sets the rate once and changes nothing afterwards.

    Args:
        optimizer: Whose groups all get the rate.
        rate: Learning rate, positive.
    """

    rates_chosen: tuple[()] = ()

    def __init__(self, optimizer: Optimizer, rate: float) -> None:
        self.learning_rate = rate
        for group in optimizer.param_groups:
            group["lr"] = rate

    def detach(self) -> None:
        """Do nothing: there is nothing to undo."""
