"""What a fit takes beyond X: blocks and matrices of the size of the parameters, never a copy of the data."""

import tracemalloc

import numpy as np
import pytest
from problems import random_text

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._solver import plan as _strategy

MIB = 2**20


def peak_of_fit(X, y, **options):
    """Bytes beyond X and y at the worst moment; numpy reports its arrays, and the fit makes little else."""
    model = NaturalGradientLogisticRegression(**options)
    tracemalloc.start()
    try:
        model.fit(X, y)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def tall(dtype, order, n_rows=400_000, n_features=40):
    rng = np.random.default_rng(0)
    X = np.asarray(rng.integers(0, 2, size=(n_rows, n_features), dtype=np.uint8), dtype=dtype, order=order)
    y = (X[:, :5].sum(axis=1) + 2 * rng.logistic(size=n_rows) > 2.5).astype(np.int64)
    return X, y


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.bool_, np.int64])
def test_dense_data_of_any_type_and_order_are_never_copied_as_a_whole(dtype, order):
    """As float64 this table takes 122 MiB, and a vector of its rows 3 MiB."""
    X, y = tall(dtype, order)
    assert peak_of_fit(X, y) < 64 * MIB + 4 * 8 * 41**2


@pytest.mark.parametrize("order", ["C", "F"])
def test_conjugate_gradients_take_a_few_vectors_of_the_rows(order, monkeypatch):
    monkeypatch.setattr(_strategy, "DIRECT_PRICE", 0.0)
    X, y = tall(np.float64, order)
    assert peak_of_fit(X, y) < 64 * MIB + 16 * 8 * len(y)


@pytest.mark.parametrize("fisher", ["true", "empirical", "diagonal", "kronecker"])
def test_several_classes(fisher):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60_000, 60))
    y = (X[:, :8] + 2 * rng.gumbel(size=(60_000, 8))).argmax(axis=1)
    size = 8 * 61
    allowed = 64 * MIB + 4 * 8 * size**2 + 16 * 8 * 8 * len(y)
    assert peak_of_fit(X, y, fisher=fisher, max_iter=200) < allowed


@pytest.mark.parametrize("size", [300, 1500])
def test_direct_solves_take_four_matrices(size, monkeypatch):
    monkeypatch.setattr(_strategy, "DIRECT_PRICE", np.inf)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * size, size - 1))
    y = (X[:, 0] + rng.logistic(size=len(X)) > 0).astype(int)
    assert peak_of_fit(X, y) < 64 * MIB + 4 * 8 * size**2


def test_sparse_data_are_neither_made_dense_nor_transposed():
    """20,000 x 30,000 with 20 entries a row: 4.6 MiB as stored, 4.5 GiB dense."""
    X, _ = random_text(20_000, 30_000, 20)
    y = np.arange(20_000) % 2
    stored = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    assert peak_of_fit(X, y) < 4 * stored + 20 * 8 * 30_001
