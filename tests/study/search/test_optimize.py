"""`galatune.optimize`: one study, no old one, and the rate is controlled instead of searched."""

from __future__ import annotations

import copy
import functools
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

import galatune
from galatune.errors import ControlError, PlanError
from galatune.study.ledger.attributes import DROPPED, LR_FINAL, LR_PEAK, RECORD
from galatune.study.ledger.record import TrialRecord

STEPS = 25


def train(optimizer: Any, net: Any, report: Any = None) -> float:
    x = torch.linspace(-1, 1, 128).reshape(32, 4)
    y = x.sum(1, keepdim=True)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        if report is not None:
            report(loss.item(), step)
    return float(loss.item())


def net(width: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))


def objective(trial: optuna.trial.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    module = net(trial.suggest_int("hidden_units", 2, 8))
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    return train(torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=decay), module)


def new_study(**options: Any) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), **options)


def record_of(trial: Any) -> TrialRecord:
    record = TrialRecord.from_attribute(trial.user_attrs[RECORD])
    assert record is not None
    return record


def test_rate_is_controlled_and_no_parameter() -> None:
    study, told = new_study(), []
    galatune.optimize(study, objective, n_trials=3, callbacks=[lambda _, trial: told.append(trial.number)])
    assert told == [0, 1, 2]
    for trial in study.trials:
        assert set(trial.params) == {"hidden_units", "weight_decay"}
        record = record_of(trial)
        assert record.controlled
        assert record.steps == STEPS
        assert record.optimizers[0].reason == "its initial rate follows lr"
        rates = [point.rate for point in record.learning_rate]
        assert trial.user_attrs[LR_PEAK] == max(rates)
        assert trial.user_attrs[LR_FINAL] == rates[-1]
        assert trial.user_attrs[LR_PEAK] > 1e-3


def test_what_it_trains_is_what_a_controlled_block_trains() -> None:
    study = new_study()
    galatune.optimize(study, objective, n_trials=2)
    for trial in study.trials:
        with galatune.controlled():
            assert objective(optuna.trial.FixedTrial({**trial.params, "lr": 0.05})) == trial.value  # type: ignore[arg-type]


def test_pinned_at_the_constant_it_is_the_plain_training() -> None:
    study = new_study()
    galatune.optimize(study, objective, n_trials=1, min_lr=0.01, max_lr=0.01)
    (trial,) = study.trials
    assert objective(optuna.trial.FixedTrial({**trial.params, "lr": 0.01})) == trial.value  # type: ignore[arg-type]


def test_study_goes_on_in_another_call_and_beside_plain_trials() -> None:
    study = new_study()
    study.optimize(objective, n_trials=2)
    galatune.optimize(study, objective, n_trials=1)
    galatune.optimize(study, objective, n_trials=1)
    assert ["lr" in trial.params for trial in study.trials] == [True, True, False, False]
    assert all(record_of(trial).controlled for trial in study.trials[2:])


def test_best_trial_is_answered_in_full() -> None:
    study = new_study()
    galatune.optimize(study, objective, n_trials=3)
    fixed = galatune.fixed_trial(study)
    assert fixed.suggest_float("lr", 1e-5, 1e-1, log=True) == study.best_trial.user_attrs[LR_PEAK]
    assert [one["name"] for one in study.best_trial.user_attrs[DROPPED]] == ["lr"]
    with galatune.controlled():
        assert objective(fixed) == study.best_value  # type: ignore[arg-type]


def test_every_form_of_suggestion() -> None:
    seen: dict[str, list[Any]] = {"opt_lr": [], "lr_exponent": [], "learning_rate": []}

    def suggests(trial: optuna.trial.Trial) -> float:
        module = net(trial.suggest_categorical("hidden", [4, 8]))
        rates = [trial.suggest_categorical("opt_lr", [1e-3, 1e-2])]
        rates.append(10 ** trial.suggest_int("lr_exponent", -4, -1))
        rates.append(trial.suggest_float("learning_rate", 1e-4, 1e-1, step=1e-4))
        for name, values in seen.items():
            values.append(trial.params[name])
        return sum(train(torch.optim.SGD(module.parameters(), lr=rate), module) for rate in rates)

    study = new_study()
    galatune.optimize(study, suggests, n_trials=2)
    assert [set(trial.params) for trial in study.trials] == [{"hidden"}] * 2
    assert all(len(set(values)) == 1 for values in seen.values())
    assert [one.controlled for one in record_of(study.trials[0]).optimizers] == [True] * 3


def test_names_that_the_caller_gives() -> None:
    def suggests(trial: optuna.trial.Trial) -> float:
        module = net()
        rate = trial.suggest_float("speed", 1e-4, 1e-1, log=True)
        other = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        optimizer, beside = torch.optim.AdamW(module.parameters(), lr=rate), net()
        train(torch.optim.SGD(beside.parameters(), lr=other), beside)
        return train(optimizer, module)

    study = new_study()
    galatune.optimize(study, suggests, n_trials=2, lr=["speed"], keep=["lr"])
    for trial in study.trials:
        assert set(trial.params) == {"lr"}
        assert {one.name: one.controlled for one in record_of(trial).optimizers} == {
            "AdamW": True,
            "SGD": False,
        }
    with pytest.raises(PlanError, match="cannot be both"):
        galatune.optimize(study, suggests, n_trials=1, lr=["lr"], keep=["lr"])


