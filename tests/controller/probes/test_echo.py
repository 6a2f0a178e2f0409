"""The echo probe: the same minibatch twice, with the same random numbers, and nothing else changed."""

from __future__ import annotations

import gc
import io
import itertools
import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from controller.training import OFTEN, OnceOnly, classifier, weights
from galatune import attach, controlled
from galatune.controller.probes.echo import EchoProbe
from galatune.controller.torch_hooks.random_state import RandomState
from galatune.errors import ProbeError

ROWS, SIZE = 96, 8


class Draws(nn.Module):
    """Draws from every generator."""

    def forward(self, x):
        return x + 0.1 * random.random() + 0.1 * np.random.rand() + 0.1 * torch.rand_like(x)


def data():
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(ROWS, 4, generator=generator)
    return TensorDataset(inputs, inputs[:, :3].argmax(1), torch.arange(ROWS))


def fresh(size=SIZE):
    return DataLoader(data(), size, shuffle=True, generator=torch.Generator().manual_seed(7))


def net_of(*, draws=True):
    random.seed(0)
    np.random.seed(0)
    net = classifier(norm=True, dropout=True)
    return nn.Sequential(net, Draws()) if draws else net


def train(net, optimizer, batches, *, epochs=1, accumulate=1):
    """An ordinary loop; returns the row numbers of each minibatch and its loss."""
    rows, losses = [], []
    for _ in range(epochs):
        optimizer.zero_grad()
        for count, (x, y, index) in enumerate(batches, start=1):
            loss = functional.cross_entropy(net(x), y)
            loss.backward()
            x.fill_(float("nan"))  # some loops normalize in place
            rows.append(index.tolist())
            losses.append(loss.item())
            if count % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
    return rows, losses


def test_epochs_keep_their_length_and_pairs_are_two_steps_on_one_minibatch():
    net = net_of()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, **OFTEN, probe="echo")
    rows, _ = train(net, optimizer, fresh(), epochs=5)
    assert len(rows) == controller.steps == 5 * ROWS // SIZE
    repeated = [step for step in range(1, len(rows)) if rows[step] == rows[step - 1]]
    assert [record.step for record in controller.history] == [step + 1 for step in repeated]
    assert repeated == [*range(1, 40, 2), 41, 50]  # a repeated minibatch is not repeated again
    assert controller.gradient_evaluations == controller.steps


