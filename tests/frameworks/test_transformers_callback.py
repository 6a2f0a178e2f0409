"""`GalatuneCallback` in Transformers' Trainer, and what `hyperparameter_search` becomes."""

from __future__ import annotations

import subprocess
import sys

import optuna
import pytest
import torch

import galatune
from galatune.errors import ControlError, PlanError
from galatune.study.ledger.rows import ledger

from .test_transformers import BATCH, STEPS, Sentences, make_bert
from .training import OFTEN, load, weights


def callback(**options):
    load("transformers")
    from galatune_transformers import GalatuneCallback

    return GalatuneCallback(**{"probe_schedule": OFTEN, **options})


def make_trainer(callbacks, *, rate=1e-6, net=None, folder="trained", **arguments):
    transformers = load("transformers")
    options = {"lr_scheduler_type": "constant", "max_steps": STEPS, "save_strategy": "no", **arguments}
    made = {"model": net or make_bert(0, 0.1)} if "model_init" not in options else {}
    made |= {"model_init": options.pop("model_init")} if not made else {}
    trainer = transformers.Trainer(
        **made,
        args=transformers.TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            learning_rate=rate,
            use_cpu=True,
            disable_tqdm=True,
            **{"report_to": [], "logging_steps": 1, **options},
        ),
        train_dataset=Sentences(),
        eval_dataset=Sentences(64, seed=3),
        callbacks=callbacks,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def fit(rate=1e-6, callbacks=None, resume=None, **arguments):
    """(weights, trainer, callback)."""
    own = callback()
    trainer = make_trainer([own] if callbacks is None else callbacks, rate=rate, **arguments)
    trainer.train(resume_from_checkpoint=resume)
    return weights(trainer.model), trainer, own


def test_first_example_is_controlled_in_one_line():
    first, trainer, own = fit(1e-6, max_steps=-1, num_train_epochs=3)
    second, _, _ = fit(10.0, max_steps=-1, num_train_epochs=3)
    assert torch.equal(first, second)
    assert own.controllers[0].steps == trainer.state.global_step == 3 * STEPS
    plain = fit(1e-6, [], max_steps=-1, num_train_epochs=3)[1]
    assert trainer.evaluate()["eval_loss"] < plain.evaluate()["eval_loss"]


def test_pinned_training_is_the_fixed_one():
    plain, _, _ = fit(0.01, [])
    pinned, _, _ = fit(0.5, [callback(min_lr=0.01, max_lr=0.01)])
    assert torch.equal(plain, pinned)


class Moved:
    """A callback that notes the rate with which plain SGD really moved a weight."""

    def __new__(cls):
        transformers = load("transformers")

        class Watch(transformers.TrainerCallback):
            def __init__(self):
                self.rates = []

            def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
                self.weight = model.classifier.weight
                self.before, self.gradient = self.weight.detach().clone(), self.weight.grad.clone()

            def on_optimizer_step(self, args, state, control, **kwargs):
                moved = (self.before - self.weight.detach()).double().norm()
                self.rates.append((moved / self.gradient.double().norm()).item())

        return Watch()


LOGGED = {
    "plain": {},
    "linear": {"lr_scheduler_type": "linear"},
    "warmup": {"lr_scheduler_type": "cosine", "warmup_steps": 6},
    "accumulation": {"gradient_accumulation_steps": 2},
    "clip": {"max_grad_norm": 0.05},
    "bf16": {"bf16": True},
    "every third": {"logging_steps": 3},
}


@pytest.mark.parametrize("name", LOGGED)
def test_logged_rate_is_the_applied_one(name):
    watch, own = Moved(), callback()
    _, trainer, _ = fit(0.1, [own, watch], optim="sgd", **LOGGED[name])
    entries = [one for one in trainer.state.log_history if "learning_rate" in one]
    assert len(entries) == STEPS // LOGGED[name].get("logging_steps", 1)
    assert len(watch.rates) == STEPS
    for entry in entries:
        real = watch.rates[entry["step"] - 1]
        assert entry["learning_rate_applied"] == pytest.approx(real, rel=1e-3, abs=1e-12)
    plain = [one for one in fit(0.1, [], optim="sgd", **LOGGED[name])[1].state.log_history if "loss" in one]
    assert [one["learning_rate"] for one in entries] == [one["learning_rate"] for one in plain]
    others = [one for one in trainer.state.log_history if "learning_rate" not in one]
    assert not any("learning_rate_applied" in one for one in others)


