"""Embeddings of columns: numbers piecewise linear, codes of many levels as short vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galatune.tabular.columns import weighted_quantiles

__all__ = ["LevelEmbedding", "PiecewiseLinear"]

BINS = 16
"""Most bins per column, about as many rows in each; columns of few different values have fewer."""


LEVEL_WIDTH = 8
"""Numbers per embedded level."""


class LevelEmbedding(nn.Module):
    """A trained vector per level of each column of codes; that of code 0, unknown or missing, is trained too.

    Args:
        cardinalities: Number of codes of each column.
        generator: Source of the initial vectors.

    Shape:
        codes (n_rows, n_columns), output (n_rows, width).

    Example:
        >>> embedding = LevelEmbedding((40, 12), torch.Generator().manual_seed(0))
        >>> embedding(torch.tensor([[39, 0]])).shape, embedding.width
        (torch.Size([1, 16]), 16)
    """

    offsets: Tensor

    def __init__(self, cardinalities: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.width = LEVEL_WIDTH * len(cardinalities)
        starts = np.concatenate([[0], np.cumsum(cardinalities)]).astype(np.int64)
        vectors = torch.empty(int(starts[-1]), LEVEL_WIDTH, device=generator.device)
        self.vectors = nn.Parameter(vectors.uniform_(-1, 1, generator=generator)) if self.width else None
        self.register_buffer("offsets", torch.as_tensor(starts[:-1], device=generator.device))

    def forward(self, codes: Tensor) -> Tensor:
        """Return the vectors of the codes, side by side."""
        if self.vectors is None:
            return torch.empty(len(codes), 0, device=codes.device)
        return self.vectors[codes + self.offsets].flatten(1)


class PiecewiseLinear(nn.Module):
    """How far each number has come through each bin of its column, from 0 to 1.

    A linear layer on top computes a piecewise linear function of each column. Columns of fewer than three
    different values have no bins, since such a function of them is linear anyway. There is nothing to train.

    Args:
        column: Column of each bin, shape (n_bins,).
        low: Lower ends of the bins, shape (n_bins,).
        width: Their widths, shape (n_bins,), positive.

    Shape:
        numbers (n_rows, n_columns), output (n_rows, n_bins).

    Example:
        >>> numbers = np.array([[0.0, 1.0], [1.0, 0.0], [4.0, 1.0]])
        >>> embedding = PiecewiseLinear.fit(numbers, np.ones(3))
        >>> embedding(torch.tensor([[2.5, 0.3]])).tolist()
        [[1.0, 0.5]]

    References:
        Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", 2022,
        equation 1.
    """

    column: Tensor
    low: Tensor
    width: Tensor

    def __init__(self, column: Tensor, low: Tensor, width: Tensor) -> None:
        super().__init__()
        self.register_buffer("column", column)
        self.register_buffer("low", low)
        self.register_buffer("width", width)

    @classmethod
    def fit(cls, numbers: NDArray[np.float64], weight: NDArray[np.float64]) -> PiecewiseLinear:
        """Choose bins by the quantiles of each column; a row of weight 2 counts as two rows.

        Args:
            numbers: Shape (n_rows, n_columns).
            weight: Weight of each row, shape (n_rows,), positive.
        """
        ends = [np.unique(weighted_quantiles(values, weight, BINS)) for values in numbers.T]
        ends = [end if len(end) > 2 else end[:0] for end in ends]
        column = np.repeat(np.arange(len(ends)), [max(0, len(end) - 1) for end in ends])
        low = np.concatenate([np.empty(0), *(end[:-1] for end in ends)])
        width = np.concatenate([np.empty(0), *(np.diff(end) for end in ends)])
        return cls(torch.as_tensor(column), *(torch.as_tensor(x, dtype=torch.float32) for x in (low, width)))

    def __len__(self) -> int:
        return len(self.column)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the part of each bin that lies below the number, in [0, 1]."""
        parts: Tensor = ((numbers[:, self.column] - self.low) / self.width).clamp(0, 1)
        return parts
