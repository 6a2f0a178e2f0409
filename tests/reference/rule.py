"""Recipe R, word by word, on one flat vector in float64: slow, and independent of the package's structure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

Loss = Callable[[torch.Tensor, object], torch.Tensor]
"""(flat parameters, minibatch) to a scalar."""


def gradient(loss: Loss, x: np.ndarray, batch: object) -> np.ndarray:
    at = torch.tensor(x, requires_grad=True)
    return torch.autograd.grad(loss(at, batch), at)[0].numpy()


def hessian_vector(loss: Loss, x: np.ndarray, d: np.ndarray, batch: object) -> np.ndarray:
    return torch.autograd.functional.hvp(lambda at: loss(at, batch), torch.tensor(x), torch.tensor(d))[
        1
    ].numpy()


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

    def coming_metric(self, g: np.ndarray) -> np.ndarray:
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
    """Update of RMSprop; P is 1 / (sqrt(v) + eps), v less the mean's square where centered."""

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


@dataclass
class Run:
    """What a reference run did, by step."""

    x: np.ndarray
    rates: list[float] = field(default_factory=list)
    alignments: list[float] = field(default_factory=list)
    lipschitz: list[float] = field(default_factory=list)
    curvatures: list[float] = field(default_factory=list)


def due(t: int, every: int) -> bool:
    """Every so many steps; after ten times that, ten times while t grows e-fold, each somewhat late."""

    def probes(s: int) -> int:
        if s <= 10 * every:
            return s // every
        along = 10 + 10 * math.log(s / (10 * every))
        late = int(along) * (math.sqrt(5) - 1) / 2 % 1
        return int(along) + (along % 1 >= late)

    return probes(t) > probes(t - 1)


def grown(rate: float, wanted: float, paced: bool, since: int, sharpness: list[float]) -> tuple[float, bool]:
    """At most 2 a probe, and 5 % a step unless the last eight curvatures agree or much more is wanted.

    Also whether the 2 was too little, the 5 % apart.
    """
    last = sharpness[-8:]
    agree = len(last) == 8 and max(last) - min(last) < 0.2
    paced = paced and not agree and wanted <= 300 * rate
    growth = min(2, 1.05**since) if paced else 2
    return min(wanted, growth * rate), not paced and wanted > growth * rate


def first_move(x: np.ndarray) -> float:
    return 1e-5 * max(np.linalg.norm(x), 1e-3 * math.sqrt(x.size))


