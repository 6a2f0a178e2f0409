"""`pilot`: pairs of trainings at the old best configurations choose the way to go."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState
from tiny_search import RATE, load, make, objective, old_study, recorded, yes

import galatune
from galatune.errors import ObjectiveError, PlanError
from galatune.report.savings import savings
from galatune.study.ledger.attributes import PILOT, STAGE, TICKET
from galatune.study.ledger.pilot import pilot_of
from galatune.study.ledger.pilot_arm import PilotArm
from galatune.study.ledger.pilot_choice import LEAVE
from galatune.study.ledger.pilot_report import PilotReport
from galatune.study.ledger.provenance import Provenance
from galatune.study.ledger.rows import ledger
from galatune.study.ledger.trial_counts import is_interrupted
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.scan.scan import scan
from galatune.study.search.lanes import is_on_top
from galatune.study.search.pilot import pilot
from galatune.study.search.run import run
from galatune.study.search.searched_view import searched

pytestmark = pytest.mark.usefixtures("folder")

VALUES = [3.0 - 0.01 * i for i in range(20)]
"""Of 20 old trials, the last one best: 15 % of them are three trainings, so that there are two pairs."""


def goes(
    function: Callable[[Any], Any] = objective, plan: ShrinkPlan | None = None, **given: Any
) -> PilotReport:
    return pilot(plan or scan("old.log"), function, **{"into": "new.log", **given})


def goes_on(function: Callable[[Any], Any] = objective, **given: Any) -> optuna.Study:
    return run(
        given.pop("plan", None) or scan("old.log"), function, **{"into": "new.log", "trials": 2, **given}
    )


def staged(study: optuna.Study, stage: str | None) -> list[FrozenTrial]:
    found = [trial for trial in study.trials if not is_interrupted(trial)]
    return [trial for trial in found if trial.user_attrs.get(STAGE) == stage]


def arm(trial: FrozenTrial) -> PilotArm:
    found = PilotArm.from_attribute(trial.user_attrs[PILOT])
    assert found is not None
    return found


def valued(
    controlled: float | None = 0.0, fixed: float | None = 0.0, noise: float = 0.001, base: float = 2.8
) -> Callable[[Any], float]:
    """An objective whose value depends on the arm of a pilot; an arm without a worth raises."""

    def one(trial: Any) -> float:
        net = make(trial)
        decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
        for _ in range(4):
            optimizer.zero_grad()
            net(torch.ones(2, 4)).square().mean().backward()
            optimizer.step()
        place = PilotArm.from_attribute(trial.user_attrs.get(PILOT))
        worth = 0.0 if place is None else fixed if place.arm == "fixed" else controlled
        if worth is None:
            raise RuntimeError("no worth")
        draw = 0 if place is None or place.arm == "fixed" else 1
        return base + worth + noise * torch.rand(2)[draw].item()

    return one


def test_pairs_share_configuration_and_seed_and_follow_the_repeats() -> None:
    old = old_study("old.log", values=VALUES)
    report = goes(margin=1e-9)
    study = load()
    assert [trial.number for trial in staged(study, "repeat")] == [0, 1, 2]
    trials = staged(study, "pilot")
    assert [(arm(t).pair, arm(t).arm, arm(t).trial) for t in trials] == [
        *((0, "controlled", 19), (0, "fixed", 19)),
        *((1, "controlled", 18), (1, "fixed", 18)),
    ]
    for trial in trials:
        kept = {
            name: value for name, value in old.trials[arm(trial).trial or 0].params.items() if name != "lr"
        }
        assert trial.params == kept
        assert recorded(trial).controlled == (arm(trial).arm == "controlled")
        assert is_on_top(trial.user_attrs[TICKET])
    rates = {point.rate for trial in trials[1::2] for point in recorded(trial).learning_rate}
    assert rates == {old.best_params["lr"]}
    assert report.difference == pytest.approx(
        statistics.fmean(trials[i].value - trials[i + 1].value for i in (0, 2))  # type: ignore[operator]
    )


def test_both_trainings_of_a_pair_draw_the_same_numbers_and_no_other_trial_does() -> None:
    old_study("old.log", values=VALUES)

    def drawn(trial: Any) -> float:
        valued()(trial)
        return torch.initial_seed()

    goes(drawn, margin=0.0)
    trials = staged(load(), "pilot")
    assert trials[0].value == trials[1].value
    assert trials[2].value == trials[3].value
    assert len({trial.value for trial in load().trials}) == 3 + 2


def test_nothing_takes_a_pilot_for_a_result_of_the_search() -> None:
    old_study("old.log", values=VALUES)
    goes(valued(controlled=-1.0))
    study = load()
    with pytest.raises(ValueError, match="trial"):
        study.best_trial  # noqa: B018
    assert searched(study).trials == []
    assert ledger(study).complete == ()
    best = goes_on(valued(controlled=1.0, noise=1.0)).best_trial
    assert STAGE not in best.user_attrs


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    ("worth", "verdict", "way", "control"),
    [(-1.0, "go", "controlled", "on"), (1.0, "no-go", "fixed", "off")],
)
def test_the_better_way_is_chosen_and_a_run_takes_it(
    direction: str, worth: float, verdict: str, way: str, control: str
) -> None:
    old_study("old.log", values=VALUES, directions=(direction,))
    function = valued(controlled=worth if direction == "minimize" else -worth)
    report = goes(function)
    assert (report.verdict, report.way, report.over) == (verdict, way, True)
    assert report.difference == pytest.approx(worth, abs=0.01)
    assert report.interval is not None
    assert report.interval[0] < report.difference < report.interval[1]
    study = goes_on(function)
    assert Provenance.of(study).options["control"] == control
    assert {recorded(trial).controlled for trial in staged(study, None)} == {control == "on"}
    assert str(Provenance.of(study).source["pilot"]).startswith("Pilot: ")


def test_a_pilot_that_is_undecided_takes_the_cheaper_way() -> None:
    old_study("old.log", values=VALUES)
    report = goes(valued(noise=1.0), margin=0.0)
    assert (report.verdict, report.way, report.over) == ("undecided", "fixed", True)
    assert report.cost.per_training["controlled"] > report.cost.per_training["fixed"] == 4  # type: ignore[operator]
    assert "Undecided" in report.text()
    assert Provenance.of(goes_on(valued(noise=1.0))).options["control"] == "off"


def test_pairs_are_added_until_one_way_is_shown_to_be_good_enough() -> None:
    old_study("old.log", values=VALUES * 5)
    assert len(goes(valued(controlled=1.0, noise=1e-6), into="clear.log").values) == 2
    report = goes(valued(noise=1.0), into="noisy.log", margin=0.0)
    assert (len(report.values), report.most) == (5, 5)


@pytest.mark.parametrize(
    ("trials", "pairs", "most"), [(20, None, 2), (40, None, 3), (100, None, 5), (20, 4, 4)]
)
def test_the_old_study_bounds_the_pairs(trials: int, pairs: int | None, most: int) -> None:
    old_study("old.log", values=[3.0 - 0.01 * i for i in range(trials)])
    assert goes(valued(noise=1.0), margin=0.0, pairs=pairs, repeats=0).most == most


def test_the_margin_is_that_of_the_goal_and_set_before_the_first_pair() -> None:
    old_study("old.log", values=VALUES)
    report = goes(valued(noise=0.1))
    repeats = [trial.value for trial in staged(load(), "repeat")]
    error = statistics.stdev(repeats) / 3**0.5  # type: ignore[type-var]
    assert report.margin == pytest.approx(max(error, 0.01 * 0.095))
    assert report.goal == pytest.approx(statistics.fmean(repeats))  # type: ignore[type-var]
    given = goes(valued(noise=0.1), into="given.log", margin=0.25)
    assert given.margin == 0.25
    assert given.relative == pytest.approx(given.difference / 0.25)  # type: ignore[operator]


def test_the_old_values_are_corrected_by_the_luck_of_the_old_best() -> None:
    old_study("old.log", values=VALUES)
    report = goes(valued(), margin=0.0)
    luck = report.goal - 2.81
    assert [pair.own for pair in report.values] == pytest.approx([report.goal, 2.82 + luck])
    assert [pair.own for pair in goes(valued(), into="plain.log", repeats=0).values] == [None, None]


def leaves(trial: Any) -> float:
    """Both ways are far worse than the old rates, but at the old best, whose rate is the fixed one."""
    place = PilotArm.from_attribute(trial.user_attrs.get(PILOT))
    good = place is None or (place.arm == "fixed" and place.trial == 39)
    return valued()(trial) + (0.0 if good else 5.0)


def test_a_search_that_is_better_left_is_run_only_if_somebody_agrees() -> None:
    old_study("old.log", values=[3.0 - 0.01 * i for i in range(40)])
    report = goes(leaves)
    assert (report.verdict, report.way, report.over) == ("no-go", LEAVE, True)
    with pytest.raises(PlanError, match="run it all the same with --yes"):
        goes_on(leaves)
    asked: list[str] = []
    study = goes_on(leaves, agree=lambda question: not asked.append(question))
    assert "leave the search as it is" in asked[0]
    assert len(staged(study, None)) == 2
    goes_on(leaves, trials=3)  # it was agreed to before
    assert len(asked) == 1


def test_what_the_user_says_of_control_goes_before_the_pilot() -> None:
    old_study("old.log", values=VALUES)
    goes(valued(controlled=1.0))
    study = goes_on(valued(controlled=1.0), control="on")
    assert {recorded(trial).controlled for trial in staged(study, None)} == {True}
    assert "--control on was asked for" in str(Provenance.of(study).source["pilot"])


def test_a_run_repeats_nothing_that_the_pilot_has_repeated_and_counts_all_of_it() -> None:
    old = old_study("old.log", values=VALUES)
    report = goes(valued(controlled=1.0))
    study = goes_on(valued(controlled=1.0), confirm=False)
    assert len(staged(study, "repeat")) == 3
    assert len(staged(study, "pilot")) == 2 * len(report.values) == 4
    total = savings(old, study).total
    assert {stage: spent.trials for stage, spent in total.stages.items()} == {
        "repeat": 3,
        "pilot": 4,
        "search": 2,
    }
    assert total.stages["pilot"].gradient_evaluations == report.cost.gradient_evaluations
    text = savings(old, study).text(120)
    assert "9 trials (3 repeating the old best, 4 of the pilot)" in text
    assert "of these pilot" in text


def test_a_run_before_the_pilot_draws_what_one_after_it_draws() -> None:
    old_study("old.log", values=VALUES)
    goes(into="after.log")
    after = goes_on(into="after.log", control="on", confirm=False)
    alone = goes_on(into="alone.log", confirm=False)
    assert [(t.params, t.value) for t in staged(after, None)] == [
        (t.params, t.value) for t in staged(alone, None)
    ]


@pytest.mark.parametrize(
    "stop", [1, pytest.param(3, marks=pytest.mark.slow), 4, pytest.param(5, marks=pytest.mark.slow)]
)
def test_an_interrupted_pilot_continues_as_if_it_had_not_been(stop: int) -> None:
    old_study("old.log", values=VALUES)
    whole = goes(into="whole.log", margin=0.0)
    calls = []

    def interrupted(trial: Any) -> float:
        calls.append(trial.number)
        if len(calls) == stop + 1:
            raise KeyboardInterrupt
        return objective(trial)

    with pytest.raises(KeyboardInterrupt):
        goes(interrupted, margin=0.0)
    report = goes(margin=0.0, agree=yes)
    assert report.values == whole.values
    assert report.interval == whole.interval
    assert len(staged(load(), "pilot")) == 4
    assert goes(interrupted, margin=0.0).values == whole.values, "nothing is run again"
    assert len(calls) == stop + 1


def test_a_pilot_that_was_interrupted_has_chosen_nothing() -> None:
    old_study("old.log", values=VALUES)
    calls = []

    def interrupted(trial: Any) -> float:
        calls.append(trial.number)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return objective(trial)

    with pytest.raises(KeyboardInterrupt):
        goes(interrupted, margin=0.0, pairs=4)
    with pytest.raises(PlanError, match=r"1 of at most 4 pairs.*finish it with galatune pilot"):
        goes_on()
    study = goes_on(agree=yes)
    assert Provenance.of(study).options["control"] == "on"
    with pytest.raises(PlanError, match="has begun its search"):
        goes(margin=0.0)


def test_a_way_that_fails_alone_is_not_chosen() -> None:
    old_study("old.log", values=VALUES)
    report = goes(valued(controlled=None))
    assert (report.verdict, report.way, report.difference) == ("no-go", "fixed", None)
    assert report.values[0].why.startswith("controlled: RuntimeError: no worth (test_pilot.py:")  # type: ignore[union-attr]
    assert "failed in 2 of 2 pairs" in report.why
    other = goes(valued(fixed=None), into="other.log")
    assert (other.verdict, other.way) == ("go", "controlled")


def test_an_objective_that_only_fails_is_mended_and_the_pilot_begins_anew() -> None:
    old_study("old.log", values=VALUES)

    def broken(trial: Any) -> float:
        raise RuntimeError("no such file")

    for repeats in (0, 3):
        into = f"{repeats}.log"
        with pytest.raises(ObjectiveError, match="no such file"):
            goes(broken, into=into, repeats=repeats)
        report = goes(valued(controlled=1.0), into=into, repeats=repeats, agree=yes)
        assert (report.way, report.pairs, report.goal_repeats) == ("fixed", 2, repeats)
        failed = sum(trial.state == TrialState.FAIL for trial in staged(load(into), "pilot"))
        assert report.cost.trainings == 4 + failed


def test_the_bounds_of_the_pilot_are_those_of_the_run() -> None:
    old_study("old.log", values=VALUES)
    function = valued(controlled=-1.0)
    report = goes(function, max_lr=0.02, max_growth_per_step=1.5)
    assert report.options["max_lr"] == 0.02
    options = Provenance.of(goes_on(function)).options
    assert (options["max_lr"], options["max_growth_per_step"]) == (0.02, 1.5)
    with pytest.raises(PlanError, match="begun with max_lr"):
        goes_on(function, trials=3, max_lr=0.5)


def test_options_of_control_contradict_a_rate_that_is_fixed() -> None:
    old_study("old.log", values=VALUES)
    goes(valued(controlled=1.0))
    with pytest.raises(PlanError, match=r"--max-lr has no meaning.*--control on"):
        goes_on(valued(controlled=1.0), max_lr=0.1)


def test_a_plan_carries_the_pilot() -> None:
    old_study("old.log", values=VALUES)
    function = valued(controlled=1.0)
    plan = scan("old.log")
    report = goes(function, plan)
    carried = ShrinkPlan.from_json(json.loads(json.dumps(replace(plan, pilot=report).to_json())))
    assert carried.pilot == report
    study = run(carried, function, trials=2)
    assert study.study_name == "old-gala"
    assert len(staged(study, "pilot")) == 4, "it is the very study of the pilot"
    assert Provenance.of(study).options["control"] == "off"


def test_a_plan_brings_the_trainings_of_its_pilot_into_another_study() -> None:
    old = old_study("old.log", values=VALUES)
    function = valued(controlled=1.0)
    plan = replace(scan("old.log"), pilot=goes(function))
    for _ in range(2):
        study = goes_on(function, plan=plan, into="elsewhere.log", confirm=False)
        assert Provenance.of(study).options["control"] == "off"
        assert [trial.value for trial in study.trials[:7]] == [trial.value for trial in load().trials]
        assert [len(staged(study, stage)) for stage in ("repeat", "pilot", None)] == [3, 4, 2]
    assert STAGE not in study.best_trial.user_attrs
    assert savings(old, study).to_match.goal == plan.pilot.goal  # type: ignore[union-attr]
    one, other = (savings(old, found).total.stages["pilot"] for found in (load(), study))
    assert one == other, "hours and gradients are those of the pilot"


def test_a_pilot_that_is_gone_is_not_counted_and_that_is_said() -> None:
    old_study("old.log", values=VALUES)
    function = valued(controlled=1.0)
    plan = replace(scan("old.log"), pilot=goes(function))
    Path("new.log").unlink()
    study = run(plan, function, trials=1, into="elsewhere.log")
    assert "does not count them" in str(Provenance.of(study).source["pilot"])
    assert Provenance.of(study).options["control"] == "off"
    assert len(staged(study, "repeat")) == 3


@pytest.mark.parametrize("broken", [{"way": "both"}, {"values": 3}, {"cost": {}}, {"options": 3}])
def test_a_plan_with_a_broken_pilot_is_refused_in_one_line(broken: dict[str, Any]) -> None:
    old_study("old.log", values=VALUES)
    plan = scan("old.log")
    body = replace(plan, pilot=goes(valued(), plan)).to_json()
    body["pilot"] |= broken
    with pytest.raises(PlanError, match="galatune pilot --save"):
        ShrinkPlan.from_json(body)


def test_terms_are_kept() -> None:
    old_study("old.log", values=VALUES)
    report = goes(valued(noise=1.0), margin=0.01)
    assert goes(valued(noise=1.0)).margin == 0.01
    with pytest.raises(PlanError, match=r"begun with at most 2 pairs, however: --pairs 3"):
        goes(valued(noise=1.0), pairs=3)
    with pytest.raises(PlanError, match=r"a margin of 0.01, however: --margin 0.02"):
        goes(valued(noise=1.0), margin=0.02)
    assert pilot_of(ledger(load())) == replace(report, storage=None)


def test_what_cannot_be_compared_is_refused_before_anything_is_made() -> None:
    old_study("old.log", values=VALUES)
    old_study("two.log", values=VALUES, directions=("minimize", "minimize"))
    old_study("none.log", values=[TrialState.FAIL, TrialState.PRUNED])
    for given, words in (
        ({"pairs": 1}, "--pairs must lie between 2 and 1000, however: 1"),
        ({"margin": -1.0}, "--margin must be finite and at least 0"),
        ({"margin": float("nan")}, "--margin must be finite"),
        ({"control": "off"}, "leave control out"),
        ({"plan": scan("two.log")}, "2 objectives"),
        ({"plan": scan("none.log")}, "no complete trial"),
        ({"plan": scan("old.log", keep=("lr",))}, "has no learning rate to remove"),
    ):
        with pytest.raises(PlanError, match=words):
            goes(**given)
    assert not Path("new.log").exists()
    goes_on()
    with pytest.raises(PlanError, match="has begun its search"):
        goes()


def test_few_configurations_are_compared_with_several_seeds() -> None:
    only_rates(Path("rates.log"))
    report = goes(only_rate, scan("rates.log"), margin=0.0)
    assert [pair.old_trial for pair in report.values] == [19, 19]
    assert len({pair.fixed for pair in report.values}) == 2


def only_rates(path: Path) -> None:
    """An old study that searched nothing but a rate."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    study = optuna.create_study(study_name="rates", storage=storage)
    for value in VALUES:
        study.add_trial(
            optuna.trial.create_trial(value=value, params={"lr": 0.01}, distributions={"lr": RATE})
        )


