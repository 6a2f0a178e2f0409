"""One fit in a process of its own: ``python -m galatune.bench.tables.one_fit DATASET METHOD SEED FILE``.

The file holds the result as JSON afterwards; what libraries print does not mix with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from galatune.bench.tables.datasets import find_sets
from galatune.bench.tables.fit import Cell, measured
from galatune.bench.tables.methods import METHODS

__all__ = ["main"]


def main(dataset: str, method: str, seed: str, file: str) -> None:
    """Fit, and write what came of it."""
    (found,), _ = find_sets(dataset)
    cell = Cell(dataset, method, int(seed))
    fit = measured(cell, found.split(cell.seed), METHODS[method])
    Path(file).write_text(json.dumps(fit.to_json()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
