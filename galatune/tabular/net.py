"""The network: members that are trained side by side, with embeddings, drawing from no global generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from galatune.tabular.embeddings import LevelEmbedding, PiecewiseLinear
from galatune.tabular.members import FirstLinear, MemberLinear, draw_mask

__all__ = ["MLP", "Inputs"]


@dataclass(frozen=True)
class Inputs:
    """Encoded rows, as `Encoded` has them.

    Attributes:
        numbers: Shape (n_rows, n_numbers).
        codes: Shape (n_rows, n_categoricals), integers.
    """

    numbers: Tensor
    codes: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, index: Tensor) -> Inputs:
        """Return the rows at index, shape (n_taken,)."""
        return Inputs(self.numbers[index], self.codes[index])

    def to(self, device: torch.device) -> Inputs:
        """Return the rows on another device."""
        return Inputs(self.numbers.to(device), self.codes.to(device))


class MLP(nn.Module):
    """Several multilayer perceptrons, the members, that differ in initial weights and dropout masks.

    With an embedding of the numbers, the second half of the members sees it beside the numbers, the first
    half sees the numbers alone: rows held out tell which half predicts better, or whether both do.

    Args:
        n_numbers: Columns of numbers.
        levels: Embedding of the codes.
        numbers: Embedding of the numbers, None without.
        hidden_layer_sizes: Widths of the hidden layers of each member; without any they are linear.
        n_outputs: Width of the output.
        n_members: Number of members.
        dropout: Probability that a hidden unit is dropped, in [0, 1).
        generator: Source of initial weights; its device is the network's.

    Shape:
        inputs (n_rows, n_numbers) and (n_rows, n_categoricals), outputs (n_members, n_rows, n_outputs).

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> levels = LevelEmbedding((), generator)
        >>> network = MLP(3, levels, None, (8,), 2, n_members=4, dropout=0.0, generator=generator)
        >>> network(Inputs(torch.zeros(5, 3), torch.zeros(5, 0, dtype=torch.int64))).shape
        torch.Size([4, 5, 2])
    """

    def __init__(
        self,
        n_numbers: int,
        levels: LevelEmbedding,
        numbers: PiecewiseLinear | None,
        hidden_layer_sizes: Sequence[int],
        n_outputs: int,
        *,
        n_members: int,
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.dropout, self.n_members = dropout, n_members
        self.levels, self.numbers = levels, numbers if numbers is not None and len(numbers) else None
        first, *others = [*hidden_layer_sizes, n_outputs]
        fan_in = n_numbers + levels.width
        bins = len(self.numbers) if self.numbers is not None else 0
        self._embedded = max(1, n_members // 2) if bins else 0
        self.first = FirstLinear(n_members, fan_in, first, generator)
        self.first_bias = nn.Parameter(torch.zeros(n_members, 1, first, device=generator.device))
        if bins:
            self.first_bins = FirstLinear(self._embedded, bins, first, generator)
            nn.init.zeros_(self.first_bins.weight)  # bins begin as if not there: fewer are fitted to noise
        self.layers = nn.ModuleList(
            MemberLinear(n_members, width_in, width_out, generator)
            for width_in, width_out in pairwise([first, *others])
        )

    @property
    def halves(self) -> tuple[slice, ...]:
        """Members that may predict without the others: all, those without and those with embedding."""
        alone = self.n_members - self._embedded
        split = 0 < alone < self.n_members
        return (slice(None), slice(0, alone), slice(alone, None)) if split else (slice(None),)

    def forward(self, inputs: Inputs, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return outputs; masks come from `draw_masks`, None if nothing is dropped."""
        hidden: Tensor = self.first(torch.cat([inputs.numbers, self.levels(inputs.codes)], dim=1))
        if self.numbers is not None:
            alone = self.n_members - self._embedded
            bins = self.first_bins(self.numbers(inputs.numbers))
            hidden = torch.cat([hidden[:alone], hidden[alone:] + bins])
        hidden = hidden + self.first_bias
        for depth, layer in enumerate(self.layers):
            hidden = nn.functional.silu(hidden)
            if masks:
                hidden = hidden * masks[depth]
            hidden = layer(hidden)
        return hidden

    def draw_masks(self, n_rows: int, generator: torch.Generator) -> list[Tensor]:
        """Draw one dropout mask per hidden layer, (n_members, n_rows, width), of 0 or 1 / (1 - dropout)."""
        if self.dropout == 0:
            return []
        widths = [int(layer.fan_in) for layer in self.layers]  # type: ignore[arg-type]
        return [draw_mask((self.n_members, n_rows, width), self.dropout, generator) for width in widths]

    @torch.no_grad()
    def keep(self, members: slice) -> None:
        """Forget the members outside one of `halves`."""
        alone = self.n_members - self._embedded
        kept = range(self.n_members)[members]
        self.first.keep(members)
        self.first_bias = nn.Parameter(self.first_bias[members].clone())
        for layer in self.layers:
            layer.keep(members)  # type: ignore[operator]
        self.n_members, self._embedded = len(kept), sum(member >= alone for member in kept)
        if not self._embedded:
            self.numbers = None
