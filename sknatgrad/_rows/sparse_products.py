"""Products of a sparse matrix by rows with dense ones, added to memory that exists.

The loops are private functions of scipy, `csr_matvec`, `csc_matvec` and their counterparts for several vectors, with
which scipy has computed ``X @ v`` since 2008. ``X @ v`` itself takes 10 µs more, beside 20 to 80 for the product of a
block, returns new memory, and needs another matrix object for Xᵀ: products F v of adult one-hot take 0.60 ms by the
functions and 0.72 by ``@``, those of 2,000 x 45,500 with 90 values a row 0.19 and 0.25. If scipy no longer had them,
``@`` would be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

try:
    from scipy.sparse import _sparsetools
except ImportError:  # pragma: no cover - no version of scipy lacks it
    _sparsetools = None

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Matrix


def add_product(X: Matrix, right: Array, to: Array) -> None:
    """Add X times ``(p, k)`` to ``(m, k)``, which is contiguous, as rows where k > 1."""
    n_rows, n_columns = X.shape
    if _sparsetools is None:
        to += X @ right
    elif right.shape[1] == 1:
        _sparsetools.csr_matvec(n_rows, n_columns, X.indptr, X.indices, X.data, right[:, 0], to[:, 0])
    else:
        sizes = n_rows, n_columns, right.shape[1]
        _sparsetools.csr_matvecs(*sizes, X.indptr, X.indices, X.data, _flat(right), to.reshape(-1))


def add_transposed_product(X: Matrix, right: Array, to: Array) -> None:
    """Add Xᵀ times ``(m, k)`` to ``(p, k)``, which is contiguous, as rows where k > 1."""
    n_rows, n_columns = X.shape
    if _sparsetools is None:
        to += X.T @ right
    elif right.shape[1] == 1:
        _sparsetools.csc_matvec(n_columns, n_rows, X.indptr, X.indices, X.data, right[:, 0], to[:, 0])
    else:
        # Xᵀ by columns has the arrays of X by rows
        sizes = n_columns, n_rows, right.shape[1]
        _sparsetools.csc_matvecs(*sizes, X.indptr, X.indices, X.data, _flat(right), to.reshape(-1))


def _flat(right: Array) -> Array:
    return np.ascontiguousarray(right).reshape(-1)