def test_rate_that_its_name_does_not_tell_is_known_by_its_company() -> None:
    """In the first trial of an empty study only the names before it are known."""

    def suggests(trial: optuna.trial.Trial, *, more: bool = True) -> float:
        lr = trial.suggest_float("lr", 1e-6, 10.0, log=True)
        module = net(trial.suggest_int("hidden_units", 2, 8) if more else 4)
        return train(torch.optim.AdamW(module.parameters(), lr=lr), module)

    study = new_study()
    galatune.optimize(study, suggests, n_trials=3)
    assert ["lr" in trial.params for trial in study.trials] == [True, False, False]
    assert [RECORD in trial.user_attrs and record_of(trial).controlled for trial in study.trials] == [
        False,
        True,
        True,
    ]
    alone = new_study()
    with pytest.warns(UserWarning, match=r"lr may be a learning rate .*lr=\['lr'\]"):
        galatune.optimize(alone, lambda trial: suggests(trial, more=False), n_trials=2)
    assert all("lr" in trial.params for trial in alone.trials)


def test_optimizer_beside_the_search_is_left_alone() -> None:
    def suggests(trial: optuna.trial.Trial) -> float:
        module, calibration = net(), net()
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        optimizer = torch.optim.AdamW(module.parameters(), lr=lr)
        train(torch.optim.SGD(calibration.parameters(), lr=0.123), calibration)
        return train(optimizer, module)

    study = new_study()
    galatune.optimize(study, suggests, n_trials=1)
    found = {one.name: one.controlled for one in record_of(study.trials[0]).optimizers}
    assert found == {"AdamW": True, "SGD": False}


def test_without_a_rate_it_is_study_optimize() -> None:
    def suggests(trial: optuna.trial.Trial) -> float:
        module = net(trial.suggest_int("hidden", 2, 8))
        return train(torch.optim.SGD(module.parameters(), lr=trial.suggest_float("speed", 0.1, 0.2)), module)

    study, plain = new_study(), new_study()
    with pytest.warns(UserWarning, match=r"no learning rate is recognised among .*speed.*lr=\[") as said:
        galatune.optimize(study, suggests, n_trials=3)
    assert len(said) == 1
    plain.optimize(suggests, n_trials=3)
    assert [trial.params for trial in study.trials] == [trial.params for trial in plain.trials]
    assert study.best_value == plain.best_value


def test_without_torch_the_rate_is_kept_and_searched_from_then_on() -> None:
    def suggests(trial: optuna.trial.Trial) -> float:
        return trial.suggest_float("lr", 1e-4, 1e-1, log=True) + trial.suggest_float("dropout", 0.0, 1.0)

    study = new_study()
    with pytest.warns(UserWarning, match="no torch optimizer stepped .* lr is searched"):
        galatune.optimize(study, suggests, n_trials=4)
    assert all(set(trial.params) == {"lr", "dropout"} for trial in study.trials)
    assert all(sum(trial.params.values()) == trial.value for trial in study.trials)
    assert len({trial.params["lr"] for trial in study.trials}) == 4
    assert not any(DROPPED in trial.user_attrs or LR_PEAK in trial.user_attrs for trial in study.trials)


def test_a_trial_without_torch_among_others_gives_nothing_back() -> None:
    """Also if the others belong to an earlier call."""

    def suggests(trial: optuna.trial.Trial) -> float:
        value = objective(trial)
        if trial.number == 1:
            raise optuna.TrialPruned
        return value

    study = new_study()
    galatune.optimize(study, suggests, n_trials=2)

    def without(trial: optuna.trial.Trial) -> float:
        if trial.number == 2:
            return trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        return suggests(trial)

    with pytest.warns(UserWarning, match="no torch optimizer stepped .* lr is its parameter$"):
        galatune.optimize(study, without, n_trials=2)
    assert ["lr" in trial.params for trial in study.trials] == [False, False, True, False]


def test_boosted_trees_are_recognised_once_their_parameters_are_seen() -> None:
    """A study that has trials tells at once what a name means."""
    study = new_study()
    spaces = {
        "learning_rate": FloatDistribution(0.01, 0.3),
        "num_leaves": FloatDistribution(8, 64),
        "min_child_samples": FloatDistribution(5, 50),
    }
    study.add_trial(
        create_trial(
            params=dict.fromkeys(spaces, 10) | {"learning_rate": 0.1}, distributions=spaces, value=1.0
        )
    )  # type: ignore[arg-type]

    def suggests(trial: optuna.trial.Trial) -> float:
        return sum(trial.suggest_float(name, one.low, one.high) for name, one in spaces.items())

    with pytest.warns(UserWarning, match="no learning rate is recognised"):
        galatune.optimize(study, suggests, n_trials=2)
    assert all(set(trial.params) == set(spaces) for trial in study.trials)


