"""The products of a block of rows with its implicit column of ones, which is never materialised."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from sknatgrad._array import is_sparse

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Matrix


class Design(NamedTuple):
    """The block's design matrix ``(m, d)``: X, then a column of ones where there is an intercept."""

    X: Matrix  # (m, p)
    intercept: bool

    @classmethod
    def of(cls, X: Matrix, theta: Array) -> Design:
        """Return the design that `theta` of shape ``(q, d)`` multiplies: d > p means an intercept."""
        return cls(X, theta.shape[-1] > X.shape[1])

    @property
    def n_columns(self) -> int:
        """Number of columns d."""
        return int(self.X.shape[1]) + self.intercept

    def logits(self, theta: Array) -> Array:
        """Return the design times θᵀ, ``(m, q)``."""
        n_features = self.X.shape[1]
        # a sparse product wants its right side contiguous, and would copy it
        product: Array = np.asarray(self.X @ np.ascontiguousarray(theta[:, :n_features].T))
        return product + theta[:, n_features] if self.intercept else product

    def pull_back(self, rows: Array) -> Array:
        """Return rowsᵀ times the design, ``(q, d)``, for rows of shape ``(m, q)``."""
        pulled = (self.X.T @ rows).T
        return np.column_stack([pulled, rows.sum(axis=0)]) if self.intercept else np.ascontiguousarray(pulled)

    def squared_pull(self, rows: Array) -> Array:
        """Return rowsᵀ times the squared entries of the design, ``(q, d)``, for rows of shape ``(m, q)``."""
        squared = self.X.power(2) if is_sparse(self.X) else self.X**2
        return Design(squared, self.intercept).pull_back(rows)

    def gram(self, weight: Array) -> Array:
        """Return Σ weight_i x_i x_iᵀ, ``(d, d)``, symmetric to the last bit."""
        n_features = self.X.shape[1]
        weighted = self._scale_rows(weight)
        gram = np.empty((self.n_columns, self.n_columns))
        block = self.X.T @ weighted
        gram[:n_features, :n_features] = block.toarray() if is_sparse(block) else block
        if self.intercept:
            gram[n_features, :n_features] = gram[:n_features, n_features] = np.asarray(weighted.sum(axis=0)).ravel()
            gram[n_features, n_features] = weight.sum()
        return 0.5 * (gram + gram.T)

    def _scale_rows(self, weight: Array) -> Matrix:
        if not is_sparse(self.X):
            return weight[:, None] * self.X
        data = self.X.data * np.repeat(weight, np.diff(self.X.indptr))
        return sparse.csr_array((data, self.X.indices, self.X.indptr), shape=self.X.shape)
