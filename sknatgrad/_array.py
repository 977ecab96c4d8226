"""What differs between dense and sparse arrays when rows are cut and converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Matrix


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


def take_rows(X: Matrix, start: int, stop: int) -> Matrix:
    """Return rows ``start:stop`` as float64, C-contiguous or CSR; a view wherever that is possible.

    Only these rows are converted, so an integer or float32 X is never expanded as a whole.
    """
    if not is_sparse(X):
        return np.ascontiguousarray(X[start:stop], dtype=np.float64)
    first, last = X.indptr[start], X.indptr[stop]
    data = X.data[first:last].astype(np.float64, copy=False)
    indptr = X.indptr[start : stop + 1] - first
    return sparse.csr_array((data, X.indices[first:last], indptr), shape=(stop - start, X.shape[1]))


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


def narrow(values: Array, dtype: type) -> Any:
    """Return finite values in a type as wide or narrower, clipped to what it can hold: they stay finite."""
    if dtype == values.dtype:
        return values
    limits = np.finfo(dtype)
    return values.clip(limits.min, limits.max).astype(dtype)
