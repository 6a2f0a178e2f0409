"""The old studies, as far as a script may look for them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import optuna
from optuna.study import StudyDirection

from galatune.errors import GalatuneError
from galatune.study.ledger.provenance import old_names
from galatune.study.search.scripts.script_storage import ScriptStorage
from galatune.study.storage.reading import open_source

__all__ = ["OldStudies"]


class OldStudies:
    """Old studies by name: a script that loads one gets one.

    Args:
        place: Storage of the old studies, None if there are none.
        searched: Name of the one that is searched, None if there is none.
    """

    def __init__(self, place: str | None = None, searched: str | None = None) -> None:
        self._place, self._searched = place, searched
        self._directions: Mapping[str, list[StudyDirection]] = {}
        if place is not None:
            with open_source(place) as source:
                self._directions = {name: source.study(name).directions for name in old_names(source)}

    @property
    def names(self) -> tuple[str, ...]:
        """Oldest first."""
        return tuple(self._directions)

    def expected(self, storage: ScriptStorage, name: str | None) -> None:
        """Make a study that a script expects in a storage of its own; none if there was none."""
        name = self._searched if name is None else name
        if name is not None and name in self._directions:
            storage.create_new_study(self._directions[name], name)

    def fill(self, study: optuna.Study) -> int | None:
        """Give a study that is not searched its old trials.

        Returns:
            How many it has; None if there are none of that name.
        """
        if self._place is None or study.study_name not in self._directions:
            return None
        if study.get_trials(deepcopy=False):
            return len(study.get_trials(deepcopy=False))
        with suppress(GalatuneError), open_source(self._place) as source:
            trials = source.study(study.study_name).get_trials(deepcopy=False)
            for trial in trials:
                study._storage.create_new_trial(study._study_id, template_trial=trial)
            return len(trials)
        return None
