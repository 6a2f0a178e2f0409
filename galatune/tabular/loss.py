"""What is minimized, and how the outputs of several members become one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

__all__ = ["LogLoss", "Loss", "SquaredError"]


class Loss(Protocol):
    """The loss of a kind of target."""

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return one loss per member and row.

        Args:
            outputs: Shape (n_members, n_rows, n_outputs).
            targets: Shape (n_rows,) or (n_rows, n_outputs).

        Returns:
            Shape (n_members, n_rows).
        """

    def mean(self, outputs: Tensor) -> Tensor:
        """Return what members predict together: (n_members, n_rows, n_outputs) to (n_rows, n_outputs)."""

    def constant(self, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the best outputs that are the same for every row, shape (n_outputs,)."""


@dataclass(frozen=True)
class LogLoss:
    """Of class numbers; outputs are logits, and the mean is that of the probabilities.

    Attributes:
        n_classes: Number of classes.

    Example:
        >>> outputs = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
        >>> LogLoss(2).mean(outputs).exp().round(decimals=2).tolist()
        [[0.7, 0.3]]
    """

    n_classes: int

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return minus the logarithm of the target's probability."""
        repeated = targets.expand(len(outputs), -1).flatten()
        return cross_entropy(outputs.flatten(0, 1), repeated, reduction="none").view(outputs.shape[:2])

    def mean(self, outputs: Tensor) -> Tensor:
        """Return logarithms of the mean probabilities."""
        return outputs.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(outputs))

    def constant(self, targets: Tensor, weights: Tensor) -> Tensor:
        """Return logarithms of the classes' shares."""
        share = torch.zeros(self.n_classes, device=targets.device).index_add_(0, targets, weights)
        return (share / share.sum()).log()


@dataclass(frozen=True)
class SquaredError:
    """Of standardized values, averaged over the outputs; predictions stay between the limits.

    Attributes:
        low: Smallest target of each output, shape (n_outputs,).
        high: Largest target of each output, shape (n_outputs,).

    Example:
        >>> loss = SquaredError(low=torch.tensor([-1.0]), high=torch.tensor([1.0]))
        >>> loss.mean(torch.tensor([[[2.0], [0.5]], [[4.0], [0.5]]])).tolist()
        [[1.0], [0.5]]
    """

    low: Tensor
    high: Tensor

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error."""
        return (outputs - targets).square().mean(dim=-1)

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the mean, clamped to the range of the targets."""
        return outputs.mean(dim=0).clamp(self.low.to(outputs), self.high.to(outputs))

    def constant(self, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the mean of the targets."""
        return (targets * weights[:, None]).sum(dim=0) / weights.sum()
