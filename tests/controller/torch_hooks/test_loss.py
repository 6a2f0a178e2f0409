"""The loss of a step, as a guard is told it."""

from __future__ import annotations

import torch

from galatune.controller.torch_hooks.loss import LossWatch, loss_value


def test_watch_hears_the_losses_of_its_own_parameters():
    mine, other = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    watch = LossWatch()
    watch.watch([mine])
    for parameter, factor in ((mine, 2.0), (other, 100.0), (mine, 3.0)):
        watch.saw_backward([(factor * parameter).sum()], None, None)
    assert watch.take(None, [mine]) == 10.0
    assert watch.take(None, [mine]) is None
    watch.saw_backward([mine.sum()], None, None)  # nobody waits for it
    assert watch.take(None, [mine]) is None
    assert watch.take(torch.tensor(3.0), [mine]) == 3.0


def test_loss_value_is_one_number_or_none():
    assert loss_value(torch.tensor([2.0], requires_grad=True)) == loss_value(2) == 2.0
    assert loss_value(torch.ones(2)) is loss_value("loss") is loss_value(None) is None
