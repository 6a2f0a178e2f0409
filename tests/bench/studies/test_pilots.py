"""A pilot begins a search of the testbed: what it chose goes on, what it cost is paid, its regret is told."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import galatune
from galatune.bench.studies import search as search_module
from galatune.bench.studies.code import code_key
from galatune.bench.studies.comparisons import Testbed
from galatune.bench.studies.meter import TrialCost
from galatune.bench.studies.pilots import ALWAYS, PILOT, chosen, regrets
from galatune.bench.studies.results import Results
from galatune.bench.studies.testbed import Plan, run_testbed
from galatune.bench.studies.text import studies_tables, studies_words
from galatune.bench.studies.unit import AXES, OLD, Outcome, PilotNote, Unit
from galatune.bench.studies.ways import WAYS
from galatune.study.ledger.pilot_choice import LEAVE


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "TRIALS", 16)
    monkeypatch.setattr(search_module, "MOST_TRIALS", 24)


def run(folder: Path, *ways: str) -> dict[str, Outcome]:
    plan = Plan(("line",), ("again",), tuple(WAYS[way] for way in ways), (0,))
    outcomes = run_testbed(plan, folder, 1, lambda done, total: None)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    return {outcome.unit.way: outcome for outcome in outcomes}


@pytest.mark.usefixtures("small", "line")
@pytest.mark.parametrize(
    ("choice", "way"), [("controlled", "galatune-prior"), ("fixed", "fixed"), (LEAVE, "null")]
)
def test_the_search_goes_on_as_the_chosen_way_does_and_pays_for_the_pilot(
    choice: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pilot = galatune.pilot

    def choosing(*given: Any, **options: Any) -> Any:
        return replace(pilot(*given, **options), way=choice)

    monkeypatch.setattr(galatune, "pilot", choosing)
    found = run(tmp_path, "null", *({way} - {"null"}), PILOT)
    outcome, alone = found[PILOT], found[way]
    note = outcome.pilot
    assert note is not None
    assert (note.way, note.pairs, note.repeats, note.trainings) == (way, 2, 3, 7)
    behind = outcome.trials[note.trainings :]
    spent = outcome.trials[note.trainings - 1].gradients
    assert spent > 7 * 8, "two trainings of the pilot are probed"
    assert [(one.params, one.value) for one in behind] == [
        (one.params, one.value) for one in alone.trials[: len(behind)]
    ]
    assert [one.gradients - spent for one in behind] == [one.gradients for one in alone.trials[: len(behind)]]
    budget = found["null"].spent.gradients
    assert outcome.trials[-2].gradients < budget <= outcome.spent.gradients
    places = {place for axis in AXES for place in outcome.best_at[axis]}
    assert min(places) >= note.trainings, "no training of the pilot is a result of the search"
    same = {place - note.trainings for place in places} & set(alone.retrained)
    assert all(outcome.retrained[one + note.trainings] == alone.retrained[one] for one in same)


@pytest.mark.usefixtures("small", "line")
def test_a_pilot_that_chooses_by_itself_is_stored_and_told(tmp_path: Path) -> None:
    ways = ("null", *ALWAYS, PILOT)
    found = run(tmp_path, *ways)
    assert Results(tmp_path).outcomes[found[PILOT].unit] == found[PILOT]
    testbed = Testbed(found.values())
    assert sum(one.units for one in chosen(testbed, ["again"])) == 2, "its choice, and all of them"
    titles = [str(table.title) for table in studies_tables(testbed)]
    assert sum("what pilots chose" in title for title in titles) == 1
    assert sum("regret" in title for title in titles) == 2


def test_only_the_new_way_has_another_key() -> None:
    assert [name for name, way in WAYS.items() if way.pilot] == [PILOT]
    assert "pilot=" not in "".join(map(repr, WAYS.values())), "the keys of what was measured hold the repr"
    assert len({code_key(way) for way in WAYS.values()}) == len(WAYS)


def made_up(losses: dict[str, tuple[float, float, float]], seeds: int = 2) -> list[Outcome]:
    """Outcomes of two objectives, with a test loss per way and mark; the pilot takes 7 of 20 trials."""
    trials = tuple(TrialCost(1.0, "COMPLETE", {}, float(i), 10 * i) for i in range(1, 21))
    places = dict.fromkeys(AXES, (2, 3, 4))
    found = []
    for objective in ("a", "b"):
        for seed in range(seeds):
            found.append(Outcome(Unit(objective, "again", OLD, seed), trials))
            for way, values in losses.items():
                note = PilotNote("fixed", "undecided" if seed else "no-go", 2, 3, 7) if way == PILOT else None
                retrained = {place: (loss,) for place, loss in zip((2, 3, 4), values, strict=True)}
                unit = Unit(objective, "again", way, seed)
                found.append(Outcome(unit, trials, places, retrained, pilot=note))
    return found


LOSSES = {
    "null": (1.0, 1.0, 1.0),
    "fixed": (2.0, 2.0, 1.0),
    "galatune-prior": (1.0, 2.0, 2.0),
    PILOT: (4.0, 2.0, 1.0),
}


def test_regret_is_to_the_better_of_both_rules_at_each_mark() -> None:
    found = {
        one.way: [mean and mean.value for mean in one.means]
        for one in regrets(Testbed(made_up(LOSSES)), ["again"], "seconds")
    }
    twice = math.log(2)
    assert found[PILOT] == pytest.approx([2 * twice, 0.0, 0.0])
    assert found["fixed"] == pytest.approx([twice, 0.0, 0.0])
    assert found["galatune-prior"] == pytest.approx([0.0, 0.0, twice])


def test_all_regrets_are_of_the_units_that_have_all_three() -> None:
    outcomes = [one for one in made_up(LOSSES) if (one.unit.objective, one.unit.way) != ("a", PILOT)]
    sizes = [
        mean and mean.groups for one in regrets(Testbed(outcomes), ["again"], "seconds") for mean in one.means
    ]
    assert sizes == [1] * 9


def test_choices_are_counted_with_what_they_cost() -> None:
    fixed, together = chosen(Testbed(made_up(LOSSES)), ["again"])
    assert (fixed.way, fixed.units, fixed.undecided, fixed.pairs) == ("fixed", 4, 2, 2.0)
    assert (fixed.repeats_cost, fixed.pairs_cost) == pytest.approx((3 / 20, 4 / 20))
    assert together == replace(fixed, way=None)


def test_a_regret_that_cannot_be_told_says_what_it_needs() -> None:
    outcomes = [one for one in made_up(LOSSES) if one.unit.way != "fixed"]
    testbed = Testbed(outcomes)
    assert not [table for table in studies_tables(testbed) if "regret" in str(table.title)]
    assert "The regret of galatune-pilot needs fixed among --ways as well." in list(studies_words(testbed))
    without = Testbed([one for one in outcomes if one.unit.way != PILOT])
    assert chosen(without, ["again"]) == []
    assert not [line for line in studies_words(without) if "regret" in line]


def test_results_from_before_there_were_pilots_are_read() -> None:
    body = made_up(LOSSES)[1].to_json()
    body["best_at"] = {axis: list(places) for axis, places in body["best_at"].items()}
    del body["pilot"]
    assert Outcome.from_json(body).pilot is None
