"""PyTorch Geometric: a graph network on one graph, and on sampled parts of it."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.nn import functional

from .training import Result, assert_unchanged, control, load, weights

NODES, CLASSES = 200, 4


@functools.cache
def graph():
    """Communities: most edges stay inside; features are noisy indicators of the community."""
    data = load("torch_geometric.data")
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (NODES,), generator=generator)
    ends = torch.randint(NODES, (2, 4000), generator=generator)
    inside = labels[ends[0]] == labels[ends[1]]
    kept = ends[:, inside | (torch.rand(4000, generator=generator) < 0.1)]
    features = functional.one_hot(labels, CLASSES).float() + torch.randn(NODES, CLASSES, generator=generator)
    made = data.Data(x=features, edge_index=torch.cat([kept, kept.flip(0)], 1), y=labels)
    made.train = torch.rand(NODES, generator=generator) < 0.3
    return made


class Net(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        layers = load("torch_geometric.nn")
        self.first = getattr(layers, kind)(CLASSES, 16)
        self.last = getattr(layers, kind)(16, CLASSES)

    def forward(self, x, edges):
        x = functional.dropout(self.first(x, edges).relu(), 0.2, training=self.training)
        return self.last(x, edges)


def train(rate, seed, how, *, kind="GCNConv", sampled=False, epochs=40):
    torch.manual_seed(seed)
    data, net = graph(), Net(kind)
    if sampled:
        loaders = load("torch_geometric.loader")
        parts = (
            loaders.ClusterLoader(loaders.ClusterData(data, 4, log=False), batch_size=1, shuffle=True)
            if sampled == "cluster"
            else loaders.NeighborLoader(data, [5, 5], batch_size=32, input_nodes=data.train)
        )
    else:
        parts = [data]
    with control(how) as capture:
        optimizer = torch.optim.Adam(net.parameters(), lr=rate, weight_decay=5e-4)
        for _ in range(epochs):
            for part in parts:
                net.train()
                optimizer.zero_grad()
                out = net(part.x, part.edge_index)
                functional.cross_entropy(out[part.train], part.y[part.train]).backward()
                optimizer.step()
    net.eval()
    with torch.no_grad():
        out = net(data.x, data.edge_index)
    loss = functional.cross_entropy(out[~data.train], data.y[~data.train]).item()
    return Result(weights(net), loss, capture)


CASES = {"GCN": {}, "SAGE": {"kind": "SAGEConv"}, "attention": {"kind": "GATConv"}}


@pytest.mark.parametrize("name", CASES)
def test_pinned_training_is_the_fixed_one(name):
    assert_unchanged(train, **CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_is_controlled(name):
    first, second = (train(rate, 0, "often", **CASES[name]) for rate in (1e-6, 10.0))
    assert torch.equal(first.weights, second.weights)
    assert first.controller.steps == 40
    assert first.controller.probes > 5
    assert first.loss < 1.3


def test_sampled_neighbours():
    utils = load("torch_geometric.typing")
    if not (utils.WITH_PYG_LIB or utils.WITH_TORCH_SPARSE):
        pytest.skip("NeighborLoader needs pyg-lib or torch-sparse, which have no wheel beside this torch")
    assert_unchanged(train, sampled="neighbours", epochs=4)
