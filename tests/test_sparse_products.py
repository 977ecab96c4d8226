"""Sparse products equal dense ones, with scipy's loops and without; blocks of a sparse X are views of it."""

import numpy as np
import pytest
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._rows import design as design_module
from sknatgrad._rows import memory, sparse_products
from sknatgrad._rows.design import Design
from sknatgrad._rows.memory import MemorySource


@pytest.fixture(params=[True, False], ids=["private loops", "public products"])
def loops(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(sparse_products, "_sparsetools", None)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_products_of_a_sparse_design_equal_those_of_a_dense_one(q, intercept, dtype, tol):
    rng = np.random.default_rng(0)
    X = sparse.random(40, 30, density=0.2, format="csr", random_state=0, dtype=dtype)
    # an empty row and an empty column
    X = sparse.csr_array(sparse.block_diag([X, sparse.csr_array((1, 1), dtype=dtype)], format="csr"))
    design, dense = Design(X, intercept), Design(X.toarray(), intercept)
    theta = rng.normal(size=(q, design.n_columns)).astype(dtype)
    rows = np.asfortranarray(rng.normal(size=(41, q)).astype(dtype))
    for found, expected in (
        (design.logits(theta), dense.logits(theta)),
        (design.transposed_product(rows), dense.transposed_product(rows)),
        (design.squared_transposed_product(rows), dense.squared_transposed_product(rows)),
        # every second column of a wider array
        (design.logits(np.repeat(theta, 2, axis=1)[:, ::2]), dense.logits(theta)),
    ):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=tol, atol=tol)


def test_blocks_are_views_of_x():
    """The constructor of scipy copies views of less than half of an array."""
    X = sparse.random(2_000, 50, density=0.2, format="csr", random_state=0)
    source = MemorySource(X, np.zeros(2_000, dtype=np.intp), np.ones(2_000), limits=Limits(block_bytes=2**16))
    assert len(source._blocks) >= 4
    for block in source._blocks:
        assert np.shares_memory(block.X.data, X.data)
        assert np.shares_memory(block.X.indices, X.indices)


@pytest.mark.parametrize(
    ("shape", "density", "dense"),
    [((1000, 5), 0.3, True), ((300, 100), 0.05, True), ((300, 100), 0.01, False), ((3000, 50), 0.3, False)],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_blocks_of_few_values_are_dense(shape, density, dense, dtype, dense_values, monkeypatch):
    monkeypatch.setattr(memory, "MAX_SMALL_VALUES", dense_values)
    X = sparse.random(*shape, density=density, format="csr", random_state=0, dtype=dtype)
    limits = Limits(block_bytes=2**13)
    source = MemorySource(X, np.zeros(shape[0], dtype=np.intp), np.ones(shape[0]), limits=limits)
    for each in (source, source.as_float32(), source.picked(np.arange(shape[0]))):
        parts = [each._converted(block).X for block in each._blocks]
        assert {isinstance(part, np.ndarray) for part in parts} == {dense}
        values = np.vstack([part if dense else part.toarray() for part in parts])
        np.testing.assert_array_equal(values, X.toarray().astype(each.dtype))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_small_sparse_rows_are_fitted_as_dense_ones(n_classes, dense_values, monkeypatch):
    monkeypatch.setattr(memory, "MAX_SMALL_VALUES", dense_values)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 6)) * (rng.random((200, 6)) < 0.3)
    y = (X @ rng.standard_normal((6, n_classes)) + rng.gumbel(size=(200, n_classes))).argmax(axis=1)
    dense, of_sparse = (NaturalGradientLogisticRegression().fit(rows, y) for rows in (X, sparse.csr_array(X)))
    np.testing.assert_array_equal(of_sparse.coef_, dense.coef_)


@pytest.mark.parametrize(("shape", "density", "small"), [((300, 5), 0.3, True), ((400, 300), 0.02, False)])
@pytest.mark.parametrize("intercept", [True, False])
def test_gram_of_few_values_by_a_dense_product(shape, density, small, intercept):
    rng = np.random.default_rng(0)
    X = sparse.csr_array(sparse.random(*shape, density=density, format="csr", random_state=0))
    weight = rng.uniform(size=shape[0])
    weight[::7] = 0.0
    design = Design(X, intercept)
    assert design._is_small(weight) == small
    expected = Design(X.toarray(), intercept).gram(weight)
    np.testing.assert_allclose(design.gram(weight), expected, rtol=1e-12, atol=1e-14)


STORED = {
    "by rows": np.ascontiguousarray,
    "by columns": np.asfortranarray,
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "sparse": sparse.csr_array,
}


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("kept", [True, False])
def test_products_of_squares_do_not_depend_on_how_the_values_are_stored(kind, kept, monkeypatch):
    """Nor on whether the memory of the squares is used again."""
    if not kept:
        monkeypatch.setattr(design_module, "MAX_KEPT_BYTES", 0)
    rng = np.random.default_rng(0)
    X, rows, theta = rng.normal(size=(50, 7)), rng.normal(size=(50, 2)), rng.normal(size=(3, 8))
    both, block = np.column_stack([X**2, np.ones(50)]), Design(STORED[kind](X), intercept=True)
    for _ in range(2):
        np.testing.assert_allclose(block.squared_transposed_product(rows), rows.T @ both, rtol=1e-12)
        np.testing.assert_allclose(block.squared_logits(theta), both @ theta.T, rtol=1e-12)
    np.testing.assert_array_equal(block.X.toarray() if sparse.issparse(block.X) else block.X, X)
