"""Handwritten digits in many guises: plain, noisy, deep, in large batches, fine-tuned."""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor, nn

from galatune.bench.controller.tasks.task import Data, Order, Task, Training, mlp, supervised
from galatune.demo.objective import load, make_net

__all__ = ["IMAGES"]

STEPS = 600
WRONG_LABELS = 0.3
TAIL = 2.5
"""Degrees of freedom of the gradient noise: finite variance, infinite third moment."""


@cache
def _images() -> Data:
    return Data(*load())


@cache
def _rows() -> Data:
    x, y, x_valid, y_valid = load()
    return Data(x.flatten(1), y, x_valid.flatten(1), y_valid)


def _convolutional(dtype: torch.dtype) -> Training:
    return supervised(make_net(width=16, dropout=0.1).to(dtype), _images().to(dtype), batch_size=64)


def _perceptron(
    dtype: torch.dtype,
    *,
    sizes: tuple[int, ...] = (64, 64, 10),
    dropout: float = 0.0,
    batch_size: int = 64,
    order: Order = "shuffled",
) -> Training:
    net = mlp(sizes, dropout=dropout).to(dtype)
    return supervised(net, _rows().to(dtype), batch_size=batch_size, order=order)


def _deep_tanh(dtype: torch.dtype) -> Training:
    net = mlp((64, 64, 64, 64, 64, 64, 10), nn.Tanh).to(dtype)
    return supervised(net, _rows().to(dtype), batch_size=64)


def _wrong_labels(dtype: torch.dtype) -> Training:
    data = _rows().to(dtype)
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(len(data.y), generator=generator) < WRONG_LABELS
    labels = torch.where(wrong, torch.randint(10, data.y.shape, generator=generator), data.y)
    noisy = Data(data.x, labels, data.x_valid, data.y_valid)
    return supervised(mlp((64, 64, 10)).to(dtype), noisy, batch_size=64)


def _heavy_tails(dtype: torch.dtype) -> Training:
    """A linear term whose coefficients are Student's t: the same noise at every point of the step."""
    student = torch.distributions.StudentT(torch.tensor(TAIL, dtype=dtype))

    def noise(net: nn.Module) -> Tensor:
        terms = [(student.sample(p.shape) * p).sum() for p in net.parameters()]
        return 1e-3 * torch.stack(terms).sum()

    return supervised(mlp((64, 64, 10)).to(dtype), _rows().to(dtype), batch_size=64, noise=noise)


def _unscaled(dtype: torch.dtype) -> Training:
    """Pixels from 0 to 16 as they come, and one column a thousand times larger."""
    data = _rows().to(dtype)
    factor = torch.full((64,), 16.0, dtype=dtype)
    factor[20] = 16_000.0
    scaled = Data(data.x * factor, data.y, data.x_valid * factor, data.y_valid)
    return supervised(mlp((64, 64, 10)).to(dtype), scaled, batch_size=64)


def _fine_tune(dtype: torch.dtype) -> Training:
    """The convolutional net pretrained on the digits 0 to 4, its first layers frozen, on 5 to 9."""
    net = make_net(width=16, dropout=0.0).to(dtype)
    net.load_state_dict(_pretrained(dtype))
    for parameter in net[:4].parameters():  # type: ignore[index]
        parameter.requires_grad_(False)
    return supervised(net, _digits(_images().to(dtype), 5, 10), batch_size=64)


@cache
def _pretrained(dtype: torch.dtype) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        training = supervised(
            make_net(width=16, dropout=0.0).to(dtype), _digits(_images().to(dtype), 0, 5), batch_size=64
        )
        optimizer = torch.optim.Adam(training.net.parameters(), lr=3e-3)
        for _, batch in zip(range(200), training.batches, strict=False):
            optimizer.zero_grad()
            training.loss(training.net, batch).backward()
            optimizer.step()
    return training.net.state_dict()


def _digits(data: Data, first: int, last: int) -> Data:
    seen, held = ((y >= first) & (y < last) for y in (data.y, data.y_valid))
    return Data(data.x[seen], data.y[seen], data.x_valid[held], data.y_valid[held])


IMAGES = (
    Task("digits-cnn", 320, _convolutional),
    Task("digits-mlp", STEPS, _perceptron),
    Task("digits-dropout", STEPS, partial(_perceptron, sizes=(64, 256, 256, 10), dropout=0.5)),
    Task("digits-label-noise", STEPS, _wrong_labels),
    Task("digits-heavy-tails", STEPS, _heavy_tails),
    Task("digits-deep-tanh", STEPS, _deep_tanh),
    Task("digits-batch-16", STEPS, partial(_perceptron, batch_size=16)),
    Task("digits-batch-1024", STEPS, partial(_perceptron, batch_size=1024)),
    Task("digits-sorted", STEPS, partial(_perceptron, order="sorted")),
    Task("digits-cyclic", STEPS, partial(_perceptron, order="cyclic")),
    Task("digits-unscaled", STEPS, _unscaled),
    Task("digits-fine-tune", 300, _fine_tune),
)
