"""Intervals over tasks and, within them, seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["bootstrap"]

REPLICATES = 2000


def bootstrap(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], *, same_seeds: bool, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the mean over tasks of ``ln(mean of one / mean of the other)``.

    Args:
        pairs: Per task the losses of the one and of the other, one a seed, in the order of the seeds.
        same_seeds: Draw the same seeds for both, which takes out what a seed does to both alike.
        seed: Of the draws.

    Returns:
        Lower and upper end.

    Example:
        >>> low, high = bootstrap([([2.0, 4.0], [1.0, 2.0]), ([2.0], [1.0])], same_seeds=True)
        >>> round(low, 6), round(high, 6)  # always twice as much
        (0.693147, 0.693147)
    """
    generator = np.random.default_rng(seed)
    shape = (REPLICATES, len(pairs))
    drawn = np.stack([_logarithms(generator, pair, shape, same_seeds) for pair in pairs])
    tasks = generator.integers(len(pairs), size=shape)
    replicates, places = np.indices(shape)
    means = drawn[tasks, replicates, places].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _logarithms(
    generator: np.random.Generator,
    pair: tuple[Sequence[float], Sequence[float]],
    shape: tuple[int, int],
    same_seeds: bool,
) -> NDArray[np.float64]:
    one, other = np.array(pair[0]), np.array(pair[1])
    seeds = generator.integers(len(one), size=(*shape, len(one)))
    others = seeds if same_seeds else generator.integers(len(other), size=(*shape, len(other)))
    logarithms: NDArray[np.float64] = np.log(one[seeds].mean(axis=-1) / other[others].mean(axis=-1))
    return logarithms
