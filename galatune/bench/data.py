"""Where the tables are that are no part of the project."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["tables_folder"]


def tables_folder() -> Path:
    """``tabular`` in the folder of the variable ``GALATUNE_DATA``, as it is now."""
    return Path(os.environ.get("GALATUNE_DATA", "../shared/data")) / "tabular"
