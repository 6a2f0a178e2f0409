"""Bins of numbers and vectors of levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from galatune.tabular.embeddings import BINS, LevelEmbedding, PiecewiseLinear


def embed(numbers: np.ndarray, weight: np.ndarray | None = None) -> PiecewiseLinear:
    return PiecewiseLinear.fit(numbers, np.ones(len(numbers)) if weight is None else weight)


def test_bins_hold_about_as_many_rows_each() -> None:
    numbers = np.random.default_rng(0).exponential(size=(4000, 1))
    parts = embed(numbers)(torch.as_tensor(numbers, dtype=torch.float32))
    assert parts.shape == (4000, BINS)
    begun = (parts > 0).float().mean(dim=0)
    np.testing.assert_allclose(begun, 1 - np.arange(BINS) / BINS, atol=0.01)


def test_a_linear_function_of_the_parts_bends_at_the_ends_of_bins() -> None:
    numbers = np.arange(17.0)[:, None]
    parts = embed(numbers)(torch.tensor([[-5.0], [0.0], [3.25], [16.0], [99.0]]))
    np.testing.assert_allclose(parts.sum(dim=1), [0, 0, 3.25, 16, 16])


@pytest.mark.parametrize("values", [[0.0] * 60, [0.0, 1.0] * 30])
def test_columns_of_one_or_two_values_have_no_bins(values: list[float]) -> None:
    spread = np.random.default_rng(0).normal(size=60)
    embedding = embed(np.column_stack([values, spread]))
    assert set(embedding.column.tolist()) == {1}
    assert len(embed(np.array(values)[:, None])) == 0


def test_a_row_of_weight_two_is_two_rows() -> None:
    rng = np.random.default_rng(0)
    numbers, weight = rng.normal(size=(50, 2)), rng.integers(1, 4, size=50)
    weighted, repeated = embed(numbers, weight.astype(float)), embed(np.repeat(numbers, weight, axis=0))
    assert torch.equal(weighted.low, repeated.low)
    assert torch.equal(weighted.width, repeated.width)


def test_the_same_code_of_two_columns_has_two_vectors() -> None:
    embedding = LevelEmbedding((3, 12), torch.Generator().manual_seed(0))
    first, second = embedding(torch.tensor([[2, 2]])).view(2, -1)
    assert not torch.equal(first, second)
    assert torch.equal(embedding(torch.tensor([[0, 2]])).view(2, -1)[1], second)


def test_every_code_has_a_vector_that_is_trained() -> None:
    embedding = LevelEmbedding((2, 3), torch.Generator().manual_seed(0))
    codes = torch.tensor([[0, 0], [1, 1], [0, 2]])
    embedding(codes).sum().backward()
    assert embedding.vectors is not None
    assert embedding.vectors.grad is not None
    assert embedding.vectors.grad[:, 0].tolist() == [2, 1, 1, 1, 1]


def test_without_codes_there_is_nothing_to_embed() -> None:
    embedding = LevelEmbedding((), torch.Generator().manual_seed(0))
    assert embedding(torch.zeros(4, 0, dtype=torch.int64)).shape == (4, 0)
    assert list(embedding.parameters()) == []
