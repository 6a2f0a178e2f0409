"""Lightning: automatic optimization."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.nn import functional

from .training import Result, assert_unchanged, control, digits, load, make_net, weights

EPOCHS = 4


def train(
    rate: float,
    seed: int,
    how: str,
    *,
    epochs: int = EPOCHS,
    shuffle: bool = False,
    cosine: bool = False,
    length: int | None = None,
    lists: bool = False,
    dropout: float = 0.0,
    callbacks: Any = (),
    kind: str = "AdamW",
    resume: Any = None,
    save: Any = None,
    accelerator: str = "cpu",
    **trainer_options: Any,
) -> Result:
    lightning = load("lightning")
    net = make_net(seed)
    seen: Counter[str] = Counter()
    rates: list[float] = []

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.accuracy = net, load("torchmetrics").Accuracy("multiclass", num_classes=10)

        def training_step(self, batch, number):
            seen["training_step"] += 1
            inputs = functional.dropout(batch[0], dropout)
            logits = self.net(inputs)
            loss = functional.cross_entropy(logits, batch[1])
            self.accuracy(logits, batch[1])
            self.log("loss", loss, on_step=False, on_epoch=True)
            self.log("accuracy", self.accuracy, on_step=False, on_epoch=True)
            return loss

        def on_before_zero_grad(self, optimizer):
            seen["zero_grad"] += 1

        def on_after_backward(self):
            seen["backward"] += 1

        def configure_optimizers(self):
            optimizer = getattr(torch.optim, kind)(self.parameters(), lr=rate)
            if lists:
                return [optimizer], [torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)]
            if not cosine:
                return optimizer
            steps = 14 * (length or epochs) // trainer_options.get("accumulate_grad_batches", 1)
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, number):
            seen["batch_end"] += 1
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

        def on_before_optimizer_step(self, trainer, module, optimizer):
            seen["before_step"] += 1

    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Watch(), *callbacks],
        **trainer_options,
    )
    with control(how) as capture:
        trainer.fit(Module(), digits().loader(seed, shuffle=shuffle), ckpt_path=resume)
        if save is not None:
            trainer.save_checkpoint(save)
    data = digits()
    noted = {
        **seen,
        "rates": rates,
        "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        "step": trainer.global_step,
    }
    return Result(weights(net), data.loss(net), capture, noted)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "sgd": {"kind": "SGD"},
    "lists": {"lists": True},
    "accumulation": {"accumulate_grad_batches": 2},
    "bf16": {"precision": "bf16-mixed"},
    "clip by norm": {"gradient_clip_val": 0.1},
    "clip by value": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    "dropout": {"dropout": 0.2},
}


@pytest.mark.parametrize("name", CASES)
def test_pinned_training_is_the_fixed_one(name):
    assert_unchanged(train, **CASES[name])


def test_weight_averaging_of_the_pinned_training_is_that_of_the_fixed_one():
    def train_averaged(rate, seed, how):
        averaging = load("lightning.pytorch.callbacks").StochasticWeightAveraging(0.01, 2, 1)
        return train(rate, seed, how, callbacks=[averaging])

    assert_unchanged(train_averaged)
    run = train_averaged(10.0, 0, "often")
    assert run.controller.steps == run.seen["step"]


@pytest.mark.parametrize("name", CASES)
def test_is_controlled(name):
    options = CASES[name]
    first, second = (train(rate, 0, "often", **options) for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    steps = 14 * EPOCHS // options.get("accumulate_grad_batches", 1)
    assert first.controller.steps == first.seen["step"] == steps
    assert first.controller.probes > 5
    assert first.controller.learning_rate > 1e-4


def test_schedule_is_as_without_control():
    assert_unchanged(train, left_alone=True, cosine=True)
    plain, run = (train(0.01, 0, how, cosine=True) for how in ("off", "often"))
    assert run.seen["rates"] == plain.seen["rates"]
    assert run.controller.events[1].reason.endswith("CosineAnnealingLR decays")


@pytest.mark.parametrize("cosine", [False, True])
def test_resume_is_bit_equal(cosine, tmp_path):
    """Saved by the trainer while control lasts: what is saved after the block is let go."""
    options = {"cosine": cosine, "length": 4}
    whole = train(0.01, 0, "often", epochs=4, **options)
    train(0.01, 0, "often", epochs=2, save=tmp_path / "half.ckpt", **options)
    rest = train(0.01, 0, "often", epochs=4, resume=tmp_path / "half.ckpt", **options)
    assert rest.controller.steps == whole.controller.steps
    assert torch.equal(rest.weights, whole.weights)
