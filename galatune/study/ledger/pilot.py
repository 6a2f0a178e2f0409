"""A pilot: pairs of trainings that choose how the smaller search sets its rates.

Everything is read from the smaller study, in which the pairs are trials of the stage "pilot", so that
`pilot`, `run` and `report` say the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from galatune.study.ledger.attributes import SCHEMA
from galatune.study.ledger.pilot_arm import ARMS, Arm, PilotArm
from galatune.study.ledger.pilot_choice import Choice, PairValues, Terms, choose
from galatune.study.ledger.pilot_report import PilotCost, PilotPair, PilotReport
from galatune.study.ledger.provenance import CONTROL_OPTIONS
from galatune.study.ledger.rows import Ledger, TrialRow

if TYPE_CHECKING:
    pass

__all__ = ["CARRIED_OPTIONS", "PilotTerms", "pilot_of"]

CARRIED_OPTIONS = (*CONTROL_OPTIONS, "prior")
"""Options of control that a run takes over from its pilot."""


@dataclass(frozen=True)
class PilotTerms:
    """What is set before the first pair and kept in the smaller study.

    Attributes:
        most: Pairs at most.
        margin: Differences up to this size count as none, in the units of the objective.
        goal: Mean of the repeats of the old best; without repeats the old best itself.
        old_best: The value that the old study saw.
        error: Standard error of `goal`, None if it is unknown.
        repeats: How many repeats `goal` is the mean of.
        old_trials: Finished trials of the old study.
        old_values: Old trial to its value, of those whose configurations are run.
        first: The first pair that counts. Pairs before it ran an objective that failed in every trial; they
            are paid for.
        best_trial: Number of the old best, whose rates are the ones that are fixed; None if unknown.
    """

    most: int
    margin: float
    goal: float
    old_best: float
    error: float | None
    repeats: int
    old_trials: int
    old_values: Mapping[int, float] = field(default_factory=dict)
    first: int = 0
    best_trial: int | None = None

    def to_attribute(self) -> dict[str, Any]:
        """JSON-ready form."""
        body = asdict(self)
        body["old_values"] = {str(number): value for number, value in self.old_values.items()}
        return {"schema": SCHEMA, **body}

    @classmethod
    def from_attribute(cls, body: Mapping[str, Any]) -> PilotTerms | None:
        """Read it back; None if there is none, or if it does not have the agreed shape."""
        numbers = [body.get(name) for name in ("most", "margin", "goal", "old_best", "repeats", "old_trials")]
        first = body.get("first", 0)
        error, values = body.get("error"), body.get("old_values")
        shaped = (
            body.get("schema") == SCHEMA
            and isinstance(values, Mapping)
            and all(map(_finite, (*numbers, first)))
        )
        if not shaped or not (error is None or _finite(error)) or not all(map(_finite, values.values())):  # type: ignore[union-attr]
            return None
        most, margin, goal, old_best, repeats, old_trials = numbers
        known = {int(number): float(value) for number, value in values.items()}  # type: ignore[union-attr]
        best = body.get("best_trial")
        return cls(most, margin, goal, old_best, error, repeats, old_trials, known, first, best)  # type: ignore[arg-type]


def pilot_of(shrunk: Ledger) -> PilotReport | None:
    """The pilot that a smaller study holds; None if it holds none, or if its terms are not set yet."""
    terms = PilotTerms.from_attribute(shrunk.provenance.pilot)
    if terms is None or len(shrunk.directions) != 1:
        return None
    sign = -1.0 if shrunk.directions[0] == "maximize" else 1.0
    arms = _arms(shrunk)
    done = [arms[pair] for pair in sorted(arms) if pair >= terms.first and len(arms[pair]) == len(ARMS)]
    pairs = tuple(_pair(rows, terms, sign) for rows in done)
    costs = {arm: _mean_gradients([rows[arm] for rows in done]) for arm in ARMS}
    found = _chosen(pairs, terms, costs, sign)
    all_rows = [row for rows in arms.values() for row in rows.values()]
    return PilotReport(
        study=shrunk.study,
        storage=shrunk.storage,
        direction=shrunk.directions[0],
        values=pairs,
        pairs=found.pairs,
        most=terms.most,
        margin=terms.margin,
        difference=found.difference,
        relative=found.difference / terms.margin if found.difference is not None and terms.margin else None,
        interval=found.interval,
        confidence=found.confidence,
        detectable=found.detectable,
        over=found.decided or len(pairs) >= terms.most,
        verdict=found.verdict,
        way=found.way,
        why=found.why,
        cost=_cost(shrunk, all_rows, terms, costs),
        goal=terms.goal,
        goal_repeats=terms.repeats,
        options={name: shrunk.provenance.options.get(name) for name in CARRIED_OPTIONS},
        first=terms.first,
    )


def _chosen(
    pairs: Sequence[PilotPair], terms: PilotTerms, costs: Mapping[Arm, float | None], sign: float
) -> Choice:
    def turned(value: float | None) -> float | None:
        return None if value is None else sign * value

    values = [
        PairValues(
            controlled=turned(pair.controlled),
            fixed=turned(pair.fixed),
            own=turned(pair.own),
            fixed_is_own=pair.old_trial == terms.best_trial,
            comparable=pair.why is None or pair.controlled is None or pair.fixed is None,
        )
        for pair in pairs
    ]
    return choose(values, Terms(terms.most, terms.margin, terms.error or 0.0), costs)


def _arms(shrunk: Ledger) -> dict[int, dict[Arm, TrialRow]]:
    """The trainings that have ended, by pair; of several for one place the first."""
    found: dict[int, dict[Arm, TrialRow]] = {}
    for row in shrunk.finished:
        if row.pilot is not None and not row.interrupted:
            found.setdefault(row.pilot.pair, {}).setdefault(row.pilot.arm, row)
    return found


def _pair(rows: Mapping[Arm, TrialRow], terms: PilotTerms, sign: float) -> PilotPair:
    controlled, fixed = (rows[arm].value if rows[arm].has_result else None for arm in ARMS)
    place = rows["controlled"].pilot
    why = "; ".join(f"{arm}: {_why(rows[arm])}" for arm in ARMS if not rows[arm].has_result) or None
    if why is None and not _same(rows):
        why = "the two drew different values of what the old trial does not have"
    known = why is None and controlled is not None and fixed is not None
    difference = sign * (controlled - fixed) if known else None  # type: ignore[operator]
    return PilotPair(
        old_trial=None if place is None else place.trial,
        controlled=controlled,
        fixed=fixed,
        own=None if place is None else _own(place, terms),
        difference=difference,
        why=why,
    )


def _same(rows: Mapping[Arm, TrialRow]) -> bool:
    """Whether both trainings had one configuration."""
    one, other = ({name: repr(v) for name, v in rows[arm].params.items()} for arm in ARMS)
    return one == other


def _why(row: TrialRow) -> str:
    if row.state == "PRUNED":
        return "pruned by the objective"
    return row.reason or ("its value is not finite" if row.values is not None else "failed")


def _own(place: PilotArm, terms: PilotTerms) -> float | None:
    value = None if place.trial is None else terms.old_values.get(place.trial)
    if value is None or not terms.repeats:
        return None
    return value + (terms.goal - terms.old_best)


def _mean_gradients(rows: Sequence[TrialRow]) -> float | None:
    counts = [row.gradient_evaluations for row in rows if row.has_result]
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known and len(known) == len(counts) else None


def _cost(
    shrunk: Ledger, rows: Sequence[TrialRow], terms: PilotTerms, costs: Mapping[Arm, float | None]
) -> PilotCost:
    repeats = [row for row in shrunk.finished if row.stage == "repeat" and not row.interrupted]
    return PilotCost(
        trainings=len(rows),
        trainings_percent=100 * len(rows) / terms.old_trials if terms.old_trials else None,
        gradient_evaluations=_gradients(rows),
        hours=_hours(rows),
        per_training=dict(costs),
        repeats=len(repeats),
        repeats_gradient_evaluations=_gradients(repeats),
        repeats_hours=_hours(repeats),
    )


def _gradients(rows: Sequence[TrialRow]) -> int | None:
    counts = [row.gradient_evaluations for row in rows if row.gradient_evaluations is not None]
    return sum(counts) if rows and len(counts) == len(rows) else None


def _hours(rows: Sequence[TrialRow]) -> float | None:
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return math.fsum(seconds) / 3600 if rows and len(seconds) == len(rows) else None


def _finite(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
