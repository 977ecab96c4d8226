"""Products of the design matrix of a block of rows, whose column of ones is implicit: it is never materialised.

They have the precision of the factors that X is multiplied with, float64 or float32.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._rows.matrices import csr, is_sparse
from sknatgrad._rows.sparse_products import add_product, add_transposed_product

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike

    from sknatgrad._definitions import Array, Codes, Matrix
    from sknatgrad._rows.source import RowBlock

# Float32 multiplications of a dense product that take as long as one of a sparse product. The Gram matrix of a sparse
# block is therefore computed as a dense product if more than one value in √200 = 14 is stored. For 4,000 x 400 with one
# value in 14 stored: dense 10.4 ms, sparse 13.0; with one in 40: dense 14.6 ms, sparse 8.5.
DENSE_PER_SPARSE_FLOP = 200
# The same number for the functions of scipy that a sparse product calls, 0.2 ms; and values of a block of which a dense
# copy is made at most, 4 MiB.
SPARSE_CALLS = 2**21
MAX_DENSE_VALUES = 2**19
# Bytes of the pairs of columns that are expanded at a time, d (d + 1) / 2 numbers a row, and rows at least and at most.
# F of 100 points of 10⁵ x 50: 850 to 1,000 ms with 128 rows, 640 to 840 with 256, 640 with 512; of 50 points of
# 48,842 x 108: 930, 900 and 740. 20,000 x 10, 40 classes: 5 ms with 256 to 4,096, 8 with 64.
PAIR_BYTES = 2**24
ROWS_PER_PRODUCT = 64, 1024

# Bytes of squares of a block that are kept for the next, after a fit too: four blocks of the usual size.
MAX_KEPT_BYTES = 2**24


class Design(NamedTuple):
    """The design matrix of a block, ``(m, d)``: X, followed by a column of ones if the model has an intercept."""

    X: Matrix  # (m, p)
    intercept: bool

    @classmethod
    def of(cls, X: Matrix, n_columns: int) -> Design:
        """Return the design of d columns: d > p means an intercept."""
        return cls(X, n_columns > X.shape[1])

    @classmethod
    def of_block(cls, block: RowBlock, n_columns: int) -> Design:
        """Return the design of a block's rows."""
        return cls(block.X, n_columns > block.X.shape[1])

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
            # the usual start of a descent
            product = np.zeros((self.X.shape[0], theta.shape[0]), dtype=theta.dtype, order="F")
        elif not isinstance(self.X, np.ndarray):
            product = np.zeros((self.X.shape[0], theta.shape[0]), dtype=np.result_type(self.X.dtype, theta))
            add_product(self.X, theta[:, :n_features].T, product)
        elif theta.dtype == np.float32 and len(theta) > 1 and self.X.flags.c_contiguous:
            # in float32 the order of this product takes BLAS less time, with the copy to the order of classes
            product = np.asfortranarray(gil_free_matmul(self.X, theta[:, :n_features].T))
        else:
            product = gil_free_matmul(theta[:, :n_features], self.X.T).T
        if self.intercept:
            product += theta[:, n_features]
        return product

    def transposed_product(self, rows: Array) -> Array:
        """Return rowsᵀ times the design, ``(q, d)``, for rows of shape ``(m, q)``."""
        n_features = self.X.shape[1]
        if not isinstance(self.X, np.ndarray):
            sums = np.zeros((n_features, rows.shape[1]), dtype=np.result_type(self.X.dtype, rows))
            add_transposed_product(self.X, rows, sums)
            sums = sums.T
        else:
            # the order that takes BLAS less time
            sums = gil_free_matmul(self.X.T, rows).T if rows.shape[1] == 1 else gil_free_matmul(rows.T, self.X)
        product = np.empty((rows.shape[1], n_features + self.intercept))
        product[:, :n_features] = sums
        if self.intercept:
            product[:, n_features] = np.add.reduce(rows, axis=0)
        return product

    def squared(self) -> Design:
        """Return the design of the squared entries."""
        X = self.X
        squares = csr(X.data**2, X.indices, X.indptr, X.shape[1]) if is_sparse(X) else X**2
        return Design(squares, self.intercept)

    def _squared_for_now(self) -> Design:
        """Return the same, in memory that the next call in the same thread overwrites if X is dense."""
        X = self.X
        if is_sparse(X) or X.nbytes > MAX_KEPT_BYTES:
            return self.squared()
        # in the order of X
        in_rows = X.flags.c_contiguous or not X.flags.f_contiguous
        squares = _scratch(X.shape, X.dtype) if in_rows else _scratch(X.shape[::-1], X.dtype).T
        return Design(np.multiply(X, X, out=squares), self.intercept)

    def squared_transposed_product(self, rows: Array) -> Array:
        """Return rowsᵀ times the squared entries of the design, ``(q, d)``, for rows of shape ``(m, q)``."""
        return self._squared_for_now().transposed_product(rows)

    def squared_logits(self, theta: Array) -> Array:
        """Return the squared entries of the design times θᵀ, ``(m, q)``."""
        return self._squared_for_now().logits(theta)

    def gram(self, weight: Array) -> Array:
        """Return Σ weight_i x_i x_iᵀ, ``(d, d)``, symmetric to the last bit, for weights of 0 or more."""
        if not isinstance(self.X, np.ndarray):
            if self._is_small(weight):
                return Design(self.X.toarray(), self.intercept).gram(weight)
            return self._sparse_gram(weight)
        rooted = self.scaled_rows(np.sqrt(weight)[:, None], _scratch)
        # numpy recognises the product with the transpose and computes half of it
        gram: Array = gil_free_matmul(rooted.T, rooted)
        return gram

    def grams(self, weights: Array) -> Array:
        """Return Σ w_ik x_i x_iᵀ of K weights of each row, ``(m, K)``: the lower triangles, ``(K, d (d + 1) / 2)``.

        They are stored row by row. The pairs of columns are computed once, and one product of matrices gives all sums.
        """
        n_columns = self.n_columns
        lower = np.zeros((weights.shape[1], n_columns * (n_columns + 1) // 2), dtype=weights.dtype)
        at_once = int(np.clip(PAIR_BYTES // (8 * lower.shape[1]), *ROWS_PER_PRODUCT))
        pairs = np.empty((min(at_once, len(weights)), lower.shape[1]), dtype=weights.dtype)
        for start in range(0, len(weights), at_once):
            part = slice(start, start + at_once)
            values, of_part, first = self.rows(part).dense(weights.dtype), weights[part], 0
            for j in range(n_columns):
                np.multiply(values[:, : j + 1], values[:, j : j + 1], out=pairs[: len(values), first : first + j + 1])
                first += j + 1
            lower += gil_free_matmul(of_part.T, pairs[: len(values)])
        return lower

    def scaled_rows(self, factors: Array, empty: Callable[[tuple[int, ...], DTypeLike], Array] = np.empty) -> Array:
        """Return each row of the design times each of its factors, ``(m, q d)``, for factors of shape ``(m, q)``."""
        n_rows, n_logits = factors.shape
        n_features = self.X.shape[1]
        n_columns = n_features + self.intercept
        product = empty((n_rows, n_logits, n_columns), factors.dtype)
        X = self.X if isinstance(self.X, np.ndarray) else self.X.toarray()
        np.multiply(factors[:, :, None], X[:, None, :], out=product[:, :, :n_features], casting="same_kind")
        if self.intercept:
            product[:, :, n_features] = factors
        return product.reshape(n_rows, n_logits * n_columns)

    def columns(self, chosen: Sequence[int]) -> Array:
        """Return some columns of the design as a dense matrix in float64, ``(m, k)``."""
        n_features = self.X.shape[1]
        of_X = [j for j in chosen if j < n_features]
        values = self.X[:, of_X].toarray() if is_sparse(self.X) else self.X[:, of_X]
        columns = np.ones((self.X.shape[0], len(chosen)))
        columns[:, [index for index, j in enumerate(chosen) if j < n_features]] = values
        return columns

    def dense(self, dtype: DTypeLike = np.float64) -> Array:
        """Return the design as a dense matrix, ``(m, d)``, in a floating type."""
        return self.scaled_rows(np.ones((self.X.shape[0], 1), dtype=dtype))

    def _is_small(self, weight: Array) -> bool:
        """Say whether a dense product gives the Gram matrix of a sparse X in float64 faster, and in little memory."""
        n_rows, n_features = self.X.shape
        sparse_product = SPARSE_CALLS + 0.5 * DENSE_PER_SPARSE_FLOP * self.X.nnz**2 / max(n_rows, 1)
        values = n_rows * n_features
        return weight.dtype == np.float64 and values <= MAX_DENSE_VALUES and values * n_features < sparse_product

    def _sparse_gram(self, weight: Array) -> Array:
        n_rows, n_features = self.X.shape
        gram = np.empty((self.n_columns, self.n_columns), dtype=weight.dtype)
        if weight.dtype == np.float32 and DENSE_PER_SPARSE_FLOP * self.X.nnz**2 > (n_rows * n_features) ** 2:
            root = np.sqrt(weight)
            rooted = self._weighted(root).toarray()
            gram[:n_features, :n_features] = gil_free_matmul(rooted.T, rooted)
            with_ones = root @ rooted
        else:
            weighted = self._weighted(weight)
            gram[:n_features, :n_features] = (self.X.T @ weighted).toarray()
            with_ones = np.asarray(weighted.sum(axis=0)).ravel()
        if self.intercept:
            gram[n_features, :n_features] = gram[:n_features, n_features] = with_ones
            gram[n_features, n_features] = weight.sum()
        return 0.5 * (gram + gram.T)

    def _weighted(self, weight: Array) -> Matrix:
        """Return the sparse X with each row times its weight, in the precision of the weights."""
        X = self.X
        data = X.data.astype(weight.dtype, copy=False) * np.repeat(weight, np.diff(X.indptr))
        return csr(data, X.indices, X.indptr, X.shape[1])


_THREAD = threading.local()


def _scratch(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return memory that the next call in the same thread overwrites.

    A process whose allocator returns freed memory at once (see `allocator`) would otherwise obtain memory of this size
    from the system in each call, page by page.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = getattr(_THREAD, "buffer", None)
    if buffer is None or buffer.size < size:
        buffer = _THREAD.buffer = np.empty(size, dtype=np.uint8)
    scratch: Array = buffer[:size].view(dtype).reshape(shape)
    return scratch


def gil_free_matmul(left: Array, right: Array) -> Array:
    """Return the product of two dense matrices, and let other Python threads run meanwhile.

    matmul of numpy holds the interpreter's lock if the result has at most 500 numbers, however long it takes. dot
    always releases the lock, but copies arrays that are not contiguous.
    """
    product: Array = left.dot(right) if left.flags.forc and right.flags.forc else left @ right
    return product