@pytest.mark.parametrize("later", [False, True])
def test_reporters_see_the_applied_rate(later):
    """Those that Trainer puts before the user's callbacks too."""
    transformers, seen = load("transformers"), []

    class Reporter(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            seen.append("learning_rate_applied" in logs)

    reporter = Reporter()
    trainer = make_trainer([reporter] if later else [reporter, callback()])
    if later:
        trainer.add_callback(callback())
    trainer.train()
    assert seen == [True] * STEPS + [False]
    events = trainer.callback_handler.callbacks
    assert len(events) == len(set(map(id, events)))


@pytest.mark.parametrize("kind", ["linear", "constant"])
def test_resume_is_bit_equal(kind, tmp_path):
    half = STEPS // 2
    options = {"lr_scheduler_type": kind, "save_strategy": "steps", "save_steps": half}
    whole, _, first = fit(0.01, folder=str(tmp_path), **options)
    at = str(tmp_path / f"checkpoint-{half}")
    rest, trainer, second = fit(0.01, folder=str(tmp_path / "rest"), resume=at, **options)
    assert first.controllers[0].steps == second.controllers[0].steps == STEPS
    assert torch.equal(rest, whole)
    logged = [one["step"] for one in trainer.state.log_history if "learning_rate_applied" in one]
    assert logged == list(range(1, STEPS + 1))


def test_optimizer_is_let_go_and_evaluation_untouched():
    own = callback()
    _, trainer, _ = fit(0.1, [own])
    assert all("galatune" not in group for group in trainer.optimizer.param_groups)
    assert {group["lr"] for group in trainer.optimizer.param_groups} == {0.1}
    plain = make_trainer([], net=trainer.model)
    assert trainer.evaluate()["eval_loss"] == plain.evaluate()["eval_loss"]
    assert own.controllers[0].steps == STEPS


def test_one_that_cannot_be_controlled_trains_on():
    transformers, outcomes = load("transformers"), []
    for callbacks in ([], [callback()]):
        net = make_bert(0, 0.1)
        optimizer = transformers.Adafactor(net.parameters(), relative_step=True, warmup_init=True)
        schedule = transformers.optimization.AdafactorSchedule(optimizer)
        trainer = make_trainer(callbacks, net=net)
        trainer.optimizer, trainer.lr_scheduler = optimizer, schedule
        if callbacks:
            with pytest.warns(UserWarning, match="Adafactor is not controlled"):
                trainer.train()
            assert [one.name for one in callbacks[0].left_alone] == ["Adafactor"]
        else:
            trainer.train()
        outcomes.append(weights(net))
    assert torch.equal(*outcomes)


def test_within_a_controlled_block_the_block_controls():
    own = callback(min_lr=5.0)
    with galatune.controlled(probe_schedule=OFTEN) as capture:
        _, trainer, _ = fit(0.1, [own])
    assert not own.controllers
    assert capture.controllers[0].steps == STEPS
    rates = [one["learning_rate_applied"] for one in trainer.state.log_history if "learning_rate" in one]
    assert rates[-1] == pytest.approx(capture.controllers[0].learning_rate)
    assert max(rates) < 5.0


def test_wrong_option_is_said_at_once():
    with pytest.raises(ControlError, match="max_lr"):
        callback(max_lr=-1.0)


# -- hyperparameter_search


def space(trial):
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-1, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 0.0, 0.3),
    }


def searching(**options):
    return make_trainer([], model_init=lambda trial=None: make_bert(0, 0.1), max_steps=12, **options)


def value_of(metrics):
    return metrics["eval_loss"]


@pytest.fixture
def old_study(tmp_path):
    trainer = searching()
    trainer.hyperparameter_search(
        hp_space=space,
        compute_objective=value_of,
        n_trials=3,
        backend="optuna",
        study_name="old",
        storage=f"sqlite:///{tmp_path}/old.db",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    return tmp_path / "old.db"


@pytest.mark.parametrize("eval_strategy", ["no", "steps"])
def test_search_becomes_an_objective(old_study, eval_strategy):
    from galatune_transformers import objective

    plan = galatune.scan(str(old_study))
    assert list(plan.placeholders) == ["learning_rate"]
    trainer = searching(
        eval_strategy=eval_strategy, **({"eval_steps": 6} if eval_strategy == "steps" else {})
    )
    study = galatune.run(plan, objective(trainer, space, value_of), trials=2, repeats=0, confirm=False)
    rows = [row for row in ledger(study).rows if row.state in ("COMPLETE", "PRUNED")]
    assert len(rows) == 2
    for row in rows:
        assert set(row.params) == {"weight_decay"}
        assert row.record.optimizers[0].controlled
        assert row.record.steps == 12
    values = [trial.value for trial in study.trials if trial.value is not None]
    assert all(0 < value < 2 for value in values)
    assert trainer.hp_search_backend is None


def test_objective_is_what_the_search_optimizes():
    """A trial with the same parameters has the same value."""
    from galatune_transformers import objective

    given, values = {"learning_rate": 0.01, "weight_decay": 0.1}, []
    study = optuna.create_study()
    study.enqueue_trial(given)
    study.optimize(objective(searching(), space, value_of), n_trials=1)
    trainer = searching()
    sampler = optuna.samplers.PartialFixedSampler(given, optuna.samplers.RandomSampler())
    best = trainer.hyperparameter_search(
        hp_space=space, compute_objective=value_of, n_trials=1, backend="optuna", sampler=sampler
    )
    values = [study.best_value, best.objective]
    assert values[0] == values[1]


def test_objective_without_model_init_is_refused():
    load("transformers")
    from galatune_transformers import objective

    with pytest.raises(PlanError, match="model_init"):
        objective(make_trainer([]), space)


def test_command_line_takes_it(old_study, tmp_path):
    """As `train.py:objective`, in a process of its own."""
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\n"
        f"sys.path[:0] = {[str(path) for path in sys.path]!r}\n"
        "from frameworks.test_transformers_callback import searching, space, value_of\n"
        "import galatune_transformers\n"
        "objective = galatune_transformers.objective(searching(), space, value_of)\n"
    )
    command = [
        sys.executable,
        "-m",
        "galatune",
        "run",
        str(old_study),
        f"{script}:objective",
        "--trials",
        "1",
    ]
    done = subprocess.run(
        [*command, "--repeats", "0", "--into", "new.db"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (study,) = optuna.get_all_study_summaries("sqlite:///new.db")
    assert study.n_trials == 1
