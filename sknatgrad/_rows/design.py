"""The products of a block of rows with its implicit column of ones, which is never materialised.

In the precision of what X is multiplied with: rounded factors, rounded products.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from sknatgrad._rows.matrices import is_sparse

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._rows.source import RowBlock
    from sknatgrad._typing import Array, Codes, Matrix


# in float32, a dense product does so many multiplications in the time of one of a sparse product
FILLED = 200


class Design(NamedTuple):
    """The block's design matrix ``(m, d)``: X, then a column of ones where there is an intercept."""

    X: Matrix  # (m, p)
    intercept: bool
    transposed: Matrix = None  # (p, m), if there is a view at hand

    @classmethod
    def of(cls, X: Matrix, n_columns: int) -> Design:
        """Return the design of d columns: d > p means an intercept."""
        return cls(X, n_columns > X.shape[1])

    @classmethod
    def of_block(cls, block: RowBlock, n_columns: int) -> Design:
        """Return the design of a block's rows."""
        return cls(block.X, n_columns > block.X.shape[1], block.transposed)

    @property
    def n_columns(self) -> int:
        """Number of columns d."""
        return int(self.X.shape[1]) + self.intercept

    def rows(self, part: slice | Codes) -> Design:
        """Return the design of some of the rows."""
        return Design(self.X[part], self.intercept)

    def logits(self, theta: Array) -> Array:
        """Return the design times θᵀ, ``(m, q)``, stored class by class: sums over classes then run along rows."""
        n_features = self.X.shape[1]
        if not theta.any():
            # where every descent starts
            product = np.zeros((self.X.shape[0], theta.shape[0]), dtype=theta.dtype, order="F")
        elif is_sparse(self.X):
            product = _sparse_product(self.X, theta[:, :n_features].T)
        else:
            product = gil_free_matmul(theta[:, :n_features], self.X.T).T
        if self.intercept:
            product += theta[:, n_features]
        return product

    def transposed_product(self, rows: Array) -> Array:
        """Return rowsᵀ times the design, ``(q, d)``, for rows of shape ``(m, q)``."""
        pulled = np.empty((rows.shape[1], self.n_columns))
        n_features = self.X.shape[1]
        # this way round BLAS is a third faster than for rowsᵀ X
        turned = self.X.T if self.transposed is None else self.transposed
        pulled[:, :n_features] = (
            _sparse_product(turned, rows) if is_sparse(self.X) else gil_free_matmul(turned, rows)
        ).T
        if self.intercept:
            pulled[:, n_features] = rows.sum(axis=0)
        return pulled

    def squared(self) -> Design:
        """Return the design of the squared entries."""
        return Design(self.X.power(2) if is_sparse(self.X) else self.X**2, self.intercept)

    def squared_transposed_product(self, rows: Array) -> Array:
        """Return rowsᵀ times the squared entries of the design, ``(q, d)``, for rows of shape ``(m, q)``."""
        return self.squared().transposed_product(rows)

    def gram(self, weight: Array) -> Array:
        """Return Σ weight_i x_i x_iᵀ, ``(d, d)``, symmetric to the last bit, for weights of 0 or more."""
        if is_sparse(self.X):
            return self._sparse_gram(weight)
        rooted = self.times(np.sqrt(weight)[:, None], _scratch)
        # numpy sees the transpose and does half the work
        gram: Array = gil_free_matmul(rooted.T, rooted)
        return gram

    def times(self, factors: Array, empty: Callable[[tuple[int, ...], Any], Array] = np.empty) -> Array:
        """Return each row's design times each of its factors, ``(m, q d)``, for factors of shape ``(m, q)``."""
        n_rows, n_logits = factors.shape
        n_features = self.X.shape[1]
        product = empty((n_rows, n_logits, self.n_columns), factors.dtype)
        X = self.X.toarray() if is_sparse(self.X) else self.X
        np.multiply(factors[:, :, None], X[:, None, :], out=product[:, :, :n_features], casting="same_kind")
        if self.intercept:
            product[:, :, n_features] = factors
        return product.reshape(n_rows, n_logits * self.n_columns)

    def dense(self, dtype: Any = np.float64) -> Array:
        """Return the design as a dense matrix, ``(m, d)``, in a floating type."""
        return self.times(np.ones((self.X.shape[0], 1), dtype=dtype))

    def _sparse_gram(self, weight: Array) -> Array:
        n_rows, n_features = self.X.shape
        root = np.sqrt(weight)
        gram = np.empty((self.n_columns, self.n_columns), dtype=weight.dtype)
        if weight.dtype == np.float32 and FILLED * self.X.nnz**2 > (n_rows * n_features) ** 2:
            filled = self._weighted(root).toarray()
            gram[:n_features, :n_features] = gil_free_matmul(filled.T, filled)
            by_one = root @ filled
        else:
            weighted = self._weighted(weight)
            gram[:n_features, :n_features] = (self.X.T @ weighted).toarray()
            by_one = np.asarray(weighted.sum(axis=0)).ravel()
        if self.intercept:
            gram[n_features, :n_features] = gram[:n_features, n_features] = by_one
            gram[n_features, n_features] = weight.sum()
        return 0.5 * (gram + gram.T)

    def _weighted(self, weight: Array) -> Any:
        """Return the sparse X with each row times its weight, in the weight's precision."""
        X = self.X
        data = X.data.astype(weight.dtype, copy=False) * np.repeat(weight, np.diff(X.indptr))
        return sparse.csr_array((data, X.indices, X.indptr), shape=X.shape)


_OWN = threading.local()


def _scratch(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return memory that the next call of the same thread uses again.

    Memory of this size comes from the system each time, page by page, where the process is told to give it back.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = getattr(_OWN, "buffer", None)
    if buffer is None or buffer.size < size:
        buffer = _OWN.buffer = np.empty(size, dtype=np.uint8)
    scratch: Array = buffer[:size].view(dtype).reshape(shape)
    return scratch


def gil_free_matmul(left: Array, right: Array) -> Array:
    """Return the product of two dense matrices, without keeping other threads from their work meanwhile.

    numpy's matmul keeps the interpreter's lock where the result has at most 500 numbers, however long that takes. Its
    dot never does, but copies what is not contiguous.
    """
    product: Array = np.dot(left, right) if left.flags.forc and right.flags.forc else left @ right
    return product


def _sparse_product(X: Matrix, right: Array) -> Array:
    if right.shape[1] == 1:
        # a vector has a loop of its own, twice as fast
        product: Array = (X @ right[:, 0])[:, None]
        return product
    # stored row by row: it would be copied otherwise
    return np.asarray(X @ np.ascontiguousarray(right))
