"""The regret of choosing the rate online, compared with the best fixed rate in hindsight.

The theory covers normalized SGD with momentum on a bounded interval: the regret of "follow the regularized
leader" cannot exceed its bound. `galatune bench compare --regret` shows the regret of every method.
"""

import math

import torch
from torch.nn import functional

import galatune
from galatune.bench.controller.regret import ftrl_bound, regret
from galatune.controller import FTRL, ProbeSchedule
from galatune.controller.learners import Quadratic, Surrogate
from galatune.demo.objective import load, make_net


class NormalizedSGD(torch.optim.Optimizer):
    """``m <- 0.9 m + 0.1 g;  x <- x - lr m / ||m||``."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            means = [self.state[p].setdefault("mean", p.grad.clone()) for p in group["params"]]
            for mean, p in zip(means, group["params"], strict=True):
                mean.lerp_(p.grad, 0.1)
            whole = math.sqrt(sum(float(mean.square().sum()) for mean in means))
            for mean, p in zip(means, group["params"], strict=True):
                p.sub_(mean, alpha=group["lr"] / whole)


x, y, _, _ = load()
bounds = (1e-3, 1.0)
losses_of_rounds = Surrogate(weight_power=0.0, curvature="lipschitz")  # a normalized step has length 1
regularizer = Quadratic(30.0, center=0.1)
learner = FTRL(0.1, *bounds, regularizer=regularizer, surrogate=losses_of_rounds)
torch.manual_seed(0)
net = make_net(width=8, dropout=0.0)
optimizer = NormalizedSGD(net.parameters())
guard = galatune.Guard(math.inf, math.inf)  # no limits
controller = galatune.attach(
    optimizer, learner=learner, guard=guard, step_scale=1.0, probe_schedule=ProbeSchedule(first=100)
)
for _ in range(100):
    batch = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    functional.cross_entropy(net(x[batch]), y[batch]).backward()
    optimizer.step()
found = regret(controller.history, bounds, losses_of_rounds)
bound = ftrl_bound(controller.history, regularizer, bounds, losses_of_rounds)
print(f"rates from {min(r.played_rate for r in controller.history):.3g}", end=" ")
print(f"to {max(r.played_rate for r in controller.history):.3g}; best fixed {found.best_fixed_rate:.3g}")
print(f"regret after {len(found.losses)} rounds: {found.regret:.5f}, FTRL's bound: {bound:.5f}")
