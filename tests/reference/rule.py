"""The rule, word by word, on one flat vector in float64: slow, and independent of the package's structure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from reference.optimizers import SGD, Adam, Coupled, NAdam, RAdam, Sign

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


def grown(
    rate: float, wanted: float, limited: bool, since: int, sharpness: list[float]
) -> tuple[float, bool]:
    """At most 2 per probe, and 5 % per step unless the last eight curvatures agree or much more is wanted.

    Also whether the limit was that per probe, and less than wanted.
    """
    last = sharpness[-8:]
    agree = len(last) == 8 and max(last) - min(last) < 0.2
    limited = limited and not agree and wanted <= 300 * rate
    growth = min(2, 1.05**since) if limited else 2
    return min(wanted, growth * rate), not limited and wanted > growth * rate


def high(losses: list[float]) -> bool:
    """Whether the last loss has risen far beyond the noise of those before.

    What high losses add to the noise is at most the limit that they passed.
    """
    noise = weight = 0.0
    for i in range(1, len(losses)):
        before, rise = losses[:i], losses[i] - min(losses[max(0, i - 8) : i])
        limit = max(
            16 * noise / weight if weight else 0.0,
            0.05 * (before[0] - min(before)),
            0.5 * abs(min(before[-8:])),
        )
        risen, up = i >= 10 and rise > limit, max(losses[i] - losses[i - 1], 0.0)
        noise, weight = 0.95 * noise + (min(up, limit) if risen else up), 0.95 * weight + 1
    return len(losses) > 1 and risen


def first_move(x: np.ndarray) -> float:
    return 1e-5 * max(np.linalg.norm(x), 1e-3 * math.sqrt(x.size))


def train(  # noqa: C901, PLR0912, PLR0915 - in one piece, as the rule is written
    loss: Loss,
    x: np.ndarray,
    batches: Sequence[object],
    optimizer: SGD | Adam | Coupled | Sign,
    *,
    schedule: Callable[[int], float] = lambda t: 1.0,
    scale: float | Callable[[int], float] = 1.0,
    direction: bool = True,
    probe: str = "closure",
    ratio: np.ndarray | float = 1.0,
    probe_first: int = 10,
    probe_every: int = 1,
    probed: Callable[[int], bool] | None = None,
) -> Run:
    """Train under the rule.

    Args:
        schedule: Step, from 0, to a rate in any unit.
        scale: s, step scale; a function of the number of steps taken if it changes.
        direction: a compares g0 with the previous update instead of g1, and counts as a running mean.
        probe: "closure" evaluates g0 at x0 and measures in the metric of the next step (Adam);
            "graph" takes g1 - H d; "echo" had this minibatch in the step before, and takes its share
            out of Adam's direction.
        probed: Step, from 0, to whether it is probed, if the probe schedule does not say.
        ratio: Rate of each parameter relative to the controlled one.
    """
    run = Run(x)
    A = C = A1 = C1 = mean = mean_weight = mean_probes = typical = typical_probes = 0.0
    last = 0  # step of the last probe
    sharpness: list[float] = []
    losses: list[float] = []
    in_a_row, worst, owed = 0, 0.0, False
    rate, first, x0, peak, applied = 0.0, 0.0, x, 0.0, 0.0
    step_unknown, observed, started, far_below = False, False, None, False
    known = not isinstance(optimizer, Sign)
    was_plain = getattr(optimizer, "plain", False)
    echoed = probe == "echo" and isinstance(optimizer, Adam) and not isinstance(optimizer, NAdam)
    if probe == "echo" and not echoed:
        direction = False

    def faded(t: int) -> float:
        adaptive = known and not isinstance(optimizer, SGD)
        if not (typical_probes and adaptive and direction):
            return 1.0
        power = min(4 * math.log10(max(t / 600, 1)), 2)
        return min((mean_weight / mean_probes) / (typical / typical_probes), 1) ** power

    for t, batch in enumerate(batches):
        x1, g1 = x, gradient(loss, x, batch)
        s = scale(t) if callable(scale) else scale
        peak = max(peak, schedule(t))
        factor = float(f"{schedule(t) / peak:.9g}") if peak > 0 else 1.0

        plain = getattr(optimizer, "plain", False)
        if was_plain and not plain:  # rates have another unit from here on
            A = C = A1 = C1 = mean = mean_weight = mean_probes = typical = typical_probes = rate = 0.0
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
                rate, step_unknown = 1e-6, True
            if rate and started is None:
                started = t  # the first probes are counted from here
        elif (
            probed(t)
            if probed
            else owed or t - started <= (4 if far_below else 1) * probe_first or due(t - started, probe_every)
        ):
            d = x1 - x0
            g0 = g1 - hessian_vector(loss, x1, d, batch) if probe == "graph" else gradient(loss, x0, batch)
            G1 = g1
            if optimizer.maximize:
                g0, G1 = -g0, -G1
            g0, G1 = g0 + optimizer.coupled * x0, G1 + optimizer.coupled * x1
            y = G1 - g0
            since, last = t - last, t
            if step_unknown and d.any():
                step_unknown = False
                rate = first = first_move(x1) * rate / np.linalg.norm(d)
            limited = rate > 300 * first and factor > 0.9
            if not (np.isfinite(g0).all() and np.isfinite(G1).all()):
                rate = rate / 4
            elif not d.any() or not g0.any() or not y.any():
                if g0.any() and not observed:
                    rate, far_below = (rate, far_below) if d.any() else (2 * rate, True)
                elif g0.any():
                    S = s * faded(t)
                    wanted = max(min(S * A / C, 4 * S * A1 / C1), first)
                    more, far_below = grown(rate, wanted, limited, since, sharpness)
                    rate = max(rate, more)
            else:
                observed = True
                P = np.ones_like(x)
                if known:
                    P = optimizer.metric(x1)
                if probe == "closure" and isinstance(optimizer, Adam) and not isinstance(optimizer, RAdam):
                    P = optimizer.next_step_metric(G1)
                P = P * ratio
                d_norm = np.sqrt(np.sum(d * d / P))
                share = (1 - optimizer.betas[0]) / (1 - optimizer.betas[0] ** optimizer.t) if echoed else 0.0
                by_direction = direction and share < 1
                if not by_direction:
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
                if by_direction and known:
                    if mean_probes:
                        w = min(w, 3 * mean_weight / mean_probes)
                    if mean_probes >= 9:
                        typical, typical_probes = typical + w, typical_probes + 1
                    mean, mean_weight, mean_probes = (
                        0.9 * mean + w * a,
                        0.9 * mean_weight + w,
                        0.9 * mean_probes + 1,
                    )
                    counted = min(max(mean / mean_weight, 0.25), 1.0)
                A, C = 0.9 * A + w * counted, 0.9 * C + w * c
                A1, C1 = A1 + w * counted, C1 + w * c
                S = s * faded(t)
                fast, slow = S * A / C, S * A1 / C1
                sharpness.append(math.log(c))
                more, far_below = grown(rate, min(fast, 4 * slow), limited, since, sharpness)
                rate = max(more, rate / 4)
                run.alignments.append(a)
                run.lipschitz.append(L)
                run.curvatures.append(q)

        owed, cautious = False, False
        if started is not None and t > started:
            losses.append((-1 if optimizer.maximize else 1) * float(loss(torch.tensor(x1), batch)))
            in_a_row = in_a_row + 1 if high(losses) else 0
            rise = losses[-1] - min(losses[-9:-1], default=losses[-1])
            worst = worst if in_a_row else 0.0
            cautious = in_a_row == 1
            if in_a_row > 1 and rise > 2 * worst:  # an accident
                rate, worst, owed = rate / 4, rise, True

        applied = rate * (0.25 if cautious else 1.0) * optimizer.factor * factor
        run.rates.append(applied)
        x0, x = x1, optimizer.step(x1, g1, applied * ratio)
    run.x = x
    return run
