"""Network, split and loop, below the estimators."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from galatune.tabular.embeddings import LevelEmbedding, PiecewiseLinear
from galatune.tabular.loss import SquaredError
from galatune.tabular.net import MLP, Inputs
from galatune.tabular.read import split_rows
from galatune.tabular.train import Rows, TrainingOptions, _Average, train

SQUARED = SquaredError(low=torch.tensor([-9.0]), high=torch.tensor([9.0]))


def inputs(numbers: torch.Tensor) -> Inputs:
    return Inputs(numbers, torch.zeros(len(numbers), 0, dtype=torch.int64))


def rows(n: int, seed: int) -> Rows:
    numbers = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return Rows(inputs(numbers), numbers.sum(1, keepdim=True).sin(), torch.ones(n))


def network(seed: int = 0, dropout: float = 0.0, *, embedded: bool = False) -> MLP:
    generator = torch.Generator().manual_seed(seed)
    numbers = PiecewiseLinear.fit(rows(400, 0).inputs.numbers.double().numpy(), np.ones(400))
    levels = LevelEmbedding((), generator)
    embedding = numbers if embedded else None
    return MLP(3, levels, embedding, (32, 32), 1, n_members=4, dropout=dropout, generator=generator)


def options(**given: float) -> TrainingOptions:
    return TrainingOptions(**{"batch_size": 32, "max_iter": 30, "patience": 99, "weight_decay": 0.0} | given)


def noise(n: int = 40) -> Rows:
    """Rows whose targets nothing explains."""
    targets = torch.randn(n, 1, generator=torch.Generator().manual_seed(0))
    return Rows(inputs(torch.zeros(n, 3)), targets, torch.ones(n))


def test_network_and_masks_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    net = network(dropout=0.5)
    net.draw_masks(4, torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_masks_drop_their_share_and_keep_the_mean() -> None:
    masks = network(dropout=0.25).draw_masks(1000, torch.Generator().manual_seed(0))
    assert [mask.shape for mask in masks] == [(4, 1000, 32), (4, 1000, 32)]
    assert masks[0].mean().item() == pytest.approx(1, abs=0.01)
    assert (masks[0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("embedded", [False, True])
def test_training_learns_records_and_ends_with_the_best_epoch(embedded: bool) -> None:
    net, validation = network(embedded=embedded), rows(100, seed=1)
    history = train(net, rows(400, 0), validation, SQUARED, options(), torch.Generator().manual_seed(0))
    mean = SQUARED.mean(net(validation.inputs))[None]
    loss = validation.loss(mean, SQUARED).item()
    assert loss == pytest.approx(-max(history.validation_scores), rel=1e-5)
    assert loss < 0.02
    assert history.best_epoch == 1 + int(np.argmax(history.validation_scores))
    assert history.learning_rates[:, 0].tolist() == list(range(1, 12 * len(history.losses) + 1))
    assert (history.learning_rates[:, 1] > 0).all()


def test_training_stops_when_the_patience_is_spent_in_steps() -> None:
    stops = [
        len(
            train(
                network(),
                noise(),
                noise(),
                SQUARED,
                options(max_iter=900, batch_size=batch, patience=90),
                torch.Generator().manual_seed(0),
            ).losses
        )
        * (40 // batch)
        for batch in (40, 20)
    ]
    assert all(30 <= steps < 600 for steps in stops)


def test_training_that_reaches_max_iter_is_not_finished() -> None:
    history = train(
        network(), rows(400, 0), rows(100, 1), SQUARED, options(max_iter=4), torch.Generator().manual_seed(0)
    )
    assert not history.finished
    assert len(history.losses) == 4


def test_training_without_validation_runs_every_epoch_and_is_finished() -> None:
    history = train(
        network(), rows(64, 0), None, SQUARED, options(max_iter=3), torch.Generator().manual_seed(0)
    )
    assert (history.finished, len(history.losses), history.best_epoch) == (True, 3, 3)


def test_targets_that_nothing_explains_are_found_out() -> None:
    seed, given = torch.Generator().manual_seed(0), options(max_iter=300)
    aimless, other = (Rows(rows(40, seed).inputs, noise(40).targets, torch.ones(40)) for seed in (0, 1))
    assert not train(network(), aimless, other, SQUARED, given, seed).learned
    assert train(network(), rows(400, 0), rows(100, 1), SQUARED, options(), seed).learned


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    net, given = network(dropout=0.3), options(batch_size=16, max_iter=2)
    train(net, rows(64, 0), None, SQUARED, given, torch.Generator().manual_seed(0))
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
