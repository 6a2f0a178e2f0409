from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def customers() -> pd.DataFrame:
    """Ninety rows with every kind of column: `plan` follows from `age`, `spent` too."""
    random = np.random.default_rng(0)
    age = random.normal(40, 10, 90).round(1)
    return pd.DataFrame(
        {
            "age": np.where(np.arange(90) % 11 == 0, np.nan, age),
            "city": random.choice(["Bern", "Oslo"], 90),
            "member": age > 30,
            "plan": np.where(age > 40, "<b>$x$</b>", "None"),
            "spent": 10 * age + random.normal(0, 5, 90),
            "weight": np.arange(90) % 3 + 1,
        }
    )


@pytest.fixture(scope="session")
def customers_csv(customers: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "customers.csv"
    customers.to_csv(path, index=False)
    return path
