"""Frameworks that step with a closure: their metrics, callbacks and hooks count what they count alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import galatune
from galatune.controller.controlled import Capture

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PINNED = {"min_lr": 0.01, "max_lr": 0.01}
"""The rate of the run without control, so that every number has to be equal."""


def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(1))
    return x, x.sum(1, keepdim=True).tanh()


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))


def lightning_module(manual: str) -> Any:
    """One that counts the calls of its hooks and has a metric."""
    pl = pytest.importorskip("lightning.pytorch")
    torchmetrics = pytest.importorskip("torchmetrics")

    class Module(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net, self.metric = net(), torchmetrics.MeanSquaredError()
            self.automatic_optimization = not manual
            self.count: dict[str, int] = {}

        def counted(self, name: str) -> None:
            self.count[name] = self.count.get(name, 0) + 1

        def loss(self, batch: Any) -> torch.Tensor:
            self.counted("training_step")
            x, y = batch
            output = self.net(x)
            self.metric(output, y)
            self.log("metric", self.metric, on_epoch=True)
            return (output - y).square().mean()

        def training_step(self, batch: Any, number: int) -> torch.Tensor | None:
            if not manual:
                return self.loss(batch)
            optimizer = self.optimizers()

            def closure() -> torch.Tensor:
                optimizer.zero_grad()
                loss = self.loss(batch)
                self.manual_backward(loss)
                return loss

            if manual == "closure":
                optimizer.step(closure=closure)
            else:
                closure()
                optimizer.step()
            return None

        def on_after_backward(self) -> None:
            self.counted("on_after_backward")

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            self.counted("on_before_optimizer_step")

        def on_train_batch_end(self, outputs: Any, batch: Any, number: int) -> None:
            self.counted("on_train_batch_end")

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.net.parameters(), lr=0.01)

    return Module()


def lightning(
    control: dict[str, Any] | None, *, manual: str = "", **trainer: Any
) -> tuple[Any, Capture | None]:
    """Train; what was counted, and what was controlled."""
    module = lightning_module(manual)
    from lightning.pytorch import Trainer

    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    fit = Trainer(max_epochs=3, accelerator="cpu", **dict.fromkeys(quiet, False), **trainer)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=16)
    capture = None
    if control is None:
        fit.fit(module, loader)
    else:
        with galatune.controlled(**control) as capture:
            fit.fit(module, loader)
    counts = {**module.count, "steps": fit.global_step, "metric": module.metric._update_count}
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    weights = torch.nn.utils.parameters_to_vector(module.net.parameters()).detach()
    return (counts, metrics, weights.tolist()), capture


CASES: dict[str, dict[str, Any]] = {
    "automatic": {},
    "accumulation": {"accumulate_grad_batches": 3},
    "bf16, clipping": {"precision": "bf16-mixed", "gradient_clip_val": 0.5},
    "manual": {"manual": "step"},
    "manual, closure": {"manual": "closure"},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_lightning_counts_what_it_counts_without_control(case: dict[str, Any]) -> None:
    plain, _ = lightning(None, **case)
    pinned, capture = lightning(PINNED, **case)
    assert pinned == plain
    assert capture is not None
    (controller,) = capture.controllers
    assert controller.probe == "graph"
    assert controller.probes >= controller.steps - 3
    # Nothing is billed that was not computed: a Hessian-vector product counts as three gradients.
    assert controller.gradient_evaluations == controller.steps + 3 * controller.probes
    assert controller.unseen is None


def test_lightning_may_be_probed_by_its_closure() -> None:
    _, capture = lightning({"probe": "closure"})
    assert capture is not None
    (controller,) = capture.controllers
    assert controller.probe == "closure"
    assert controller.probes >= controller.steps - 3
    assert any("Lightning" in event.reason for event in controller.events)


def test_lightnings_manual_optimization_has_nothing_for_the_closure_probe() -> None:
    with pytest.raises(galatune.GalatuneError, match="computes no gradient when called again"):
        lightning({"probe": "closure"}, manual="step")


def skorch(control: dict[str, Any] | None) -> tuple[Any, Capture | None]:
    """Train; the history and what callbacks counted, and what was controlled."""
    library = pytest.importorskip("skorch")
    from skorch.callbacks import Callback

    class Counting(Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.count: dict[str, int] = {}

        def on_grad_computed(self, net: Any, **_: Any) -> None:
            self.count["gradients"] = self.count.get("gradients", 0) + 1

        def on_batch_end(self, net: Any, **_: Any) -> None:
            self.count["batches"] = self.count.get("batches", 0) + 1

    counting = Counting()
    quiet = {"verbose": 0, "train_split": None, "callbacks": [counting]}
    optimizer = {"optimizer": torch.optim.Adam, "lr": 0.01}
    learner = library.NeuralNetRegressor(net(), max_epochs=3, batch_size=16, **optimizer, **quiet)
    x, y = (part.numpy() for part in data())
    torch.manual_seed(0)
    np.random.seed(0)
    capture = None
    if control is None:
        learner.fit(x, y)
    else:
        with galatune.controlled(**control) as capture:
            learner.fit(x, y)
    batches = [[one["train_loss"] for one in epoch["batches"]] for epoch in learner.history]
    return (learner.history[:, "train_loss"], batches, counting.count), capture


def test_skorch_records_what_it_records_without_control() -> None:
    plain, _ = skorch(None)
    pinned, capture = skorch(PINNED)
    assert pinned == plain
    assert capture is not None
    (controller,) = capture.controllers
    assert controller.probe == "graph"
    assert "skorch" in next(event.reason for event in controller.events if event.kind == "probe")
    assert controller.probes >= controller.steps - 3


def test_skorch_may_be_probed_by_its_closure() -> None:
    (_, _, plain), _ = skorch(None)
    (_, _, count), capture = skorch({"probe": "closure"})
    assert capture is not None
    assert capture.controllers[0].probe == "closure"
    assert count["gradients"] > plain["gradients"]
    assert count["batches"] == plain["batches"]
