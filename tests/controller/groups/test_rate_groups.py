"""Several optimizers, and parameter groups that share a rate or have their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, AdamW

from controller.training import OFTEN, batches, classifier, weights
from galatune import attach


class ActorAndCritic:
    """Two nets that share nothing, their losses of unlike scale; the actor's loss asks the critic."""

    def __init__(self):
        torch.manual_seed(0)
        self.actor, self.critic = nn.Linear(4, 2), nn.Linear(6, 1)

    def critic_loss(self, x):
        with torch.no_grad():
            actions = self.actor(x)
        target = 100 * x.sum(1, keepdim=True)
        return functional.mse_loss(self.critic(torch.cat([x, actions], 1)), target)

    def actor_loss(self, x):
        actions = self.actor(x)
        return actions.square().mean() - 1e-3 * self.critic(torch.cat([x, actions], 1)).mean()


def alternate(pair, optimizers, losses, *, closure):
    generator = torch.Generator().manual_seed(2)
    for _ in range(100):
        x = torch.randn(32, 4, generator=generator)
        for optimizer, loss in zip(optimizers, losses, strict=True):

            def evaluate(optimizer=optimizer, loss=loss, x=x):
                optimizer.zero_grad()
                value = loss(x)
                value.backward()
                return value

            if closure:
                optimizer.step(evaluate)
            else:
                evaluate()
                optimizer.step()


@pytest.mark.parametrize("closure", [False, True], ids=["graph", "closure"])
def test_actor_and_critic_have_learners_of_their_own(closure):
    pair = ActorAndCritic()
    critic = SGD(pair.critic.parameters(), lr=123.0)
    actor = AdamW(pair.actor.parameters(), lr=123.0)
    controllers = attach(critic, **OFTEN), attach(actor, **OFTEN)
    alternate(pair, (critic, actor), (pair.critic_loss, pair.actor_loss), closure=closure)
    assert [controller.probes for controller in controllers] == [45, 45]
    assert all(controller.probe == ("closure" if closure else "graph") for controller in controllers)
    assert controllers[0].learning_rate != controllers[1].learning_rate
    assert pair.critic_loss(torch.ones(8, 4)).item() < 0.01 * 400**2

    alone = ActorAndCritic()
    alone.actor.load_state_dict(ActorAndCritic().actor.state_dict())
    only = SGD(alone.critic.parameters(), lr=1.0)
    controller = attach(only, **OFTEN)
    for parameter in alone.actor.parameters():
        parameter.requires_grad_(False)

    def fixed_loss(x):
        return functional.mse_loss(
            alone.critic(torch.cat([x, torch.zeros(len(x), 2)], 1)), 100 * x.sum(1)[:, None]
        )

    alternate(alone, (only,), (fixed_loss,), closure=closure)
    # The critic's curvature is that of its inputs, whatever the actor's learner does beside it.
    assert controllers[0].learning_rate == pytest.approx(controller.learning_rate, rel=0.5)


def grouped(first, second, **options):
    net = classifier()
    optimizer = SGD(
        [{"params": net[0].parameters(), "lr": first}, {"params": net[2].parameters(), "lr": second}]
    )
    controller = attach(optimizer, **options)
    rates = []
    for inputs, labels in batches(50):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
        rates.append([group["galatune"].group.applied for group in optimizer.param_groups])
    return net, rates, controller


def test_fixed_ratio_of_two_groups_is_kept_at_every_step():
    _, rates, _ = grouped(0.01, 0.5)
    assert all(second == pytest.approx(50 * first, rel=1e-8) for first, second in rates)
    again = grouped(1e-7, 5e-6)
    assert again[1] == rates


def test_groups_with_rates_of_their_own_do_not_know_the_given_ones():
    net, rates, controller = grouped(0.01, 0.5, per_group=True)
    other, again, _ = grouped(3.0, 1e-5, per_group=True)
    assert again == rates
    assert torch.equal(weights(other), weights(net))
    assert len(controller.history) == 2 * controller.probes
    assert rates[-1][0] != rates[-1][1]
    assert controller.learning_rate == rates[-1]