def recipe(  # noqa: C901, PLR0912, PLR0915 - in one piece, as the recipe is written
    loss: Loss,
    x: np.ndarray,
    batches: Sequence[object],
    optimizer: SGD | Adam | Coupled | Sign,
    *,
    schedule: Callable[[int], float] = lambda t: 1.0,
    scale: float | Callable[[int], float] = 1.0,
    travelled: bool = True,
    probe: str = "closure",
    ratio: np.ndarray | float = 1.0,
    probe_first: int = 10,
    probe_every: int = 1,
    probed: Callable[[int], bool] | None = None,
) -> Run:
    """Train under recipe R.

    Args:
        schedule: Step, from 0, to a rate in any unit.
        scale: s, step scale; of the number of steps taken where it changes.
        travelled: a compares g0 with the direction travelled instead of g1, and counts as a running mean.
        probe: "closure" evaluates g0 at x0 and measures in Adam's coming metric; "graph" takes g1 - H d;
            "echo" had this minibatch in the step before, and takes its share out of Adam's direction.
        probed: Step, from 0, to whether it is probed, where the rhythm does not say.
        ratio: Rate of each parameter relative to the controlled one.
    """
    run = Run(x)
    A = C = A1 = C1 = way = way_weight = way_rounds = 0.0
    last = 0  # step of the last probe
    sharpness: list[float] = []
    rate, first, x0, peak, applied = 0.0, 0.0, x, 0.0, 0.0
    blind, observed, began, far = False, False, None, False
    known = not isinstance(optimizer, Sign)
    was_plain = getattr(optimizer, "plain", False)
    echoed = probe == "echo" and isinstance(optimizer, Adam) and not isinstance(optimizer, NAdam)
    if probe == "echo" and not echoed:
        travelled = False
    for t, batch in enumerate(batches):
        x1, g1 = x, gradient(loss, x, batch)
        s = scale(t) if callable(scale) else scale
        peak = max(peak, schedule(t))
        factor = float(f"{schedule(t) / peak:.9g}") if peak > 0 else 1.0

        plain = getattr(optimizer, "plain", False)
        if was_plain and not plain:  # rates have another unit from here on
            A = C = A1 = C1 = way = way_weight = way_rounds = rate = 0.0
            sharpness.clear()
            observed = False
        was_plain = plain

        if rate == 0.0:
            sign = -1 if optimizer.maximize else 1
            if not (sign * g1 + optimizer.coupled * x1).any():
                pass  # no gradient, no rate
            elif known:
                u = optimizer.first_direction(sign * g1 + optimizer.coupled * x1) * ratio * optimizer.factor
                rate = first = first_move(x1) / np.linalg.norm(u)
            else:
                rate, blind = 1e-6, True
            if rate and began is None:
                began = t  # the first probes are counted from here
        elif (
            probed(t)
            if probed
            else t - began <= (4 if far else 1) * probe_first or due(t - began, probe_every)
        ):
            d = x1 - x0
            g0 = g1 - hessian_vector(loss, x1, d, batch) if probe == "graph" else gradient(loss, x0, batch)
            G1 = g1
            if optimizer.maximize:
                g0, G1 = -g0, -G1
            g0, G1 = g0 + optimizer.coupled * x0, G1 + optimizer.coupled * x1
            y = G1 - g0
            since, last = t - last, t
            if blind and d.any():
                blind = False
                rate = first = first_move(x1) * rate / np.linalg.norm(d)
            paced = rate > 300 * first and factor > 0.9
            if not (np.isfinite(g0).all() and np.isfinite(G1).all()):
                rate = rate / 4
            elif not d.any() or not g0.any() or not y.any():
                if g0.any() and not observed:
                    rate, far = (rate, far) if d.any() else (2 * rate, True)
                elif g0.any():
                    wanted = max(min(s * A / C, 4 * s * A1 / C1), first)
                    more, far = grown(rate, wanted, paced, since, sharpness)
                    rate = max(rate, more)
            else:
                observed = True
                P = np.ones_like(x)
                if known:
                    P = optimizer.metric(x1)
                if probe == "closure" and isinstance(optimizer, Adam) and not isinstance(optimizer, RAdam):
                    P = optimizer.coming_metric(G1)
                P = P * ratio
                d_norm = np.sqrt(np.sum(d * d / P))
                share = (1 - optimizer.betas[0]) / (1 - optimizer.betas[0] ** optimizer.t) if echoed else 0.0
                by_the_way = travelled and share < 1
                if not by_the_way:
                    a = np.sum(g0 * G1 * P) / np.sum(g0 * g0 * P)
                else:
                    u = -d / (applied / optimizer.factor)
                    others = u - share * P * g0
                    a = (1 - share) * np.sum(g0 * others) / np.sum(others * others / P)
                L = np.sqrt(np.sum(y * y * P)) / d_norm
                q = np.sum(y * d) / d_norm**2
                c = np.sqrt(L * max(q, 0.01 * L))
                w = np.sum(g0 * g0 * P) ** 0.5
                counted = a
                if by_the_way and known:
                    if way_rounds:
                        w = min(w, 3 * way_weight / way_rounds)
                    way, way_weight, way_rounds = (
                        0.9 * way + w * a,
                        0.9 * way_weight + w,
                        0.9 * way_rounds + 1,
                    )
                    counted = min(max(way / way_weight, 0.25), 1.0)
                A, C = 0.9 * A + w * counted, 0.9 * C + w * c
                A1, C1 = A1 + w * counted, C1 + w * c
                fast, slow = s * A / C, s * A1 / C1
                sharpness.append(math.log(c))
                more, far = grown(rate, min(fast, 4 * slow), paced, since, sharpness)
                rate = max(more, rate / 4)
                run.alignments.append(a)
                run.lipschitz.append(L)
                run.curvatures.append(q)

        applied = rate * optimizer.factor * factor
        run.rates.append(applied)
        x0, x = x1, optimizer.step(x1, g1, applied * ratio)
    run.x = x
    return run