def only_rate(trial: Any) -> float:
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=trial.suggest_float("lr", 1e-5, 1.0, log=True))
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.ones(2, 2)).square().mean().backward()
        optimizer.step()
    return net(torch.ones(1, 2)).item() ** 2


def test_pairs_whose_trainings_drew_different_values_do_not_count() -> None:
    old_study("old.log", values=VALUES)

    def newer(trial: Any) -> float:
        trial.suggest_float("momentum", 0.0, 1.0)
        return valued()(trial)

    report = goes(newer)
    assert report.pairs == 0
    assert "drew different values" in str(report.values[0].why)
    assert report.way == "fixed"


def test_without_torch_there_is_nothing_to_compare() -> None:
    old_study("old.log", values=VALUES)

    def other(trial: Any) -> float:
        make(trial)
        return trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)

    with pytest.raises(ObjectiveError, match="no torch optimizer stepped"):
        goes(other)


def test_it_is_a_verb_of_the_package_and_says_itself() -> None:
    assert galatune.pilot is pilot
    old_study("old.log", values=VALUES)
    report = goes(valued(controlled=1.0))
    text = report.text(100)
    for words in (
        "Fix the learning rate",
        "old trial",
        "no-go, 2 pairs",
        "set before the first pair",
        "20 %",
    ):
        assert words in text
    json.dumps(report.to_json(), allow_nan=False)
