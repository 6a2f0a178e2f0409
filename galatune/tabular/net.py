"""The network: a plain multilayer perceptron that draws nothing from a global generator."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """Linear layers with an activation and dropout between them.

    Initial weights and dropout masks are drawn from the caller's generator. A fit neither reads nor changes
    torch's global random state, and fits in several threads do not disturb each other.

    Args:
        n_inputs: Width of the encoded table.
        hidden_layer_sizes: Widths of the hidden layers; without any the model is linear.
        n_outputs: Width of the output.
        dropout: Probability that a hidden unit is dropped, in [0, 1).
        generator: Source of initial weights and masks; its device is the network's.

    Shape:
        inputs (n_rows, n_inputs), outputs (n_rows, n_outputs).

    Example:
        >>> network = MLP(3, (8,), 2, dropout=0.0, generator=torch.Generator().manual_seed(0))
        >>> network(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_layer_sizes: Sequence[int],
        n_outputs: int,
        *,
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.layers = nn.ModuleList(
            _linear(fan_in, fan_out, generator)
            for fan_in, fan_out in pairwise([n_inputs, *hidden_layer_sizes, n_outputs])
        )

    def forward(self, inputs: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return outputs; masks come from `draw_masks`, None if nothing is dropped."""
        hidden = inputs
        for depth, layer in enumerate(self.layers):
            if depth > 0:
                hidden = nn.functional.silu(hidden)
                if masks:
                    hidden = hidden * masks[depth - 1]
            hidden = layer(hidden)
        return hidden

    def draw_masks(self, n_rows: int, generator: torch.Generator) -> list[Tensor]:
        """Draw one dropout mask per hidden layer, (n_rows, width), of 0 or 1 / (1 - dropout)."""
        if self.dropout == 0:
            return []
        keep = 1 - self.dropout
        sizes = [(n_rows, int(layer.in_features)) for layer in self.layers[1:]]  # type: ignore[arg-type]
        return [
            torch.rand(size, generator=generator, device=generator.device).lt(keep) / keep for size in sizes
        ]


def _linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    # skip_init: the constructor alone would draw from the global generator
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out, device=generator.device)
    nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
