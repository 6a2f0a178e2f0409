"""What is minimized, and how the outputs of several members become one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid

__all__ = ["LabelLoss", "LogLoss", "Loss", "PinballLoss", "SquaredError"]


class Loss(Protocol):
    """The loss of a kind of target.

    Attributes:
        is_likelihood: Whether it is minus the logarithm of a probability.
    """

    is_likelihood: ClassVar[bool]

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
        >>> LogLoss(2).mean(outputs).exp()
        tensor([[0.7000, 0.3000]])
    """

    is_likelihood: ClassVar[bool] = True

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

    is_likelihood: ClassVar[bool] = False

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


@dataclass(frozen=True)
class LabelLoss:
    """Of 0/1 indicators, averaged over the labels; outputs are log-odds, and probabilities are averaged.

    Example:
        >>> LabelLoss().mean(torch.tensor([[[0.9]], [[0.5]]]).logit()).sigmoid()
        tensor([[0.7000]])
    """

    is_likelihood: ClassVar[bool] = True

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return minus the logarithm of the probability that each label is as it is."""
        wanted = targets.expand_as(outputs)
        return binary_cross_entropy_with_logits(outputs, wanted, reduction="none").mean(dim=-1)

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the log-odds of the mean probabilities."""
        return logsigmoid(outputs).logsumexp(dim=0) - logsigmoid(-outputs).logsumexp(dim=0)

    def constant(self, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the log-odds of the labels' shares, none of them certain."""
        share = (targets * weights[:, None]).sum(dim=0) / weights.sum()
        return share.clamp(1e-6, 1 - 1e-6).logit()


@dataclass(frozen=True)
class PinballLoss:
    """Of quantiles of standardized values, averaged over them; predictions stay between the limits.

    Attributes:
        quantiles: Their levels, between 0 and 1.
        low: Smallest target of each column, shape (n_columns,).
        high: Largest target of each column, shape (n_columns,).

    Example:
        >>> loss = PinballLoss((0.9,), low=torch.tensor([-1.0]), high=torch.tensor([1.0]))
        >>> loss.rows(torch.zeros(1, 2, 1), torch.tensor([[1.0], [-1.0]]))
        tensor([[0.9000, 0.1000]])
    """

    is_likelihood: ClassVar[bool] = False

    quantiles: tuple[float, ...]
    low: Tensor
    high: Tensor

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the error, weighed by the level if the target is higher, else by one minus the level."""
        missed = targets[..., None] - outputs.unflatten(-1, (-1, len(self.quantiles)))
        level = torch.tensor(self.quantiles).to(missed)
        return torch.maximum(level * missed, (level - 1) * missed).flatten(-2).mean(dim=-1)

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the mean, clamped to the range of the targets."""
        low, high = (end.to(outputs).repeat_interleave(len(self.quantiles)) for end in (self.low, self.high))
        return outputs.mean(dim=0).clamp(low, high)

    def constant(self, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the quantiles of the targets."""
        order = targets.argsort(dim=0, stable=True)
        reached = weights[order].cumsum(dim=0) / weights.sum()
        level = torch.tensor(self.quantiles).to(reached).expand(targets.shape[1], -1)
        position = torch.searchsorted(reached.T.contiguous(), level.contiguous()).clamp(max=len(targets) - 1)
        return targets.gather(0, order).T.gather(1, position).flatten()