def test_optimizer_that_sets_its_own_step_gets_its_rate_from_the_sampler() -> None:
    calls = []

    def suggests(trial: optuna.trial.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        kind = trial.suggest_categorical("optimizer", ["Rprop", "AdamW"])
        calls.append(kind)
        module = net()
        return train(getattr(torch.optim, kind)(module.parameters(), lr=lr), module)

    study = new_study()
    study.enqueue_trial({"optimizer": "AdamW"})
    study.enqueue_trial({"optimizer": "Rprop"})
    study.enqueue_trial({"optimizer": "AdamW"})
    galatune.optimize(study, suggests, n_trials=3)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert calls == ["AdamW", "Rprop", "Rprop", "AdamW"]
    assert [set(trial.params) - {"optimizer"} for trial in study.trials] == [set(), {"lr"}, set()]
    assert suggests(optuna.trial.FixedTrial(study.trials[1].params)) == study.trials[1].value  # type: ignore[arg-type]


def test_code_that_refuses_other_numbers_gets_plain_ones() -> None:
    def suggests(trial: optuna.trial.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        if type(lr) is not float:
            raise TypeError("a float is needed")
        module = net()
        return train(torch.optim.AdamW(module.parameters(), lr=lr), module)

    study = new_study()
    galatune.optimize(study, suggests, n_trials=2)
    assert all(record_of(trial).controlled for trial in study.trials)


@pytest.mark.parametrize("catch", [(), (ZeroDivisionError,)])
def test_errors_and_pruned_trials_are_optunas_affair(catch: Any) -> None:
    def suggests(trial: optuna.trial.Trial) -> float:
        value = objective(trial)
        if trial.number == 1:
            raise optuna.TrialPruned
        return value / (trial.number != 2)

    study = new_study()
    if catch:
        galatune.optimize(study, suggests, n_trials=4, catch=catch)
    else:
        with pytest.raises(ZeroDivisionError):
            galatune.optimize(study, suggests, n_trials=4)
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE]
    assert [trial.state for trial in study.trials] == states[: 4 if catch else 3]
    assert all(record_of(trial).controlled for trial in study.trials)


def test_no_trial_is_pruned_before_its_rate_has_arrived() -> None:
    class Everything(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    reports: list[int] = []

    def suggests(trial: optuna.trial.Trial) -> float:
        module, made = net(), 0

        def report(value: float, step: int) -> None:
            nonlocal made
            made += 1
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        try:
            return train(torch.optim.AdamW(module.parameters(), lr=lr), module, report)
        finally:
            reports.append(made)

    galatune.optimize(new_study(pruner=Everything()), suggests, n_trials=1)
    new_study(pruner=Everything()).optimize(suggests, n_trials=1)
    assert reports[0] > reports[1] == 1


def test_two_threads() -> None:
    study = new_study()
    galatune.optimize(study, objective, n_trials=4, n_jobs=2)
    assert all(record_of(trial).controlled and record_of(trial).steps == STEPS for trial in study.trials)
    assert all(set(trial.params) == {"hidden_units", "weight_decay"} for trial in study.trials)


def test_several_objectives() -> None:
    study = new_study(directions=["minimize", "maximize"])
    galatune.optimize(study, lambda trial: (objective(trial), trial.params["hidden_units"]), n_trials=2)
    assert all(record_of(trial).controlled for trial in study.trials)


def test_rate_that_is_returned_is_a_plain_number() -> None:
    def suggests(trial: optuna.trial.Trial) -> float:
        objective(trial)
        trial.set_user_attr("rate", trial.params["lr"])
        return trial.params["lr"] * 2.0  # type: ignore[no-any-return]

    study = new_study()
    galatune.optimize(study, suggests, n_trials=1)
    assert type(study.trials[0].value) is float
    assert type(study.trials[0].user_attrs["rate"]) is float


def test_trial_may_be_copied_and_pickled(tmp_path: Path) -> None:
    def suggests(trial: optuna.trial.Trial) -> float:
        value = objective(trial)
        for again in (copy.deepcopy(trial), pickle.loads(pickle.dumps(trial))):
            assert again.params == trial.params
            assert again.suggest_float("lr", 1e-5, 1e-1, log=True) == trial.params["lr"]
        return value

    study = new_study(storage=f"sqlite:///{tmp_path}/own.db")
    galatune.optimize(study, suggests, n_trials=1)
    assert record_of(study.trials[0]).controlled


def test_in_the_place_of_the_studys_own_optimize() -> None:
    """For code that calls ``study.optimize`` itself."""
    study = new_study()
    study.optimize = functools.partial(galatune.optimize, study)  # type: ignore[method-assign]
    study.optimize(objective, n_trials=1)
    assert record_of(study.trials[0]).controlled


def test_wrong_option_is_said_before_any_trial() -> None:
    study = new_study()
    with pytest.raises(ControlError, match="max_lr"):
        galatune.optimize(study, objective, n_trials=1, max_lr=-1.0)
    assert not study.trials
