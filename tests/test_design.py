"""Products of the design of a block: of any shape, precision, order and address."""

import numpy as np
import pytest
from scipy import sparse

from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DiagonalInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._rows import design as design_module
from sknatgrad._rows.design import Design
from sknatgrad._rows.matrices import take_rows
from sknatgrad._rows.memory import MemorySource


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_logits", [1, 2, 9])
@pytest.mark.parametrize("intercept", [False, True])
def test_products_with_dense_rows(order, dtype, n_logits, intercept):
    rng = np.random.default_rng(0)
    X = np.asarray(rng.normal(size=(40, 5)), dtype, order=order)
    theta = rng.normal(size=(n_logits, 5 + intercept)).astype(dtype)
    rows = rng.normal(size=(40, n_logits)).astype(dtype)
    whole = np.hstack([X, np.ones((40, 1), dtype)])[:, : 5 + intercept]
    close = {"rtol": 0, "atol": 1e-5 if dtype == np.float32 else 1e-13}
    logits = Design(X, intercept).logits(theta)
    np.testing.assert_allclose(logits, whole @ theta.T, **close)
    assert logits.dtype == dtype
    # sums over classes run along rows
    assert logits.flags.f_contiguous
    # a part of a Fortran array is not contiguous
    for part in (slice(None), slice(7, 23)):
        for of_rows in (rows[part], np.asfortranarray(rows[part])):
            product = Design(X[part], intercept).transposed_product(of_rows)
            np.testing.assert_allclose(product, rows[part].T @ whole[part], **close)


@pytest.mark.parametrize("stored_sparse", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("intercept", [False, True])
def test_gram_matrices_of_several_weights(stored_sparse, dtype, intercept, monkeypatch):
    monkeypatch.setattr(design_module, "ROWS_PER_PRODUCT", (16, 16))
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(40, 5)).astype(dtype), rng.exponential(size=(40, 3)).astype(dtype)
    whole = np.hstack([X, np.ones((40, 1), dtype)])[:, : 5 + intercept]
    lower = Design(sparse.csr_array(X) if stored_sparse else X, intercept).grams(weights)
    assert lower.dtype == dtype
    for of_weight, weight in zip(lower, weights.T, strict=True):
        expected = ((whole.T * weight) @ whole)[np.tril_indices(5 + intercept)]
        np.testing.assert_allclose(of_weight, expected, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("n_logits", [1, 3, 27])
def test_rows_at_any_address_give_the_same_bits(n_logits):
    """Parts of a message of Dask begin anywhere; numpy copies an array that is not aligned before each product."""
    rng = np.random.default_rng(0)
    X, y, theta = rng.normal(size=(500, 6)), rng.integers(0, 2, 500), rng.normal(size=(n_logits, 7))
    kernel = MeasureKernel(theta, TrueExpectation(), DiagonalInformation)
    sums = [MemorySource(X, y, np.ones(500), n_logits).total(kernel)]
    buffer = bytearray(X.nbytes + 8)
    for offset in range(1, 8):
        moved = np.ndarray(X.shape, X.dtype, buffer, offset)
        moved[:] = X
        assert take_rows(moved, 0, 500).flags.aligned
        sums.append(MemorySource(moved, y, np.ones(500), n_logits).total(kernel))
    for other in sums[1:]:
        np.testing.assert_array_equal(other.gradient, sums[0].gradient)
        np.testing.assert_array_equal(other.information.entries, sums[0].information.entries)
