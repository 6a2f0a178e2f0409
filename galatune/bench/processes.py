"""Work side by side in processes of its own, for every room of the testbed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

__all__ = ["side_by_side"]

Item = TypeVar("Item")
Found = TypeVar("Found")


def side_by_side(work: Callable[[Item], Found], items: Sequence[Item], processes: int) -> Iterator[Found]:
    """What a function gives for each item, as soon as it is there.

    Args:
        work: A function of a module, which other processes can import.
        items: What it is called with.
        processes: How many at once; with 1, or for one item, this process does it in their order.

    Example:
        >>> list(side_by_side(abs, [-1, 2], 1))
        [1, 2]
    """
    if processes == 1 or len(items) < 2:
        yield from map(work, items)
        return
    # A fresh interpreter each: a forked one would share torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(items)), mp_context=context) as pool:
        try:
            for future in as_completed([pool.submit(work, item) for item in items]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
