"""Memory of a fit beyond X: blocks and matrices of the size of the parameters, no copy of the data."""

import tracemalloc
import warnings

import numpy as np
import pytest
from problems import MIB, random_text

from sknatgrad import NaturalGradientLogisticRegression, SeparationWarning
from sknatgrad._solver.cost_model import DIRECTION_BYTES


def peak_of_fit(X, y, **options):
    """Peak bytes beyond X and y; numpy reports its arrays, and the fit allocates little else."""
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
def test_conjugate_gradients_take_a_few_vectors_of_the_rows(order, limits):
    limits(direct_products=0.0)
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
def test_direct_solves_take_four_matrices(size, limits):
    limits(direct_products=np.inf)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * size, size - 1))
    y = (X[:, 0] + rng.logistic(size=len(X)) > 0).astype(int)
    assert peak_of_fit(X, y) < 64 * MIB + 4 * 8 * size**2


def test_sparse_data_are_neither_made_dense_nor_transposed():
    """20,000 x 30,000 with 20 entries per row: 4.6 MiB as stored, 4.5 GiB dense."""
    X, _ = random_text(20_000, 30_000, 20)
    y = np.arange(20_000) % 2
    stored = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    assert peak_of_fit(X, y) < 4 * stored + 20 * 8 * 30_001


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool])
@pytest.mark.parametrize("order", ["C", "F"])
def test_no_converted_copy_of_the_whole(dtype, order):
    rng = np.random.default_rng(0)
    X = np.asarray(rng.integers(0, 2, size=(200_000, 40)), dtype=dtype, order=order)
    y = rng.integers(0, 2, 200_000)
    tracemalloc.start()
    model = NaturalGradientLogisticRegression(random_state=0, max_iter=2000).fit(X, y)
    model.predict(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # weights, codes and labels of n rows, and blocks; X in float64 would be 64 MB
    assert peak < 24e6


def test_float64_is_not_copied_in_either_order():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200_000)
    for order in ("C", "F"):
        X = np.asarray(rng.normal(size=(200_000, 40)), order=order)
        tracemalloc.start()
        NaturalGradientLogisticRegression(random_state=0, max_iter=2000).fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 24e6, order


def test_sparse_is_never_densified():
    X, _ = random_text(20_000, 3_000, 3)
    y = np.random.default_rng(0).integers(0, 2, 20_000)
    tracemalloc.start()
    NaturalGradientLogisticRegression(fisher="diagonal", random_state=0, max_iter=200).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 3_000 * 8 / 40


@pytest.mark.parametrize("fisher", ["true", "empirical", "monte_carlo", "diagonal"])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_wide_text_fits_in_memory_proportional_to_its_entries(fisher, C):
    """2,000 x 140,000: the dense metric would take 157 GB."""
    X, word_weight = random_text(2_000, 140_000, 50)
    noise = np.random.default_rng(1).normal(size=2_000)
    y = (X @ word_weight + 0.3 * noise > 0).astype(int)
    stored = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    vector = 8 * 140_001
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeparationWarning)
        model = NaturalGradientLogisticRegression(fisher=fisher, C=C, random_state=0).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.converged_ or np.isinf(C)
    assert model.score(X, y) > 0.95
    assert peak < 4 * stored + 20 * vector + 2 * DIRECTION_BYTES
