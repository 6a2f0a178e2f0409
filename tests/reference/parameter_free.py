"""COCOB-Backprop and DoWG, number by number as the papers print them."""

from __future__ import annotations

import math
from collections.abc import Callable

Gradient = Callable[[list[float], int], list[float]]
"""(parameters, step from 0) to the gradient."""


def cocob(
    x: list[float], gradient: Gradient, steps: int, alpha: float = 100.0, eps: float = 1e-8
) -> list[float]:
    """Orabona and Tommasi 2017, algorithm 2; L starts at eps. Returns the last iterate.

    The paper's g is the negative gradient.
    """
    n = len(x)
    first, w = list(x), list(x)
    L, G, reward, theta = [eps] * n, [0.0] * n, [0.0] * n, [0.0] * n
    for t in range(steps):
        g = [-value for value in gradient(w, t)]
        for i in range(n):
            L[i] = max(L[i], abs(g[i]))
            G[i] = G[i] + abs(g[i])
            reward[i] = max(reward[i] + (w[i] - first[i]) * g[i], 0.0)
            theta[i] = theta[i] + g[i]
            beta = theta[i] / (L[i] * max(G[i] + L[i], alpha * L[i]))
            w[i] = first[i] + beta * (L[i] + reward[i])
    return w


def dowg(x: list[float], gradient: Gradient, steps: int, r: float = 1e-2) -> list[float]:
    """Khaled, Mishchenko and Jin 2023, algorithm 1, without the projection. Returns the last iterate."""
    first, w, v = list(x), list(x), 0.0
    for t in range(steps):
        g = gradient(w, t)
        r = max(math.dist(w, first), r)
        v = v + r**2 * sum(value**2 for value in g)
        eta = r**2 / math.sqrt(v)
        w = [one - eta * value for one, value in zip(w, g, strict=True)]
    return w
