"""The best epoch of a training, and how long there was no better one."""

from __future__ import annotations

from torch import Tensor

from galatune.tabular.net import MLP

__all__ = ["EVIDENCE", "Best"]

EVIDENCE = 0.5
"""An epoch is better if the validation rows are so much more probable, as a natural logarithm. A few
rows that are all certain say nothing of how certain others may be."""

LEAST_PROGRESS, LEAST_OF_CONSTANT = 1e-2, 1e-4
"""Patience starts again if the loss fell by more than these parts of itself and of a constant's loss."""

CLEARLY_WORSE, CLEARLY_WORSE_COUNTS = 0.05, 3
"""A step counts several times for the patience if so much of what the best gained over a constant is lost."""


class Best:
    """The best epoch so far, its weights and members; a score that is not a number is never the best.

    Args:
        constant_loss: Validation loss of a constant prediction.
        too_little: By how much a score must be above the best to be better.

    Attributes:
        progress_epoch: The last epoch that was better by more than noise.
        waited: Steps since then; those of epochs that are clearly worse than the best count several times.
    """

    def __init__(self, constant_loss: float, too_little: float = 0.0) -> None:
        self._constant_loss, self._too_little = constant_loss, too_little
        self.epoch, self.members, self.weights = 0, slice(None), dict[str, Tensor]()
        self.progress_epoch, self.waited, self._step = 0, 0, 0
        self._score = self._progress_score = -float("inf")

    def offer(self, epoch: int, step: int, offers: list[tuple[float, slice]], network: MLP) -> float:
        """Keep a copy of the weights if an offer is better than the best so far; return the highest offer."""
        for score, members in offers:
            if score > self._score + self._too_little:
                self._score, self.epoch, self.members = score, epoch, members
        if self.epoch == epoch:
            self.weights = {name: value.clone() for name, value in network.state_dict().items()}
        highest = max(score for score, _ in offers)
        self._wait(epoch, step, highest)
        return highest

    def _wait(self, epoch: int, step: int, score: float) -> None:
        steps, self._step = step - self._step, step
        of_loss = -LEAST_PROGRESS * self._progress_score if self.progress_epoch else 0.0
        if score > self._progress_score + max(of_loss, LEAST_OF_CONSTANT * abs(self._constant_loss)):
            self.progress_epoch, self._progress_score, self.waited = epoch, score, 0
            return
        clearly_worse = score < self._score - CLEARLY_WORSE * (self._constant_loss + self._score)
        self.waited += steps * (CLEARLY_WORSE_COUNTS if clearly_worse else 1)
