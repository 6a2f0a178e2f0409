"""What people do with torch: nets, and what is done with a loss."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from torch.utils.checkpoint import checkpoint

FEATURES, CLASSES, WIDTH = 8, 3, 8

Batch = tuple[Tensor, Tensor]
Backward = Callable[[nn.Module, Tensor, Tensor], Tensor]


# -- nets


def mlp(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, WIDTH), *(middle or (nn.Tanh(),)), nn.Linear(WIDTH, CLASSES))


def tied() -> nn.Module:
    shared = nn.Linear(FEATURES, FEATURES)
    return nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(FEATURES, CLASSES))


def frozen() -> nn.Module:
    net = mlp()
    net[0].weight.requires_grad_(False)
    return net


def with_unused() -> nn.Module:
    net = mlp()
    net.register_parameter("unused", nn.Parameter(torch.ones(3)))
    return net


def dead() -> nn.Module:
    net = mlp(nn.ReLU())
    nn.init.constant_(net[0].bias, -100.0)
    with torch.no_grad():
        net[2].bias[0] += 3.0  # the only thing left to learn
    return net


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]):
        super().__init__()
        self.inner, self.head = kind(2, WIDTH, num_layers=2, batch_first=True), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(x.unflatten(1, (-1, 2)))[0][:, -1])


class Transformer(nn.Module):
    """One block of causal attention over four places."""

    def __init__(self, reentrant: bool | None = None):
        super().__init__()
        self.embed, self.mix = nn.Linear(2, WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.norm, self.out, self.head = (
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, CLASSES),
        )
        self.reentrant = reentrant

    def block(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(self.norm(x)).unflatten(-1, (3, 2, -1)).movedim(-3, 0).transpose(-2, -3)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(mixed.transpose(-2, -3).flatten(-2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.unflatten(1, (-1, 2)))
        again = functools.partial(checkpoint, self.block, use_reentrant=self.reentrant)
        return self.head((self.block if self.reentrant is None else again)(x).mean(1))


class Checkpointed(nn.Module):
    """Activations, dropout included, are computed again in the backward pass."""

    def __init__(self, reentrant: bool):
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.middle = nn.Sequential(nn.Tanh(), nn.Dropout(0.2), nn.Linear(WIDTH, WIDTH), nn.Tanh())
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.middle, self.first(x), use_reentrant=self.reentrant))


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.classes, self.copy = (
            nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.Tanh()),
            nn.Linear(WIDTH, CLASSES),
            nn.Linear(WIDTH, FEATURES),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.body(x))


def compiled(backend: str) -> nn.Module:
    return torch.compile(mlp(), backend=backend)  # type: ignore[return-value]


# -- what is done with the loss


def plain(net: nn.Module, x: Tensor, y: Tensor, weight: float = 1.0) -> Tensor:
    loss = weight * functional.cross_entropy(net(x), y)
    loss.backward()
    return loss.detach()


def clipped(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    loss = plain(net, x, y)
    clip_grad_norm_(net.parameters(), 0.1)
    return loss


def accumulated(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return sum(plain(net, *part, weight=0.25) for part in zip(x.chunk(4), y.chunk(4), strict=True))


def several(net: TwoHeads, x: Tensor, y: Tensor) -> Tensor:
    hidden = net.body(x)
    one, two = functional.cross_entropy(net.classes(hidden), y), functional.mse_loss(net.copy(hidden), x)
    one.backward(retain_graph=True)
    (0.1 * two).backward()
    return plain(net, x + 0.1, y, weight=0.5) + one.detach()


@dataclass(frozen=True)
class Situation:
    """What a training loop does.

    Attributes:
        net: Builds it.
        backward: Forward and backward of one minibatch; returns the loss.
        sees: Whether there is a gradient, and so something to see and to learn.
        once: Whether the graph can be differentiated once only.
        exact: Whether the math kernel of attention does not take the fused one's place.
        workers: Of the DataLoader.
    """

    net: Callable[[], nn.Module]
    backward: Backward = plain
    sees: bool = True
    once: bool = False
    exact: bool = True
    workers: int = 0


SITUATIONS: dict[str, Situation] = {
    "dropout": Situation(lambda: mlp(nn.Tanh(), nn.Dropout(0.3))),
    "batch norm": Situation(lambda: mlp(nn.BatchNorm1d(WIDTH), nn.Tanh())),
    "in place": Situation(lambda: mlp(nn.SiLU(inplace=True), nn.Hardtanh(-2, 2, inplace=True))),
    "tied weights": Situation(tied),
    "frozen parameters": Situation(frozen),
    "parameters without gradient": Situation(with_unused),
    "zero gradients": Situation(mlp, functools.partial(plain, weight=0.0), sees=False),
    "tiny gradients": Situation(mlp, functools.partial(plain, weight=1e-8)),
    "dead net": Situation(dead),
    "lstm": Situation(lambda: Recurrent(nn.LSTM)),
    "gru": Situation(lambda: Recurrent(nn.GRU)),
    "attention": Situation(Transformer, exact=False),
    "checkpointed attention": Situation(lambda: Transformer(reentrant=False), exact=False),
    "checkpoint": Situation(lambda: Checkpointed(reentrant=False)),
    "reentrant checkpoint": Situation(lambda: Checkpointed(reentrant=True), once=True),
    "clipping": Situation(mlp, clipped),
    "accumulation": Situation(mlp, accumulated),
    "several losses": Situation(TwoHeads, several),
}
SLOW: dict[str, Situation] = {
    "workers": Situation(lambda: mlp(nn.Tanh(), nn.Dropout(0.3)), workers=1),
    "compile, eager": Situation(lambda: compiled("eager")),
    "compile, aot_eager": Situation(lambda: compiled("aot_eager"), once=True),
    "compile, inductor": Situation(lambda: compiled("inductor"), once=True),
}
