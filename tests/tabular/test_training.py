"""Network, split and loop, below the estimators."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from galatune.tabular.net import MLP
from galatune.tabular.read import split_rows
from galatune.tabular.train import Rows, TrainingOptions, _Average, train


def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets).square().mean(dim=1)


def rows(n: int, seed: int) -> Rows:
    inputs = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return Rows(inputs, inputs.sum(1, keepdim=True).sin(), torch.ones(n))


def network(seed: int = 0, dropout: float = 0.0) -> MLP:
    return MLP(3, (32, 32), 1, dropout=dropout, generator=torch.Generator().manual_seed(seed))


def test_network_and_masks_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    net = network(dropout=0.5)
    net.draw_masks(4, torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_masks_drop_their_share_and_keep_the_mean() -> None:
    masks = network(dropout=0.25).draw_masks(4000, torch.Generator().manual_seed(0))
    assert [mask.shape for mask in masks] == [(4000, 32), (4000, 32)]
    assert masks[0].mean().item() == pytest.approx(1, abs=0.01)
    assert (masks[0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_training_learns_records_and_ends_with_the_best_epoch() -> None:
    net, validation = network(), rows(100, seed=1)
    options = TrainingOptions(batch_size=32, max_iter=30, n_iter_no_change=10, weight_decay=0.0)
    history = train(net, rows(400, seed=0), validation, squared, options, torch.Generator().manual_seed(0))
    loss = validation.loss(net(validation.inputs), squared).item()
    assert loss == pytest.approx(-max(history.validation_scores), rel=1e-5)
    assert loss < 0.02
    assert history.best_epoch == 1 + int(np.argmax(history.validation_scores))
    assert history.learning_rates[:, 0].tolist() == list(range(1, 12 * len(history.losses) + 1))
    assert (history.learning_rates[:, 1] > 0).all()


def test_training_stops_after_the_patience_is_spent() -> None:
    noise = Rows(
        torch.zeros(40, 3), torch.randn(40, 1, generator=torch.Generator().manual_seed(0)), torch.ones(40)
    )
    options = TrainingOptions(batch_size=40, max_iter=500, n_iter_no_change=3, weight_decay=0.0)
    history = train(network(), noise, noise, squared, options, torch.Generator().manual_seed(0))
    assert len(history.losses) < 500
    assert len(history.losses) == history.best_epoch + 3


def test_training_leaves_the_global_generator_alone() -> None:
    options = TrainingOptions(batch_size=16, max_iter=2, n_iter_no_change=3, weight_decay=0.01)
    before = torch.random.get_rng_state()
    train(network(dropout=0.3), rows(64, 0), None, squared, options, torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_average_forgets_where_it_started() -> None:
    net = network()
    average = _Average(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1.0)
    for _ in range(200):
        average.update()
    assert all((parameter - 1).abs().max() < 0.02 for parameter in average.network.parameters())


def test_split_holds_out_the_same_fraction_of_every_class() -> None:
    strata = np.repeat([0, 1], [800, 200])
    stay, held = split_rows(strata, 0.1, np.random.RandomState(0))
    assert np.bincount(strata[held]).tolist() == [80, 20]
    assert sorted([*stay, *held]) == list(range(1000))


def test_split_leaves_every_class_in_training() -> None:
    stay, _ = split_rows(np.arange(40) // 2, 0.9, np.random.RandomState(0))
    assert set(np.arange(40)[stay] // 2) == set(range(20))


def test_split_of_nothing_holds_out_nothing() -> None:
    stay, held = split_rows(np.zeros(10, dtype=int), 0.0, np.random.RandomState(0))
    assert (len(stay), len(held)) == (10, 0)
