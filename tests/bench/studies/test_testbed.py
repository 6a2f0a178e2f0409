"""Old studies, the null and the other ways are run, each once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from galatune.bench.studies import results as results_module
from galatune.bench.studies import search as search_module
from galatune.bench.studies.comparisons import Testbed
from galatune.bench.studies.objectives.objective import Rows, Setting
from galatune.bench.studies.old_study import OldStudy
from galatune.bench.studies.results import Results
from galatune.bench.studies.testbed import Plan, run_testbed
from galatune.bench.studies.unit import OLD, Outcome, Unit
from galatune.bench.studies.ways import WAYS
from galatune.errors import GalatuneError

from .conftest import Line

RUN = ("null", "no-search", "fixed", "fixed-1e-3", "narrowed", "transfer", "hyperband", "median", "galatune")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "TRIALS", 12)
    monkeypatch.setattr(search_module, "MOST_TRIALS", 20)


def plan_of(*ways: str, settings: tuple[str, ...] = ("again",), seeds: tuple[int, ...] = (0,)) -> Plan:
    return Plan(("line",), settings, tuple(WAYS[way] for way in ways), seeds)


def silent(done: int, total: int) -> None:
    pass


def by_way(outcomes: list[Outcome]) -> dict[str, Outcome]:
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    return {outcome.unit.way: outcome for outcome in outcomes}


def test_every_way_searches_as_it_says(line: Line, tmp_path: Path) -> None:
    found = by_way(run_testbed(plan_of(*RUN), tmp_path, 1, silent))
    old = OldStudy.read(Results(tmp_path).old_study("line", 0), "lr")
    rates = {way: [trial.params.get("lr", 0.0) for trial in outcome.trials] for way, outcome in found.items()}
    assert len(set(rates["null"])) == 12
    assert set(rates["fixed"]) == {old.best_rate}
    assert set(rates["fixed-1e-3"]) == {1e-3}
    low, high = old.quarter
    assert all(low <= rate <= high for rate in rates["narrowed"])
    assert [trial.params for trial in found["transfer"].trials[:3]] == old.first(with_rate=True)
    assert found["no-search"].trials[0].params == old.best
    assert set(rates["galatune"]) == {0.0}


def test_new_searches_use_rows_that_the_old_study_has_not_seen(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, bool]] = []
    rows = Line.rows

    def noted(self: Line, seed: int, fresh: bool, setting: Setting) -> Rows:
        drawn.append((seed, fresh))
        return rows(self, seed, fresh, setting)

    monkeypatch.setattr(Line, "rows", noted)
    run_testbed(plan_of("null", seeds=(3,)), tmp_path, 1, silent)
    assert drawn[0] == (3, False)
    assert set(drawn[1:]) == {(3, True)}


def test_a_way_ends_when_it_has_spent_what_the_null_did(line: Line, tmp_path: Path) -> None:
    found = by_way(run_testbed(plan_of("null", "fixed", "galatune"), tmp_path, 1, silent))
    budget = found["null"].spent.gradients
    assert budget == 12 * 8
    for way in ("fixed", "galatune"):
        assert found[way].spent.gradients >= budget
        assert found[way].trials[-2].gradients < budget


def test_what_has_a_result_is_not_run_again(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_testbed(plan_of("null", "fixed"), tmp_path, 1, silent)
    monkeypatch.setattr(Line, "train", None)
    assert run_testbed(plan_of("null", "fixed"), tmp_path, 1, silent) == first


def test_a_line_that_was_not_written_to_its_end_is_run_again(line: Line, tmp_path: Path) -> None:
    first = run_testbed(plan_of("null", "fixed"), tmp_path, 1, silent)
    file = tmp_path / "studies.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    second = run_testbed(plan_of("null", "fixed"), tmp_path, 1, silent)
    assert [one.trials[-1].value for one in second] == [one.trials[-1].value for one in first]
    assert [json.loads(text)["unit"]["way"] for text in file.read_text().splitlines()] == [
        OLD,
        "null",
        "fixed",
    ]


def test_results_of_other_code_are_not_used(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_testbed(plan_of("null"), tmp_path, 1, silent)
    monkeypatch.setattr(results_module, "code_key", lambda way: "other")
    assert not Results(tmp_path).outcomes


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "studies.jsonl").write_text("task,method\n")
    with pytest.raises(GalatuneError, match="holds a line that is no result"):
        Results(tmp_path)


def test_a_way_that_fails_is_told_and_the_others_go_on(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrowed(*_: object) -> None:
        raise RuntimeError("no such rate")

    monkeypatch.setattr(search_module, "_narrowed", narrowed)
    outcomes = run_testbed(plan_of("null", "narrowed", "fixed"), tmp_path, 1, silent)
    testbed = Testbed(outcomes)
    assert [one.unit for one in testbed.failed] == [Unit("line", "again", "narrowed", 0)]
    assert "no such rate" in str(testbed.failed[0].error)
    assert testbed.ways == ["null", "fixed"]


def test_moved_settings_change_the_training_and_keep_the_old_study(line: Line, tmp_path: Path) -> None:
    outcomes = run_testbed(plan_of("null", settings=("again", "epochs x 4")), tmp_path, 1, silent)
    spent = {one.unit.setting: one.spent.gradients for one in outcomes if one.unit.way == "null"}
    assert spent["epochs x 4"] == 4 * spent["again"]
    assert [one.unit.way for one in outcomes].count(OLD) == 1
