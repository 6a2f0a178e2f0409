"""How a search ended, and what may help."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from fake_studies import fake_study, record

from galatune.study.ledger.attributes import RECORD, UNFINISHED
from galatune.study.ledger.ending import (
    AT_WORK,
    FAILED,
    MATCHED,
    OWN_STEPS,
    PRUNED_AFTER,
    STALE,
    TRIED,
    Ending,
    advice,
    ending,
)
from galatune.study.ledger.record import RateEvent
from galatune.study.ledger.rows import Ledger, ledger

USED_UP = "the budget of 3 trials is used up"
GROWING = "after 400 steps the rate was still growing: train longer"
AT_BOUND = "the rate is held at its upper bound 0.003"


def ended(
    values: list[Any],
    old_best: float | None = 1.0,
    reason: str | None = USED_UP,
    *,
    direction: str = "minimize",
    old: int = 40,
    options: dict[str, Any] | None = None,
    event: tuple[str, str] | None = None,
) -> Ledger:
    """A smaller study whose run is over."""
    study = fake_study(values, name="new", controlled=True, directions=[direction])
    attribute = study.user_attrs[RECORD]
    source = {**attribute["source"], "best_value": old_best}
    counts = {"complete": old, "pruned": 0, "failed": 0}
    study.set_user_attr(
        RECORD,
        {
            **attribute,
            "source": source,
            "plan": {**attribute["plan"], "trials": counts},
            "options": options or {},
            "stopped_because": reason,
        },
    )
    return ledger(study) if event is None else ledger(_with_event(study, *event))


def _with_event(study: optuna.Study, kind: str, words: str) -> optuna.Study:
    body = {**record().to_attribute(), "events": [list(vars(RateEvent(0, 9, kind, words)).values())]}
    for trial in study.get_trials(deepcopy=False):
        trial.user_attrs[RECORD] = body
    return study


@pytest.mark.parametrize(
    ("values", "old_best", "direction", "text"),
    [
        ([0.0612, 0.07], 0.0583, "minimize", "0.0583, missed by 0.0029 (5.0 %)"),
        ([0.9, 0.95], 0.99, "maximize", "0.99, missed by 0.04 (4.0 %)"),
        ([-3.0, -2.0], -4.0, "minimize", "-4, missed by 1 (25.0 %)"),
        ([-3.0, -2.0], -1.0, "maximize", "-1, missed by 1 (100.0 %)"),
        ([0.5], 0.0, "minimize", "0, missed by 0.5"),
        ([5.0], 0.001, "minimize", "0.001, missed by 4.999"),
        ([1.0], 1.0, "minimize", "1, reached"),
        ([2.0], 1.0, "maximize", "1, reached"),
        (["failed", "pruned"], 1.0, "minimize", "1, not reached: no trial is complete"),
        ([math.inf], 1.0, "minimize", "1, not reached: no trial is complete"),
        ([], 1.0, "minimize", "1, not reached: no trial is complete"),
        ([2.0], None, "minimize", None),
    ],
)
def test_a_search_ends_with_what_it_missed(
    values: list[Any], old_best: float | None, direction: str, text: str | None
) -> None:
    assert ending(ended(values, old_best, direction=direction)).text() == text


def test_a_match_within_the_tolerance_missed_nothing() -> None:
    found = ended([1.001], reason=f"{MATCHED} after 1 trial")
    assert ending(found) == Ending(1.0, 1.001, None, matched=True)
    assert ending(found).text() == "1, matched"
    assert advice(found) is None


def test_several_objectives_are_compared_by_their_hypervolume() -> None:
    study = fake_study([(1.0, 2.0)], controlled=True, directions=["minimize", "maximize"])
    attribute = study.user_attrs[RECORD]
    study.set_user_attr(RECORD, {**attribute, "source": {"hypervolume": 4.0, "reference_point": [2.0, 0.0]}})
    assert ending(ledger(study)) == Ending(4.0, 2.0, 2.0, volume=True)
    study.set_user_attr(RECORD, {**attribute, "source": {"hypervolume": 4.0}})
    assert ending(ledger(study)).text() is None


@pytest.mark.parametrize("best", ["1", None, [1.0]])
def test_an_old_best_of_another_shape_is_not_guessed(best: Any) -> None:
    assert ending(ended([2.0], best)).text() is None


@pytest.mark.parametrize(
    ("values", "given", "text"),
    [
        ([3.0, 2.0], {}, "more trials; galatune run with --trials 7 --until-match"),
        ([3.0, 2.0], {"options": {"trials": 2}}, "more trials; galatune run with --trials 7"),
        ([4.0] * 10 + [3.0] * 10, {}, "more trials; galatune run with --trials 30 --until-match"),
        ([3.0] * 9, {}, "more trials; galatune run with --trials 14 --until-match"),
        (
            [3.0, 4.0, 4.0],
            {"reason": f"2 trials {STALE}", "options": {"patience": 2}},
            "more patience; galatune run with --patience 4",
        ),
        ([3.0], {"reason": UNFINISHED}, "the same command continues the search"),
        ([3.0], {"reason": None}, "the same command continues the search"),
        ([3.0], {"reason": "the objective stopped the study"}, "the same command continues the search"),
        ([3.0], {"reason": f"the rest of the budget is {AT_WORK}"}, "wait for the other processes"),
        ([3.0], {"reason": f"all 4 configurations {TRIED} more trials repeat them"}, None),
        (
            ["pruned", "pruned", "pruned", 3.0],
            {"event": ("pruning", f"{PRUNED_AFTER} 3 reports: its rate had arrived")},
            "3 of 4 trials were pruned; galatune run with --pruner none and another --name",
        ),
        (
            ["pruned", "pruned", "pruned", 3.0],
            {},
            "3 of 4 trials were pruned, mostly by a rule of the objective's own, not by --pruner: loosen it",
        ),
        (["failed", "failed"], {}, None),
        (
            [3.0, "failed", "failed"],
            {"reason": f"5 {FAILED}"},
            "mend the objective, then the same command continues the search",
        ),
        (
            [3.0],
            {"reason": f"20 {OWN_STEPS}"},
            "leave that choice out of the objective, or search the rate again with --keep",
        ),
        ([1.0], {}, None),
        ([2.0], {"old_best": None}, "more trials; galatune run with --trials 6 --until-match"),
    ],
)
def test_what_may_help(values: list[Any], given: dict[str, Any], text: str | None) -> None:
    found = advice(ended(values, **given))
    assert (None if found is None else found.text()) == text


def test_more_trials_are_not_advised_once_they_bring_nothing() -> None:
    found = advice(ended([2.0, 3.0, 3.0, 3.0], old=4))
    assert found is not None
    assert "the last 3 of 4 brought no better value" in found.text()
    assert not found.runs
    still = advice(ended([3.0, 3.0, 3.0, 2.0], old=4))
    assert still is not None
    assert "--trials" in still.options


def test_more_trials_are_not_advised_because_the_old_study_had_more() -> None:
    found = advice(ended([3.0] * 10, reason=f"8 trials {STALE}", old=400, options={"patience": 8}))
    assert found is not None
    assert found.text().startswith("more trials are not likely to close the gap: the last 9 of 10 brought no")
    assert not found.options


@pytest.mark.parametrize(
    ("event", "option"),
    [(("short", GROWING), {"--max-growth": "2"}), (("bound", AT_BOUND), {"--max-lr": "inf"})],
)
def test_what_held_the_rate_is_changed_before_more_trials(
    event: tuple[str, str], option: dict[str, str]
) -> None:
    found = advice(ended([3.0, 2.0], event=event))
    assert found is not None
    assert (found.options, found.anew) == (option, True)
    assert "2 of 2 complete trials" in found.words


def test_growth_that_is_free_already_is_not_advised() -> None:
    found = advice(ended([3.0, 2.0], event=("short", GROWING), options={"max_growth_per_step": 2.0}))
    assert found is not None
    assert "--trials" in found.options


def test_an_ordinary_study_gets_no_advice() -> None:
    assert advice(ledger(fake_study([3.0]))) is None
