"""A pilot that is in another study than its search: its trainings are copied, so that they are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from galatune.errors import StorageError
from galatune.study.ledger.attributes import GOAL, PILOT, STAGE
from galatune.study.ledger.pilot_report import PilotReport
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.search.lanes import noted_ticket
from galatune.study.storage.reading import open_source

__all__ = ["CarriedPilot", "bring", "carried_pilot"]


@dataclass(frozen=True)
class CarriedPilot:
    """What a pilot left in its study.

    Attributes:
        trials: Its trainings and the repeats of the old best, with their times.
        attributes: Of the study: its goal and its terms.
    """

    trials: tuple[FrozenTrial, ...]
    attributes: Mapping[str, Any]


def carried_pilot(report: PilotReport) -> CarriedPilot | None:
    """Read it from where the pilot was run; None if that is not there any more."""
    if report.storage is None:
        return None
    try:
        with open_source(report.storage) as opened:
            study = opened.study(report.study)
            trials = study.get_trials()
            attributes = {name: study.user_attrs[name] for name in (GOAL, PILOT) if name in study.user_attrs}
    except StorageError:
        return None
    found = [t for t in trials if t.user_attrs.get(STAGE) in ("repeat", "pilot") and t.state.is_finished()]
    return CarriedPilot(tuple(found), attributes) if PILOT in attributes else None


def bring(study: optuna.Study, carried: CarriedPilot | None) -> None:
    """Copy it into a smaller study, once, however often this is cut short.

    Args:
        study: The smaller study.
        carried: From `carried_pilot`; None for nothing.
    """
    if carried is None or PILOT in study.user_attrs:
        return
    known = {(noted_ticket(t), is_interrupted(t)) for t in study.get_trials(deepcopy=False)}
    for trial in carried.trials:
        if (noted_ticket(trial), is_interrupted(trial)) not in known:
            study.add_trial(trial)
    for name, value in carried.attributes.items():
        study.set_user_attr(name, value)
