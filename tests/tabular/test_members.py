"""Networks side by side are what they would be alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from galatune.tabular.embeddings import LevelEmbedding, PiecewiseLinear
from galatune.tabular.loss import LogLoss, SquaredError
from galatune.tabular.members import draw_mask
from galatune.tabular.net import MLP, Inputs


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_inputs(n: int = 7) -> Inputs:
    codes = torch.randint(0, 12, (n, 1), generator=generator(1))
    return Inputs(torch.randn(n, 3, generator=generator(2)), codes)


def network(*, embedded: bool, n_members: int = 4) -> MLP:
    numbers = PiecewiseLinear.fit(np.random.default_rng(0).normal(size=(200, 3)), np.ones(200))
    return MLP(
        3,
        LevelEmbedding((12,), generator()),
        numbers if embedded else None,
        (8, 6),
        2,
        n_members=n_members,
        dropout=0.2,
        generator=generator(),
    )


def alone(net: MLP, inputs: Inputs, member: int, masks: list[torch.Tensor]) -> torch.Tensor:
    """What one member computes, written out."""
    columns = slice(8 * member, 8 * (member + 1))
    hidden = torch.cat([inputs.numbers, net.levels(inputs.codes)], dim=1) @ net.first.weight[:, columns]
    if net.numbers is not None and member >= 2:
        behind = slice(8 * (member - 2), 8 * (member - 1))
        hidden = hidden + net.numbers(inputs.numbers) @ net.first_bins.weight[:, behind]
    hidden = hidden + net.first_bias[member]
    for layer, mask in zip(net.layers, masks, strict=True):
        hidden = silu(hidden) * mask[member] @ layer.weight[member] + layer.bias[member]
    return hidden


@pytest.mark.parametrize("embedded", [False, True])
def test_a_member_computes_what_it_would_alone(embedded: bool) -> None:
    net, inputs = network(embedded=embedded), some_inputs()
    if embedded:
        torch.nn.init.normal_(net.first_bins.weight, generator=generator(4))
    masks = net.draw_masks(7, generator(3))
    together = net(inputs, masks)
    for member in range(4):
        torch.testing.assert_close(together[member], alone(net, inputs, member, masks))


@pytest.mark.parametrize("choice", [0, 1, 2])
def test_members_that_are_kept_predict_as_before(choice: int) -> None:
    net, inputs = network(embedded=True), some_inputs()
    torch.nn.init.normal_(net.first_bins.weight, generator=generator(4))
    members = net.halves[choice]
    kept = copy.deepcopy(net)
    kept.keep(members)
    torch.testing.assert_close(kept(inputs), net(inputs)[members])
    assert kept.n_members == len(range(4)[members])


@pytest.mark.parametrize(("embedded", "n_members", "choices"), [(False, 4, 1), (True, 4, 3), (True, 1, 1)])
def test_halves_exist_if_only_some_members_are_embedded(embedded: bool, n_members: int, choices: int) -> None:
    net = network(embedded=embedded, n_members=n_members)
    assert len(net.halves) == choices
    assert net(some_inputs()).shape == (n_members, 7, 2)


def test_without_hidden_layers_members_are_linear() -> None:
    net = MLP(
        3, LevelEmbedding((), generator()), None, (), 1, n_members=2, dropout=0.5, generator=generator()
    )
    inputs = Inputs(torch.randn(5, 3, generator=generator()), torch.zeros(5, 0, dtype=torch.int64))
    twice = Inputs(2 * inputs.numbers, inputs.codes)
    torch.testing.assert_close(net(twice, net.draw_masks(5, generator())), 2 * net(inputs))


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.999])
def test_masks_keep_the_mean(dropout: float) -> None:
    mask = draw_mask((500_000,), dropout, generator())
    assert mask.mean().item() == pytest.approx(1, abs=0.05)
    assert len(mask.unique()) == 2


def test_members_of_a_classifier_vote_by_probability() -> None:
    outputs = torch.randn(3, 5, 4, generator=generator())
    mean = LogLoss(4).mean(outputs)
    torch.testing.assert_close(mean.exp(), outputs.softmax(dim=-1).mean(dim=0))
    targets = torch.tensor([0, 1, 2, 3, 0])
    torch.testing.assert_close(LogLoss(4).rows(mean[None], targets)[0], -mean[range(5), targets])


def test_the_best_constant_is_the_shares_or_the_mean() -> None:
    weights = torch.tensor([3.0, 1.0])
    assert LogLoss(2).constant(torch.tensor([1, 0]), weights).exp().tolist() == pytest.approx([0.25, 0.75])
    squared = SquaredError(torch.tensor([0.0]), torch.tensor([4.0]))
    assert squared.constant(torch.tensor([[0.0], [4.0]]), weights).tolist() == [1.0]
