"""Operations on rows of dense and sparse matrices alike: slices, copies, stacks and conversions of type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from sknatgrad._definitions import Array, Bits, Codes, Matrix


def is_sparse(X: Matrix) -> bool:
    """Say whether X is a scipy sparse matrix or array."""
    # a pass asks this of the same array several times, and scipy takes 0.6 us to answer
    return not isinstance(X, np.ndarray) and bool(sparse.issparse(X))


def is_csr(X: Matrix) -> bool:
    """Say whether X is a sparse matrix or array by rows."""
    return is_sparse(X) and X.format == "csr"


def as_csr(X: Matrix) -> Matrix:
    """Return X as a sparse array by rows."""
    return sparse.csr_array(X)


def csr(data: Array | Bits, indices: Codes, indptr: Codes, n_columns: int) -> Matrix:
    """Return the sparse array that has these arrays, by rows.

    They are assigned, because the constructor of scipy copies a view of less than half of an array: the blocks of X
    together would be a copy of X.
    """
    X = sparse.csr_array((len(indptr) - 1, n_columns), dtype=data.dtype)
    X.data, X.indices, X.indptr = data, indices, indptr
    return X


def as_dense(X: Matrix) -> Array:
    """Return X as a dense array; X itself if it is one."""
    return np.asarray(X.toarray() if is_sparse(X) else X)


def stored_bytes_per_row(X: Matrix) -> float:
    """Return the mean size of a row with its values in float64, bytes."""
    n_rows, n_features = X.shape
    if is_sparse(X):
        # a value and its column index
        return 16.0 * int(X.nnz) / max(int(n_rows), 1)
    return 8.0 * int(n_features)


def take_rows(X: Matrix, start: int, stop: int, dtype: type = np.float64) -> Matrix:
    """Return rows ``start:stop`` in a floating type, dense or CSR; a view if the type is that of X.

    Only these rows are converted, so an integer or float32 X is never converted as a whole. Rows of a matrix in Fortran
    order keep it: BLAS accepts both orders. Rows at an address that is not aligned, as in a part of a message of Dask,
    are copied: numpy would copy them in each product, in an order that depends on the address.
    """
    if not is_sparse(X):
        rows: Matrix = np.asarray(X[start:stop], dtype=dtype)
        if not rows.flags.aligned:
            rows = rows.copy(order="K")
        return rows if rows.itemsize in rows.strides or rows.flags.c_contiguous else np.ascontiguousarray(rows)
    first, last = X.indptr[start], X.indptr[stop]
    data = X.data[first:last].astype(dtype, copy=False)
    return csr(data, X.indices[first:last], X.indptr[start : stop + 1] - first, X.shape[1])


def pick_rows(X: Matrix, rows: Codes) -> Matrix:
    """Return a copy of the rows of these indices, in the type of X."""
    if is_sparse(X):
        return sparse.csr_array(X[rows])
    # take is several times as fast as an index, but copies all of an array that is not in C order
    if X.flags.c_contiguous:
        return X.take(rows, axis=0)
    return X.T.take(rows, axis=1).T if X.flags.f_contiguous else X[rows]


def hstack(left: Matrix, right: Matrix) -> Matrix:
    """Return the columns of both; sparse if either is."""
    if is_sparse(left) or is_sparse(right):
        return sparse.csr_array(sparse.hstack([left, right]))
    return np.hstack([left, right])


def beside_identity(left: Array) -> Matrix:
    """Return the columns of a dense matrix, followed by those of the identity, as a sparse matrix."""
    return sparse.csr_array(sparse.hstack([sparse.csr_array(left), sparse.identity(len(left))]))


def vstack(parts: Sequence[Matrix]) -> Matrix:
    """Return the rows of all parts in order; sparse if any part is."""
    if any(is_sparse(part) for part in parts):
        return sparse.csr_array(sparse.vstack(parts))
    return np.vstack(parts)


def stored_values(X: Matrix) -> Matrix:
    """Return the array that stores the values of X: X itself, or the data of a sparse X."""
    return X.data if is_sparse(X) else X


def canonical(X: Matrix) -> Matrix:
    """Return X with each entry stored once; only a CSR matrix that repeats entries is copied."""
    if not is_sparse(X) or X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X


def cast(values: Array, dtype: DTypeLike) -> Array:
    """Return finite values in a type as wide or narrower, clipped to its range: they stay finite."""
    if dtype == values.dtype:
        return values
    range_of_type = np.finfo(dtype)
    clipped: Array = values.clip(range_of_type.min, range_of_type.max).astype(dtype)
    return clipped


def as_float32(values: Array) -> Array:
    """Return the values in float32, in the same memory order."""
    # `Array` names the precision that nearly all arrays have
    return values.astype(np.float32, order="K", copy=False)
