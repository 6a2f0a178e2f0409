"""galatune in MLflow: reports, and fits of the estimators.

MLflow sends usage data by default; a report about somebody's experiments must not. The switch has to be
set before mlflow is imported for the first time.
"""

from __future__ import annotations

import os

from galatune_mlflow.autologging import autolog

__all__ = ["autolog"]

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
