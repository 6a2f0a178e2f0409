"""Which parameters are learning rates: the names, the ranges, the company, the user's word."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, create_trial
from spaces import SETS, counts

from galatune.errors import PlanError
from galatune.study.scan.dimensions import Dimensions, RateDimension, find_dimensions
from galatune.study.scan.distributions import is_legal, middle

RATE = FloatDistribution(1e-5, 1e-1, log=True)
UNIT = FloatDistribution(0.0, 1.0)
NET: dict[str, BaseDistribution] = {"dropout": UNIT, "batch_size": CategoricalDistribution([16, 32])}
TREES: dict[str, BaseDistribution] = {
    "max_depth": IntDistribution(2, 12),
    "subsample": FloatDistribution(0.5, 1.0),
    "n_estimators": IntDistribution(50, 500),
}

RATES = """
lr learning_rate base_lr max_lr peak_lr init_lr initial_lr min_lr end_lr lr_max head_lr backbone_lr
lr_encoder actor_lr critic_lr lr_G lr_D lr_C adam_lr sgd_lr muon_lr optimizer_lr optim.lr optim/lr opt-lr
optimizer__lr lr0 lrG lr_0 lr_12 learningRate LearningRate LR initialLR lrate learn_rate lr_img_encoder
lr_last_layer lr_final_layer SOLVER.LR learningrate netlearningrate anfangslernrate 初始学习率
"""
OTHERS = """
color blur alr_weight clr weight_decay lr_weight_decay dropout patience factor gamma step_size lrelu
learning_starts log_dir noise_schedule beta_schedule kl_warmup momentum_warmup fliplr rate decay plr
control_rate warm_start
"""
SCHEDULES = """
lr_decay lr_warmup_steps lr_gamma lr_patience lr_scheduler lr_schedule warmup use_lr_scheduler
num_warmup_steps warmup_ratio T_max eta_min scheduler lrf warmup_lr lr_step_size lr_decay_rate pct_start
scheduler_gamma lr_poly_power learningratedecay lernratenplan 学习率衰减 num_cycles n_cycles cycle_len
cooldown_frac step_size_up
noam_warmup poly_power
"""
MULTIPLIERS = """
lr_mult lr_scale_x lr_ratio backbone_lr_factor layer_decay layerwise_lr_decay llrd head_lr_multiplier
"""
with warnings.catch_warnings():  # Optuna warns of choices that are lists, and stores them
    warnings.simplefilter("ignore", UserWarning)
    PAIRS = CategoricalDistribution([[1e-3, 1e-4], [1e-2, 1e-3]])  # type: ignore[list-item]


def words(text: str) -> list[str]:
    return text.split()


def trial(space: dict[str, BaseDistribution], **values: Any) -> FrozenTrial:
    params = {name: values.get(name, middle(distribution)) for name, distribution in space.items()}
    return create_trial(params=params, distributions=space, value=1.0)


def sort(space: dict[str, BaseDistribution], **options: Any) -> Dimensions:
    return find_dimensions([trial(space)], **options)


def one(
    name: str, distribution: BaseDistribution = RATE, company: dict[str, Any] | None = None
) -> RateDimension:
    space = {name: distribution, **(NET if company is None else company)}
    (dimension,) = [d for d in sort(space).learning_rate if d.name == name]
    return dimension


@pytest.mark.parametrize(
    "name",
    words(RATES),
)
def test_names_of_rates(name: str) -> None:
    dimension = one(name)
    assert (dimension.role, dimension.dropped, dimension.scale) == ("rate", True, "rate")
    assert "dropout" in dimension.evidence


@pytest.mark.parametrize(
    "name",
    words(OTHERS),
)
def test_names_that_are_none_of_ours(name: str) -> None:
    found = sort({name: UNIT, **NET})
    assert found.learning_rate == ()
    assert found.refused == ()
    assert name in found.kept


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((name, "schedule") for name in words(SCHEDULES)),
        *((name, "multiplier") for name in words(MULTIPLIERS)),
    ],
)
def test_names_of_schedules_and_multipliers(name: str, role: str) -> None:
    dimension = one(name, UNIT)
    assert (dimension.role, dimension.dropped) == (role, False)


def test_schedules_are_dropped_only_when_asked() -> None:
    space = {"lr": RATE, "lr_mult": UNIT, "warmup": UNIT, **NET}
    assert [d.name for d in sort(space).learning_rate if d.dropped] == ["lr"]
    assert sort(space).kept == ("lr_mult", "warmup", "dropout", "batch_size")
    asked = sort(space, drop_schedule=True)
    assert [d.name for d in asked.learning_rate if d.dropped] == ["lr", "lr_mult", "warmup"]
    assert asked.kept == ("dropout", "batch_size")


def test_gamma_is_a_schedule_beside_a_scheduler_and_a_discount_otherwise() -> None:
    agent = {"learning_rate": RATE, "gamma": FloatDistribution(0.9, 0.9999), "gae_lambda": UNIT}
    assert [d.name for d in sort(agent).learning_rate] == ["learning_rate"]
    net = {"lr": RATE, "gamma": UNIT, "scheduler": CategoricalDistribution(["step", "exp"])}
    assert [(d.name, d.role) for d in sort(net).learning_rate] == [
        ("lr", "rate"),
        ("gamma", "schedule"),
        ("scheduler", "schedule"),
    ]


@pytest.mark.parametrize("name", ["learning_rate", "eta", "lr"])
def test_boosted_trees_are_refused_with_the_reason(name: str) -> None:
    found = sort({name: FloatDistribution(0.01, 0.3, log=True), **TREES})
    assert found.learning_rate == ()
    assert [refusal.name for refusal in found.refused] == [name]
    assert "max_depth" in found.refused[0].reason
    assert name in found.kept


def test_rate_of_a_network_tuned_together_with_trees_is_a_rate() -> None:
    space = {"nn_lr": RATE, "xgb_learning_rate": FloatDistribution(0.01, 0.3), "xgb_max_depth": UNIT, **NET}
    found = sort(space)
    assert [d.name for d in found.learning_rate] == ["nn_lr"]
    assert [refusal.name for refusal in found.refused] == ["xgb_learning_rate"]


@pytest.mark.parametrize(
    "name",
    ["min_lr", "lr_min", "w_lr_min", "end_lr", "final_lr", "stop_lr", "min_lr_ratio", "lr_config.min_lr"],
)
def test_where_a_schedule_ends_is_no_rate_beside_one(name: str) -> None:
    found = {d.name: d.role for d in sort({"lr": RATE, name: RATE, **NET}).learning_rate}
    assert found == {"lr": "rate", name: "schedule"}


def test_patience_and_factor_together_are_a_plateau() -> None:
    patience, factor = {"patience": IntDistribution(2, 10)}, {"factor": FloatDistribution(0.1, 0.9)}
    for space, schedule in (({**patience, **factor}, ["patience", "factor"]), (patience, []), (factor, [])):
        found = sort({"lr": RATE, **NET, **space}).learning_rate
        assert [d.name for d in found if d.role == "schedule"] == schedule


@pytest.mark.parametrize(
    "company",
    [
        {
            "model": CategoricalDistribution(["mlp", "lightgbm"]),
            "num_leaves": UNIT,
            "hidden_dim": UNIT,
            **NET,
        },
        {"pop_size": IntDistribution(10, 200), "sigma": UNIT},
        {"mutation_rate": UNIT, "n_elite": IntDistribution(1, 9)},
        {"initial_temp": UNIT, "cooling_rate": UNIT},
    ],
)
def test_company_that_trains_otherwise_leaves_doubt(company: dict[str, BaseDistribution]) -> None:
    assert one("learning_rate", FloatDistribution(1e-4, 0.3, log=True), company).role == "unsure"


def test_a_range_from_zero_may_be_that_of_weights() -> None:
    assert one("lr", UNIT).role == "unsure"
    assert one("lr", FloatDistribution(0.0, 0.1)).role == "rate"


def test_something_of_what_is_called_lr_is_no_rate_without_a_network() -> None:
    narrow = FloatDistribution(1e-4, 0.1, log=True)
    assert one("lr_pvalue", narrow, {"n_perms": UNIT}).role == "unsure"
    assert one("lr_pvalue", narrow).role == "rate"


def test_range_decides_where_the_company_does_not() -> None:
    company = {"max_depth": IntDistribution(1, 4), "dropout": UNIT}
    assert one("learning_rate", FloatDistribution(0.01, 0.3), company).role == "unsure"
    assert one("learning_rate", RATE, company).role == "rate"


@pytest.mark.parametrize("spaces", SETS)
def test_spaces_with_a_known_truth(spaces: str) -> None:
    found = counts(spaces)
    assert found["falsely dropped"] == 0
    assert found["missed"] <= 0.05 * found["rates"]
    assert found["unsure rates"] <= 0.1 * found["rates"]
    assert found["other role"] == 0


def test_what_may_be_a_rate_is_kept_unless_it_is_named() -> None:
    space = {"lr": RATE, "inner_lr": RATE, "warmup": UNIT, **NET}
    for options in ({}, {"drop_schedule": True}):
        found = {d.name: d for d in sort(space, **options).learning_rate}
        assert (found["inner_lr"].role, found["inner_lr"].dropped) == ("unsure", False)
        assert "inner_lr" in sort(space, **options).kept
    named = {d.name: d for d in sort(space, lr=["inner_lr"]).learning_rate}
    assert (named["inner_lr"].role, named["inner_lr"].dropped) == ("rate", True)
    kept = sort(space, keep=["inner_lr"])
    assert "inner_lr" not in [d.name for d in kept.learning_rate]
    assert "inner_lr" in kept.kept


@pytest.mark.parametrize(
    ("name", "company", "said"),
    [
        ("keras_lr", {}, "'keras': galatune controls torch optimizers only"),
        ("swa_lr", {"lr": RATE}, "'swa': code often takes such steps without an optimizer"),
        ("learning_rate", {"max_depth": UNIT, **NET, "num_leaves": UNIT}, "boosted trees have such"),
        ("lr", {"xgb_max_depth": UNIT}, "may be another model's, beside xgb_max_depth"),
        ("learnin_rate", {}, "nearly 'learning rate'"),
        ("C_lr", {"x": UNIT}, "logistic regression has a C too"),
        ("eta", NET, "means something else as often"),
        ("blr", NET, "means something else as often"),
        ("scaling_lr", NET, "with 'scaling'"),
        ("lr_eps", NET, "'eps' behind it names another quantity"),
        ("learning_rate_dropout", NET, "'dropout' behind it names another quantity"),
        ("lr_times_wd", NET, "'times' behind it names another quantity"),
        ("learning_rate", {"C": UNIT}, "may be another model's, beside C"),
    ],
)
def test_doubt_is_told(name: str, company: dict[str, BaseDistribution], said: str) -> None:
    dimension = one(name, FloatDistribution(1e-4, 0.1, log=True), company)
    assert dimension.role == "unsure"
    assert said in dimension.evidence


def test_a_prefix_tells_the_rate_of_trees_from_that_of_the_network_beside_them() -> None:
    space = {"lr": RATE, **NET, "x_lr": FloatDistribution(1e-4, 1, log=True)}
    found = sort({**space, **{f"x_{name}": distribution for name, distribution in TREES.items()}})
    assert [d.name for d in found.learning_rate if d.dropped] == ["lr"]
    assert [refusal.name for refusal in found.refused] == ["x_lr"]


def test_none_among_rates_is_no_reason_to_miss_them() -> None:
    dimension = one("lr", CategoricalDistribution([None, 1e-3, 1e-4]))
    assert (dimension.role, dimension.scale, dimension.placeholder) == ("rate", "rate", 1e-4)


@pytest.mark.parametrize(
    ("space", "word"),
    [
        ({"learning_rate_init": RATE}, "scikit-learn"),
        ({"eta0": RATE}, "scikit-learn"),
        ({"learning_rate": CategoricalDistribution(["constant", "adaptive"])}, "scikit-learn"),
        ({"eta": UNIT}, "something else"),
        ({"lgbm__lr": RATE}, "boosted trees"),
        ({"Kp": RATE, "Ki": RATE, "Kd": RATE}, "PID"),
        ({"pid_kp": RATE}, "PID"),
        ({"pid_kp_1": RATE, "pid_kd_2": RATE}, "PID"),
        ({"lr_penalty": UNIT}, "logistic"),
        ({"flip_lr": UNIT}, "images"),
        ({"lr": FloatDistribution(10.0, 1000.0)}, "not learning rates"),
        ({"lr": CategoricalDistribution([True, False])}, "not learning rates"),
        ({"lr": CategoricalDistribution(["lasso", "ridge"])}, "models"),
        ({"lr_blur_sigma": UNIT}, "images"),
    ],
)
def test_look_alikes_are_refused_with_the_reason(space: dict[str, BaseDistribution], word: str) -> None:
    found = sort(space)
    assert found.learning_rate == ()
    assert [refusal.name for refusal in found.refused] == list(space)
    assert all(word in refusal.reason for refusal in found.refused)


@pytest.mark.parametrize(
    ("name", "distribution", "scale"),
    [
        ("log_lr", FloatDistribution(-5.0, -1.0), "log10"),
        ("log10_lr", FloatDistribution(-5.0, -1.0), "log10"),
        ("ln_lr", FloatDistribution(-5.0, -1.0), "ln"),
        ("log2_lr", FloatDistribution(-16.0, -1.0), "log2"),
        ("log_lr", FloatDistribution(-11.5, -2.3), "ln"),
        ("lr", FloatDistribution(-5.0, -1.0), "log10"),
        ("lr_exp", IntDistribution(-5, -1), "log10"),
        ("lr_exp", IntDistribution(1, 5), "-log10"),
        ("neg_log_lr", FloatDistribution(1.0, 5.0), "-log10"),
        ("log_lr", RATE, "rate"),
        ("lr", IntDistribution(1, 5), "unknown"),
        ("lr", CategoricalDistribution([1e-4, 1e-3, 1e-2]), "rate"),
        ("lr", CategoricalDistribution(["1e-4", "1e-3"]), "rate"),
        ("log_lr", CategoricalDistribution([-4, -3]), "log10"),
        ("lr", PAIRS, "unknown"),
        ("lr", FloatDistribution(0.0, 0.1), "rate"),
        ("lr", FloatDistribution(0.001, 0.1, step=0.001), "rate"),
    ],
)
def test_distribution_says_how_values_become_rates(
    name: str, distribution: BaseDistribution, scale: str
) -> None:
    dimension = one(name, distribution)
    assert (dimension.role, dimension.scale) == ("rate", scale)
    assert is_legal(distribution, dimension.placeholder)


def test_choices_by_name_are_a_schedule() -> None:
    assert one("lr", CategoricalDistribution(["cosine", "linear"])).role == "schedule"


def test_placeholder_is_the_best_value_that_is_still_legal() -> None:
    wide, narrow = {"lr": RATE}, {"lr": FloatDistribution(1e-3, 1e-2, log=True)}
    trials = [trial(wide, lr=0.05), trial(wide, lr=2e-3), trial(narrow, lr=5e-3), trial({"x": UNIT})]
    (dimension,) = find_dimensions(trials, [trials[3], trials[0], trials[1]]).learning_rate
    assert dimension.placeholder == 2e-3
    assert (
        dimension.distribution
        == "float 1e-05 to 0.1, log (2 trials); then float 0.001 to 0.01, log (1 trial)"
    )


def test_placeholder_without_a_best_trial_is_the_middle() -> None:
    assert one("lr").placeholder == pytest.approx(1e-3)
    assert one("lr", CategoricalDistribution([1e-2, 1e-4, 1e-3])).placeholder == 1e-3
    assert one("lr", FloatDistribution(0.1, 0.5, step=0.1)).placeholder == 0.3


def test_user_decides() -> None:
    space = {"lr": RATE, "speed": RATE, "learning_rate_init": RATE}
    found = sort(space, lr=["speed", "learning_rate_init"], keep=["lr"])
    assert {d.name: d.dropped for d in found.learning_rate} == {
        "lr": False,
        "speed": True,
        "learning_rate_init": True,
    }
    assert found.kept == ("lr",)
    assert found.refused == ()


@pytest.mark.parametrize("options", [{"lr": ["nope"]}, {"keep": ["nope"]}])
def test_unknown_name_lists_the_parameters(options: dict[str, list[str]]) -> None:
    with pytest.raises(PlanError, match=r"nope.*dropout, batch_size"):
        sort(NET, **options)


def test_lr_and_keep_of_one_name_contradict() -> None:
    with pytest.raises(PlanError, match="leave one out"):
        sort({"lr": RATE}, lr=["lr"], keep=["lr"])


def test_no_trials_no_dimensions() -> None:
    assert find_dimensions([]) == Dimensions((), (), ())


def test_a_choice_of_rates_is_said_in_the_singular() -> None:
    evidence = one("lr", CategoricalDistribution([1e-3, 1e-2]), company={}).evidence
    assert evidence == "its name; a choice of rates"
