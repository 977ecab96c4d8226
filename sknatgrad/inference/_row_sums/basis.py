"""Combinations of the columns that are orthonormal over the rows.

A covariance from the Fisher information of columns loses twice the digits that tell nearly collinear columns apart: a
column with 1e-5 of its size of its own has a variance with a relative rounding error of 1e-16 / (1e-5)². In the rows
x R⁻¹, with R of the decomposition √s X = Q R, the information is as well conditioned as the probabilities allow, and
digits are lost once, in R.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Generic, NamedTuple

import numpy as np
from scipy.linalg import lapack

from sknatgrad._definitions import Result, record
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes
    from sknatgrad._rows.source import Kernel, RowBlock


class ColumnBasis(NamedTuple):
    """The combinations x R⁻¹ of some columns x of a design."""

    columns: Codes  # (j,), in the order of R
    factor: Array  # (j, j), R
    n_columns: int  # d, of the design

    @classmethod
    def of(cls, factor: Array, columns: Codes, precision: Array) -> ColumnBasis:
        """Return the combinations in which Σ s x xᵀ + Λ is the identity.

        Parameters
        ----------
        factor : ndarray of shape (rows, j)
            R of √s X in these columns, which need not be triangular.

        columns : ndarray of shape (j,)
            Their indices.

        precision : ndarray of shape (d,)
            Diagonal of Λ.
        """
        of_prior = np.diag(np.sqrt(precision[columns]))
        return cls(columns, np.asarray(np.linalg.qr(np.vstack([factor, of_prior]), mode="r")), precision.size)

    def rows(self, design: Design) -> Design:
        """Return the design of the combinations, without an intercept of its own."""
        return Design(self._solve(design.dense()[:, self.columns].T, transposed=True).T, intercept=False)

    def coordinates(self, theta: Array) -> Array:
        """Return θ of the combinations, ``(q, j)``, that has the logits of θ, ``(q, d)``."""
        coordinates: Array = theta[:, self.columns] @ self.factor.T
        return coordinates

    def precision(self, precision: Array) -> Array:
        """Return Λ in the combinations, ``(j, j)``, from its diagonal, ``(d,)``."""
        root = self._solve(np.diag(np.sqrt(precision[self.columns])), transposed=True)
        product: Array = root @ root.T
        return product

    def of_columns(self, coordinates: Array) -> Array:
        """Return coefficients of the columns in ascending order, ``(..., j, m)``, from those of the combinations."""
        solved = [self._solve(each) for each in coordinates]
        return np.array(solved)[:, np.argsort(self.columns)]

    def _solve(self, right: Array, *, transposed: bool = False) -> Array:
        solution, _ = lapack.dtrtrs(self.factor, right, trans=int(transposed))
        return np.asarray(solution)


def independent_shares(factor: Array) -> Array:
    """Return the share of each column of a triangular matrix that the others leave of it, ``(j,)``, of norm 1 each."""
    inverse, _ = lapack.dtrtri(factor)
    shares: Array = 1.0 / np.linalg.norm(inverse, axis=1)
    return shares


@record
class BasisKernel(Generic[Result]):
    """Another kernel, of rows in a basis of their columns."""

    kernel: Kernel[Result]
    basis: ColumnBasis
    row_bytes: int  # of dense rows that are held at a time

    def __call__(self, block: RowBlock) -> Result:
        """Return the other kernel's result of one block."""
        design = Design.of_block(block, self.basis.n_columns)
        size = max(self.row_bytes // (8 * self.basis.n_columns), 1)
        starts = range(0, len(block.codes), size)
        return reduce(self.kernel.merge, (self._of_part(block, design, slice(k, k + size)) for k in starts))

    def _of_part(self, block: RowBlock, design: Design, part: slice) -> Result:
        X = self.basis.rows(design.rows(part)).X
        codes, weight = block.codes[part], block.weight[part]
        return self.kernel(block._replace(X=X, codes=codes, weight=weight, start=block.start + part.start))

    def merge(self, left: Result, right: Result) -> Result:
        """Pool two runs of rows."""
        return self.kernel.merge(left, right)
