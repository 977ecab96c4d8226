"""What differs between dense and sparse arrays when rows are cut and converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._typing import Array, Codes, Matrix


# a sparse matrix with fewer entries a column than this may have empty ones, and they are dropped if this share is left
FEW_ENTRIES = 4
WORTH_DROPPING = 0.7


def is_sparse(X: Matrix) -> bool:
    """Say whether X is a scipy sparse matrix or array."""
    return bool(sparse.issparse(X))


def stored_bytes_per_row(X: Matrix) -> float:
    """Return the mean size of a row once its values are float64."""
    n_rows, n_features = X.shape
    if is_sparse(X):
        # a value and its column index
        return 16.0 * int(X.nnz) / max(int(n_rows), 1)
    return 8.0 * int(n_features)


def take_rows(X: Matrix, start: int, stop: int, dtype: type = np.float64) -> Matrix:
    """Return rows ``start:stop`` in a floating type, dense or CSR; a view wherever that is possible.

    Only these rows are converted, so an integer or float32 X is never expanded as a whole. Rows of a matrix in Fortran
    order stay in it: BLAS takes them as they are.
    """
    if not is_sparse(X):
        rows: Matrix = np.asarray(X[start:stop], dtype=dtype)
        return rows if rows.itemsize in rows.strides or rows.flags.c_contiguous else np.ascontiguousarray(rows)
    first, last = X.indptr[start], X.indptr[stop]
    data = X.data[first:last].astype(dtype, copy=False)
    indptr = X.indptr[start : stop + 1] - first
    return sparse.csr_array((data, X.indices[first:last], indptr), shape=(stop - start, X.shape[1]))


def without_empty_columns(X: Matrix) -> tuple[Matrix, Codes | None]:
    """Return X and None, or the columns of a sparse X that store anything, and their indices, if those are few.

    Text in few rows uses few of its words; the others have coefficient 0 and only make the vectors long. The values are
    not copied.
    """
    # with more entries a column, hardly any will be empty
    if not is_sparse(X) or X.nnz > FEW_ENTRIES * X.shape[1]:
        return X, None
    used = np.zeros(X.shape[1], dtype=bool)
    used[X.indices] = True
    # there is no table without columns
    used[0] = True
    kept = np.flatnonzero(used)
    if kept.size > WORTH_DROPPING * X.shape[1]:
        return X, None
    place = np.zeros(X.shape[1], dtype=X.indices.dtype)
    place[kept] = np.arange(kept.size)
    return sparse.csr_array((X.data, place[X.indices], X.indptr), shape=(X.shape[0], kept.size)), kept


def pick_rows(X: Matrix, rows: Codes) -> Matrix:
    """Return a copy of the rows of these indices, in X's own type."""
    if is_sparse(X):
        return sparse.csr_array(X[rows])
    # to take is several times as fast as to index, but would copy all of an array that is not in C order
    if X.flags.c_contiguous:
        return X.take(rows, axis=0)
    return X.T.take(rows, axis=1).T if X.flags.f_contiguous else X[rows]


def hstack(left: Matrix, right: Matrix) -> Matrix:
    """Return the columns of both; sparse if either is."""
    if is_sparse(left) or is_sparse(right):
        return sparse.csr_array(sparse.hstack([left, right]))
    return np.hstack([left, right])


def vstack(parts: Sequence[Matrix]) -> Matrix:
    """Return the rows of all, one below the other; sparse if any is."""
    if any(is_sparse(part) for part in parts):
        return sparse.csr_array(sparse.vstack(parts))
    return np.vstack(parts)


def stored_values(X: Matrix) -> Matrix:
    """Return the array that holds X's values: X itself, or the data of a sparse X."""
    return X.data if is_sparse(X) else X


def canonical(X: Matrix) -> Matrix:
    """Return X with each entry stored once; only a CSR matrix that repeats entries is copied."""
    if not is_sparse(X) or X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X


def cast(values: Array, dtype: type) -> Any:
    """Return finite values in a type as wide or narrower, clipped to what it can hold: they stay finite."""
    if dtype == values.dtype:
        return values
    limits = np.finfo(dtype)
    return values.clip(limits.min, limits.max).astype(dtype)