def test_the_pair_is_that_of_a_second_evaluation_on_the_same_minibatch():
    def first_record(probe):
        net = net_of()
        optimizer = SGD(
            net.parameters(), lr=1e-3
        )  # Adam's metric differs, that of a closure is the coming one
        controller = attach(optimizer, probe=probe, alignment="same_minibatch", min_lr=1e-3, max_lr=1e-3)
        batches = iter(fresh())
        for step in range(2):
            if probe == "echo" or step == 0:
                (x, y, _), state = next(batches), RandomState.now()
            state.restore()

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = functional.cross_entropy(net(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)
        return controller.history[0]

    by_echo, by_closure = first_record("echo"), first_record("closure")
    assert by_echo.alignment == by_closure.alignment
    assert by_echo.lipschitz == by_closure.lipschitz


@pytest.mark.parametrize("accumulate", [1, 3])
def test_at_a_pinned_rate_training_is_that_on_the_same_minibatches_bit_for_bit(accumulate):
    def run(batches, epochs, **options):
        net = net_of()
        optimizer = AdamW(net.parameters(), lr=3e-3)
        _ = attach(optimizer, **options) if options else None
        rows, _ = train(net, optimizer, batches, epochs=epochs, accumulate=accumulate)
        return rows, weights(net)

    rows, under_control = run(fresh(), 5, probe="echo", min_lr=3e-3, max_lr=3e-3)
    steps = [rows[i : i + accumulate] for i in range(0, len(rows), accumulate)]
    repeats = [step > 0 and rows == steps[step - 1] for step, rows in enumerate(steps)]
    assert sum(repeats) > 8

    def replayed():
        """The same minibatches; those of a repeated step with the same random numbers."""
        inputs, targets, _ = data().tensors
        states = []
        for place, index in enumerate(rows):
            states.append(states[place - accumulate] if repeats[place // accumulate] else RandomState.now())
            states[place].restore()
            yield inputs[index].clone(), targets[index], torch.tensor(index)

    assert torch.equal(run(replayed(), 1)[1], under_control)


def test_training_cut_before_a_repeated_minibatch_continues_bit_for_bit():
    def begin():
        net = net_of()
        optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
        return net, optimizer, attach(optimizer, probe="echo")

    def cut_at(cut):
        net, optimizer, controller = begin()
        batches = iter(fresh())
        for step in range(9):
            if step == cut:
                file = io.BytesIO()
                torch.save([net.state_dict(), optimizer.state_dict()], file)
                file.seek(0)
                states, here = torch.load(file, weights_only=True), RandomState.now()
                net, optimizer, controller = begin()
                here.restore()
                net.load_state_dict(states[0])
                optimizer.load_state_dict(states[1])
            x, y, _ = next(batches)
            optimizer.zero_grad()
            functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        return weights(net), controller.learning_rate, controller.probes

    whole = cut_at(None)
    assert whole[2] == 4
    for cut in (1, 2, 5, 8):
        resumed = cut_at(cut)
        assert torch.equal(resumed[0], whole[0])
        assert resumed[1:] == whole[1:]


def test_minibatches_of_another_loader_are_left_alone():
    net = net_of()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="echo")
    validation = DataLoader(TensorDataset(torch.arange(6)), 2)
    batches, seen = fresh(size=32), []
    for _ in range(6):
        train(net, optimizer, batches)  # three steps: an epoch may end before a repeated minibatch
        seen.append([batch.tolist() for (batch,) in validation])
    assert seen == [[[0, 1], [2, 3], [4, 5]]] * 6
    assert controller.probes == 9


class Stream(IterableDataset):
    def __iter__(self):
        return iter(data())


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_iterable_data_sets_and_workers(workers):
    net = net_of(draws=False)
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="echo")
    rows, losses = train(net, optimizer, DataLoader(Stream(), SIZE, num_workers=workers), epochs=10)
    assert len(rows) == 10 * ROWS // SIZE
    assert controller.probes == 20 + 8
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_batches_from_elsewhere_go_through_the_probe():
    net = net_of(draws=False)
    optimizer, echo = SGD(net.parameters(), lr=0.1), EchoProbe()
    controller = attach(optimizer, **OFTEN, probe=echo)
    batches = [[part.clone() for part in batch] for batch in fresh() for _ in range(4)]
    rows, _ = train(net, optimizer, echo.over(batches))
    assert len(rows) == len(batches)
    assert controller.probes == 21


def test_a_source_may_have_an_equality_of_its_own():
    net = nn.Linear(4, 1)
    optimizer, echo = SGD(net.parameters(), lr=0.1), EchoProbe()
    controller = attach(optimizer, **OFTEN, probe=echo)
    for batch in echo.over(np.random.default_rng(0).random((20, SIZE, 4), dtype=np.float32)):
        optimizer.zero_grad()
        net(torch.from_numpy(batch)).square().mean().backward()
        optimizer.step()
    assert controller.probes == 10


@pytest.mark.parametrize("fused", [False, True])
def test_repeated_step_that_overflows_is_no_pair(fused):
    """What a GradScaler skips; the next step would be on another minibatch."""
    net = net_of(draws=False)
    optimizer = AdamW(net.parameters(), fused=fused)
    controller = attach(optimizer, probe="echo")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for place, (x, y, _) in enumerate(itertools.islice(fresh(), 8)):
        optimizer.zero_grad()
        weight = torch.inf if place == 3 else 1.0
        (weight * scaler.scale(functional.cross_entropy(net(x), y))).backward()
        scaler.step(optimizer)
        scaler.update()
    assert controller.steps == 7
    assert [record.step for record in controller.history] == [2, 6]


def test_accumulation_of_more_minibatches_than_were_repeated_is_no_pair():
    net = net_of(draws=False)
    optimizer = SGD(net.parameters(), lr=0.1)
    controller, batches = attach(optimizer, probe="echo"), iter(fresh())
    for accumulate in (1, 2, 2, 2):
        train(net, optimizer, list(itertools.islice(batches, accumulate)), accumulate=accumulate)
    assert [record.step for record in controller.history] == [4]


def test_auto_takes_echo_where_a_loss_cannot_be_differentiated_twice():
    net = nn.Sequential(net_of(draws=False), OnceOnly())
    optimizer = SGD(net.parameters(), lr=0.1)
    drawing = _BaseDataLoaderIter.__next__
    with controlled() as capture:
        _, losses = train(net, optimizer, fresh(), epochs=10)
        (controller,) = capture.controllers
        assert controller.probe == "echo"
        assert controller.probes > 20
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert _BaseDataLoaderIter.__next__ is drawing


def test_loop_without_a_data_loader_is_an_error_in_one_line():
    net = classifier()
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer, probe="echo")
    by_hand = [data()[i : i + SIZE] for i in range(0, ROWS, SIZE)]
    with pytest.raises(ProbeError, match=r"no torch DataLoader.*probe='auto'") as error:
        train(net, optimizer, by_hand)
    assert "\n" not in str(error.value)


def test_loop_that_draws_ahead_is_refused():
    net = net_of(draws=False)
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer, probe="echo")

    def ahead(batches):
        batches = iter(batches)
        held = next(batches)
        for batch in batches:
            yield held
            held = batch

    with pytest.raises(ProbeError, match="does not train on the minibatch"):
        train(net, optimizer, ahead(fresh()))


def test_loop_that_takes_turns_between_loaders_is_refused():
    net = net_of(draws=False)
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="echo")
    loaders = itertools.cycle([iter(fresh()), iter(fresh())])
    with pytest.raises(ProbeError, match=r"from another data set.*probe='auto'"):
        train(net, optimizer, map(next, loaders))
    assert controller.steps == 10


def test_frozen_rate_leaves_minibatches_alone():
    net = net_of()
    optimizer = SGD(net.parameters(), lr=0.1)
    controller = attach(optimizer, probe="echo")
    batches = fresh()
    train(net, optimizer, batches)
    controller.freeze()
    rows, _ = train(net, optimizer, batches)
    assert sorted(row for minibatch in rows for row in minibatch) == list(range(ROWS))


def test_threads_do_not_see_each_other():
    probes = []

    def work():
        net = classifier(norm=True)  # drawing nothing: threads share torch's generator
        optimizer = SGD(net.parameters(), lr=0.1)
        with controlled(probe="echo") as capture:
            train(net, optimizer, shared, epochs=2)
            probes.append(capture.controllers[0].probes)

    shared = fresh()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert probes == [11, 11]


def test_nothing_is_left_when_the_optimizer_is_gone():
    gc.collect()
    drawing = _BaseDataLoaderIter.__next__
    net = net_of()
    optimizer = SGD(net.parameters(), lr=0.1)
    _ = attach(optimizer, probe="echo")
    train(net, optimizer, fresh())
    del optimizer, net
    gc.collect()
    assert _BaseDataLoaderIter.__next__ is drawing
