"""Transformers' Trainer on a tiny BERT, made from its configuration."""

from __future__ import annotations

import functools
from collections import Counter

import pytest
import torch

from .training import Result, assert_unchanged, control, load, weights

STEPS = 24
WORDS, LENGTH, BATCH = 32, 8, 16


class Sentences(torch.utils.data.Dataset):
    """Class 1 if small words are the majority."""

    def __init__(self, count=BATCH * STEPS, seed=1):
        generator = torch.Generator().manual_seed(seed)
        self.words = torch.randint(2, WORDS, (count, LENGTH), generator=generator)
        self.labels = (self.words < WORDS // 2).sum(1).gt(LENGTH // 2).long()

    def __len__(self):
        return len(self.words)

    def __getitem__(self, index):
        return {"input_ids": self.words[index], "labels": self.labels[index]}


def make_bert(seed, dropout):
    transformers = load("transformers")
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=2,
    )
    return transformers.BertForSequenceClassification(config)


@functools.cache
def held_out():
    return Sentences(512, seed=2)


def train(rate, seed, how, *, dropout=0.1, resume=None, folder="trained", **arguments):
    transformers = load("transformers")
    seen, rates = Counter(), []

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            seen["step_end"] += 1
            rates.append(kwargs["lr_scheduler"].get_last_lr())

        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            seen["before_step"] += 1

        def on_log(self, args, state, control, logs=None, **kwargs):
            seen["log"] += 1

    net = make_bert(seed, dropout)
    net.register_forward_pre_hook(lambda *_: seen.update(forward=1))
    options = {"lr_scheduler_type": "constant", "max_steps": STEPS, "save_strategy": "no", **arguments}
    trainer = transformers.Trainer(
        model=net,
        args=transformers.TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            learning_rate=rate,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            logging_steps=20,
            seed=seed,
            **options,
        ),
        train_dataset=Sentences(),
        callbacks=[Watch()],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    with control(how) as capture:
        trainer.train(resume_from_checkpoint=resume)
    data = held_out()
    net.eval()
    with torch.no_grad():
        loss = net(input_ids=data.words, labels=data.labels).loss.item()
    noted = {"rates": rates, "step": trainer.state.global_step, **seen}
    noted["logged"] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Result(weights(net), loss, capture, noted)


CONSTANT = {
    "plain": {},
    "without dropout": {"dropout": 0.0},
    "accumulation": {"gradient_accumulation_steps": 2, "max_steps": STEPS // 2},
    "clip": {"max_grad_norm": 0.05},
    "bf16": {"bf16": True},
    "sgd": {"optim": "sgd"},
    "adafactor": {"optim": "adafactor"},
    "adamw foreach": {"optim": "adamw_torch"},
    "checkpointing": {"gradient_checkpointing": True},
    "two groups": {"weight_decay": 0.1},
}


MATH_KERNEL = ("without dropout",)
"""A probed forward computes attention by torch's math kernel, which moves gradients by about 5e-5."""


@pytest.mark.parametrize("name", [name for name in CONSTANT if name not in MATH_KERNEL])
def test_pinned_training_is_the_fixed_one(name):
    assert_unchanged(train, **CONSTANT[name])


SCHEDULES = {
    "linear": {"lr_scheduler_type": "linear"},
    "linear with warmup": {"lr_scheduler_type": "linear", "warmup_steps": 10},
    "cosine": {"lr_scheduler_type": "cosine"},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_is_as_without_control(name):
    assert_unchanged(train, left_alone=True, **SCHEDULES[name])
    plain, run = train(0.01, 0, "off", **SCHEDULES[name]), train(0.01, 0, "often", **SCHEDULES[name])
    assert run.seen["rates"] == plain.seen["rates"]
    assert run.seen["step_end"] == plain.seen["step_end"] == run.controller.steps


@pytest.mark.parametrize("name", [*CONSTANT, *SCHEDULES])
def test_is_controlled(name):
    options = {**CONSTANT, **SCHEDULES}[name]
    first, second = train(1e-6, 0, "often", **options), train(10.0, 0, "often", **options)
    assert torch.equal(first.weights, second.weights)
    assert first.controller.steps == first.seen["step"] == options.get("max_steps", STEPS)
    assert first.controller.probes > 5


@pytest.mark.parametrize("kind", ["linear", "constant"])
def test_resume_is_bit_equal(kind, tmp_path):
    options = {
        "lr_scheduler_type": kind,
        "warmup_steps": 5,
        "save_strategy": "steps",
        "save_steps": STEPS // 2,
    }
    whole = train(0.01, 0, "often", folder=str(tmp_path), **options)
    rest = train(
        0.01, 0, "often", folder=str(tmp_path), resume=str(tmp_path / f"checkpoint-{STEPS // 2}"), **options
    )
    assert rest.controller.steps == whole.controller.steps == STEPS
    assert torch.equal(rest.weights, whole.weights)
