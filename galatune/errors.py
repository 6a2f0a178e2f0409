"""Every error that galatune raises on purpose.

::

    GalatuneError
    ├── StorageError        a study cannot be opened, found or read
    ├── PlanError           nothing to remove, or the options contradict the study
    ├── ObjectiveError      the objective cannot be imported, or fails in every trial
    ├── ControlError        an optimizer or a training loop cannot be controlled
    │   ├── ProbeError      this way of measuring curvature does not work here
    │   ├── SelfTuningError the optimizer sets its own step: it has no rate that control could set
    │   └── DivergenceError the training diverged, and the guard was told to stop
    ├── ReportError         a report cannot be made or sent
    └── TableError          a table cannot be read, or is not one that a model can be fitted to

A message is one line: what is wrong, what was given, what to do. The command line
prints it and exits with status 1.
"""

from __future__ import annotations

__all__ = [
    "ControlError",
    "DivergenceError",
    "GalatuneError",
    "ObjectiveError",
    "PlanError",
    "ProbeError",
    "ReportError",
    "SelfTuningError",
    "StorageError",
    "TableError",
]


class GalatuneError(Exception):
    """Root of every error raised on purpose."""


class StorageError(GalatuneError):
    """A study cannot be opened, found or read."""


class PlanError(GalatuneError):
    """Nothing to remove, or the options contradict the study."""


class ObjectiveError(GalatuneError):
    """The objective cannot be imported, or fails in every trial."""


class ControlError(GalatuneError):
    """An optimizer or a training loop cannot be controlled."""


class ProbeError(ControlError):
    """This way of measuring curvature does not work in this training loop."""


class SelfTuningError(ControlError):
    """The optimizer sets its own step, so that there is no rate for the controller to set."""


class DivergenceError(ControlError):
    """The training diverged, and the guard was told to stop, or not to go back another time."""


class ReportError(GalatuneError):
    """A report cannot be made or sent."""


class TableError(GalatuneError):
    """A table cannot be read, or it is not one that a model can be fitted to or predict."""
