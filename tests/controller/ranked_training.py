"""One rank of a training under DistributedDataParallel, or the same training alone; prints its rates."""

from __future__ import annotations

import json
import sys

import torch
from torch import distributed, nn
from torch.nn import functional

import galatune
from galatune.controller.guard import Guard

STEPS, BATCH = 60, 32


def train(rank: int, ranks: int, probe: str) -> tuple[list[float], list[float]]:
    torch.manual_seed(0)
    net: nn.Module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    if ranks > 1:
        net = nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1.0)
    controller = galatune.attach(optimizer, probe=probe, guard=Guard(spike=1.2))
    generator = torch.Generator().manual_seed(1)
    rates = []
    for _ in range(STEPS):
        inputs = torch.randn(BATCH, 4, generator=generator, dtype=torch.float64)[rank::ranks]
        labels = torch.randint(3, (BATCH,), generator=generator)[rank::ranks]

        def evaluate(inputs=inputs, labels=labels):
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(inputs), labels)
            loss.backward()
            return loss

        if probe == "closure":
            optimizer.step(evaluate)
        else:
            evaluate()
            optimizer.step()
        rates.append(controller.learning_rate)
    assert controller.probe == probe
    return rates, torch.cat([p.detach().flatten() for p in net.parameters()]).tolist()


if __name__ == "__main__":
    given_rank, given_ranks, given_probe, meeting = sys.argv[1:]
    if int(given_ranks) > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=int(given_rank), world_size=int(given_ranks)
        )
    print(json.dumps(train(int(given_rank), int(given_ranks), given_probe)))
    if int(given_ranks) > 1:
        distributed.destroy_process_group()
