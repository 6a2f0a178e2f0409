"""Updates of torch's optimizers as their documentation writes them, with their metrics P."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class SGD:
    """Update of SGD as its documentation writes it; P is the identity."""

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    maximize: bool = False
    buffer: np.ndarray | None = None

    @property
    def coupled(self) -> float:
        return self.weight_decay

    @property
    def factor(self) -> float:
        return (1 - self.momentum) / (1 - self.dampening) if self.momentum else 1.0

    def metric(self, x: np.ndarray) -> np.ndarray:
        return np.ones_like(x)

    def first_direction(self, g: np.ndarray) -> np.ndarray:
        return (1 + self.momentum) * g if self.nesterov else g

    def step(self, x: np.ndarray, g: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
        g = (-g if self.maximize else g) + self.weight_decay * x
        if self.momentum:
            if self.buffer is None:
                self.buffer = g
            else:
                self.buffer = self.momentum * self.buffer + (1 - self.dampening) * g
            g = g + self.momentum * self.buffer if self.nesterov else self.buffer
        return x - rate * g


@dataclass
class Adam:
    """Update of Adam (and AdamW: ``decoupled``); P is 1 / (sqrt(bias-corrected second moment) + eps)."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False
    amsgrad: bool = False
    maximize: bool = False
    t: int = 0
    m: np.ndarray | float = 0.0
    v: np.ndarray | float = 0.0
    v_largest: np.ndarray | float = 0.0
    factor: float = 1.0

    @property
    def coupled(self) -> float:
        return 0.0 if self.decoupled else self.weight_decay

    def metric(self, x: np.ndarray) -> np.ndarray:
        v = self.v_largest if self.amsgrad else self.v
        return 1 / (np.sqrt(v / (1 - self.betas[1] ** self.t)) + self.eps)

    def next_step_metric(self, g: np.ndarray) -> np.ndarray:
        """With g, coupled decay in it, already in the second moment."""
        v = self.betas[1] * self.v + (1 - self.betas[1]) * g**2
        v = np.maximum(self.v_largest, v) if self.amsgrad else v
        return 1 / (np.sqrt(v / (1 - self.betas[1] ** (self.t + 1))) + self.eps)

    def first_direction(self, g: np.ndarray) -> np.ndarray:
        return g / (np.abs(g) + self.eps)

    def step(self, x: np.ndarray, g: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
        g = -g if self.maximize else g
        if self.decoupled:
            x = x - rate * self.weight_decay * x
        else:
            g = g + self.weight_decay * x
        self.t += 1
        self.m = self.betas[0] * self.m + (1 - self.betas[0]) * g
        self.v = self.betas[1] * self.v + (1 - self.betas[1]) * g**2
        self.v_largest = np.maximum(self.v_largest, self.v)
        m = self.m / (1 - self.betas[0] ** self.t)
        return x - rate * m * self.metric(x)


@dataclass
class NAdam(Adam):
    """Update of NAdam as its documentation writes it; P is Adam's."""

    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False
    product: float = 1.0

    @property
    def coupled(self) -> float:
        return 0.0 if self.decoupled_weight_decay else self.weight_decay

    def mu(self, t: int) -> float:
        return self.betas[0] * (1 - 0.96 ** (t * self.momentum_decay) / 2)

    def first_direction(self, g: np.ndarray) -> np.ndarray:
        mu1, mu2 = self.mu(1), self.mu(2)
        mean = mu2 * (1 - self.betas[0]) * g / (1 - mu1 * mu2) + (1 - mu1) * g / (1 - mu1)
        return mean / (np.abs(g) + self.eps)

    def step(self, x: np.ndarray, g: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
        g = -g if self.maximize else g
        if self.decoupled_weight_decay:
            x = x - rate * self.weight_decay * x
        else:
            g = g + self.weight_decay * x
        self.t += 1
        mu, mu_next = self.mu(self.t), self.mu(self.t + 1)
        self.product *= mu
        self.m = self.betas[0] * self.m + (1 - self.betas[0]) * g
        self.v = self.betas[1] * self.v + (1 - self.betas[1]) * g**2
        mean = mu_next * self.m / (1 - self.product * mu_next) + (1 - mu) * g / (1 - self.product)
        return x - rate * mean * self.metric(x)


@dataclass
class RAdam(Adam):
    """Update of RAdam as its documentation writes it; P is that of the coming step."""

    decoupled_weight_decay: bool = False

    @property
    def coupled(self) -> float:
        return 0.0 if self.decoupled_weight_decay else self.weight_decay

    def rectification(self, t: int) -> float | None:
        longest = 2 / (1 - self.betas[1]) - 1
        rho = longest - 2 * t * self.betas[1] ** t / (1 - self.betas[1] ** t)
        if rho <= 5:
            return None
        return math.sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))

    @property
    def plain(self) -> bool:
        return self.rectification(self.t + 1) is None

    def metric(self, x: np.ndarray) -> np.ndarray:
        if self.plain:
            return np.ones_like(x)
        bias = 1 - self.betas[1] ** self.t
        return self.rectification(self.t + 1) * np.sqrt(bias) / (np.sqrt(self.v) + self.eps)

    def first_direction(self, g: np.ndarray) -> np.ndarray:
        return g * self.metric(g)

    def step(self, x: np.ndarray, g: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
        g = -g if self.maximize else g
        if self.decoupled_weight_decay:
            x = x - rate * self.weight_decay * x
        else:
            g = g + self.weight_decay * x
        self.t += 1
        self.m = self.betas[0] * self.m + (1 - self.betas[0]) * g
        self.v = self.betas[1] * self.v + (1 - self.betas[1]) * g**2
        m = self.m / (1 - self.betas[0] ** self.t)
        r = self.rectification(self.t)
        if r is None:
            return x - rate * m
        return x - rate * m * r * np.sqrt(1 - self.betas[1] ** self.t) / (np.sqrt(self.v) + self.eps)


@dataclass
class Coupled:
    """What the others share: decay in the gradient, no momentum."""

    weight_decay: float = 0.0
    maximize: bool = False
    factor: float = 1.0
    t: int = 0

    @property
    def coupled(self) -> float:
        return self.weight_decay

    def gradient(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.t += 1
        return (-g if self.maximize else g) + self.weight_decay * x


@dataclass
class Adamax(Coupled):
    """Update of Adamax; P is 1 / u."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    m: np.ndarray | float = 0.0
    u: np.ndarray | float = 0.0

    def metric(self, x: np.ndarray) -> np.ndarray:
        return 1 / self.u

    def first_direction(self, g: np.ndarray) -> np.ndarray:
        return g / (np.abs(g) + self.eps)

    def step(self, x: np.ndarray, g: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
        g = self.gradient(x, g)
        self.m = self.betas[0] * self.m + (1 - self.betas[0]) * g
        self.u = np.maximum(self.betas[1] * self.u, np.abs(g) + self.eps)
        return x - rate * self.m / (1 - self.betas[0] ** self.t) / self.u


@dataclass
class Adagrad(Coupled):
    """Update of Adagrad; P is 1 / (sqrt(sum) + eps), lr_decay a schedule beside it."""

    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    total: np.ndarray | float | None = None

    def metric(self, x: np.ndarray) -> np.ndarray:
        return 1 / (np.sqrt(self.total) + self.eps)

    def first_direction(self, g: np.ndarray) -> np.ndarray:
        return g / (np.sqrt(self.initial_accumulator_value + g**2) + self.eps)

    def step(self, x: np.ndarray, g: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
        g = self.gradient(x, g)
        self.total = (self.initial_accumulator_value if self.total is None else self.total) + g**2
        return x - rate / (1 + (self.t - 1) * self.lr_decay) * g * self.metric(x)


@dataclass
class RMSprop(Coupled):
    """Update of RMSprop; P is 1 / (sqrt(v) + eps), v less the mean's square if centered."""

    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    v: np.ndarray | float = 0.0
    mean: np.ndarray | float = 0.0
    buffer: np.ndarray | float = 0.0

    def __post_init__(self) -> None:
        self.factor = 1 - self.momentum

    def metric(self, x: np.ndarray) -> np.ndarray:
        return 1 / (np.sqrt(self.v - self.mean**2 if self.centered else self.v) + self.eps)

    def first_direction(self, g: np.ndarray) -> np.ndarray:
        share = 1 - self.alpha
        return g / (np.sqrt(share * g**2 - (share * g) ** 2 * self.centered) + self.eps)

    def step(self, x: np.ndarray, g: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
        g = self.gradient(x, g)
        self.v = self.alpha * self.v + (1 - self.alpha) * g**2
        self.mean = self.alpha * self.mean + (1 - self.alpha) * g
        self.buffer = self.momentum * self.buffer + g * self.metric(x)
        return x - rate * self.buffer


@dataclass
class Adadelta(Coupled):
    """Update of Adadelta; P is the ratio of the root mean square step and gradient."""

    rho: float = 0.9
    eps: float = 1e-6
    v: np.ndarray | float = 0.0
    steps: np.ndarray | float = 0.0

    def metric(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(self.steps + self.eps) / np.sqrt(self.v + self.eps)

    def first_direction(self, g: np.ndarray) -> np.ndarray:
        return np.sqrt(self.eps) / np.sqrt((1 - self.rho) * g**2 + self.eps) * g

    def step(self, x: np.ndarray, g: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
        g = self.gradient(x, g)
        self.v = self.rho * self.v + (1 - self.rho) * g**2
        delta = self.metric(x) * g
        self.steps = self.rho * self.steps + (1 - self.rho) * delta**2
        return x - rate * delta


@dataclass
class Sign:
    """Signs of gradients: an optimizer whose metric nobody knows."""

    coupled: float = 0.0
    factor: float = 1.0
    maximize: bool = False

    def step(self, x: np.ndarray, g: np.ndarray, rate: np.ndarray | float) -> np.ndarray:
        return x - rate * np.sign(g)
