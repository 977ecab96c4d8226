"""Solve with a symmetric positive semidefinite matrix, whatever its scales and its rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

if TYPE_CHECKING:
    from sknatgrad._typing import Array


# a coordinate with more than this share of a unit null vector, squared, is moved by it
NULL_SHARE = 1e-8
# the rounding of sums of some thousand products in float32, relative to their diagonal
SINGLE_RIDGE = 1e-6


@dataclass(frozen=True)
class CholeskyFactor:
    """L Lᵀ = E M E with E = diag(scale), so that scales of 1e±8 do not look like singularity."""

    lower: Array  # (k, k)
    scale: Array  # (k,)

    def solve(self, right: Array) -> Array:
        """Return M⁻¹ b, ``(k,)`` or ``(k, j)``."""
        solution, _ = lapack.dpotrs(self.lower, _times(self.scale, right), lower=True)
        return _times(self.scale, solution)

    def outside(self, right: Array) -> float:
        """Return 0, as every b is in the range, or infinity in a row that was zero before a ridge was added."""
        return np.inf if right[self.scale == 0].any() else 0.0

    @property
    def rank(self) -> int:
        """Numerical rank of M."""
        return len(self.scale)

    def null(self) -> Array:
        """Return the directions that M does not see, ``(k, 0)``: none."""
        return np.empty((len(self.scale), 0))

    def determined(self) -> Any:
        """Return whether each coordinate of M⁻¹ b is determined, ``(k,)``: it is."""
        return np.ones(len(self.scale), dtype=bool)


@dataclass(frozen=True)
class RangeFactor:
    """Q R Rᵀ Qᵀ = E M E on the numerical range of E M E: zero along directions the data do not determine."""

    basis: Array  # (k, rank), Q
    upper: Array  # (rank, rank), R
    scale: Array  # (k,)

    def solve(self, right: Array) -> Array:
        """Return the solution of least norm in the equilibrated coordinates."""
        if not self.upper.size:
            # rank 0, which LAPACK does not take
            return np.zeros_like(right)
        inner = linalg.solve_triangular(self.upper, self.basis.T @ _times(self.scale, right), check_finite=False)
        inner = linalg.solve_triangular(self.upper, inner, trans="T", check_finite=False)
        solution: Array = self.basis @ inner
        return _times(self.scale, solution)

    def outside(self, right: Array) -> float:
        """Return the size of the part of E b outside the range, which `solve` leaves out; infinite in a zero row."""
        if right[self.scale == 0].any():
            return np.inf
        scaled = _times(self.scale, right)
        return float(np.linalg.norm(scaled - self.basis @ (self.basis.T @ scaled)))

    @property
    def rank(self) -> int:
        """Numerical rank of M."""
        return int(self.basis.shape[1])

    def null(self) -> Array:
        """Return vectors that are orthogonal to the range of M, ``(k, k - rank)``, in the units of M⁻¹ b."""
        hstack = np.linalg.qr(self.basis, mode="complete")[0][:, self.rank :]
        return _times(np.where(self.scale > 0, self.scale, 1.0), hstack)

    def determined(self) -> Any:
        """Return whether each coordinate of M⁻¹ b is determined, ``(k,)``: no null vector moves it."""
        return (self.scale > 0) & (1.0 - (self.basis**2).sum(axis=1) < NULL_SHARE)


Factor = CholeskyFactor | RangeFactor


def _times(scale: Array, right: Array) -> Array:
    """Return diag(scale) b, ``(k,)`` or ``(k, j)``."""
    return scale * right if right.ndim == 1 else scale[:, None] * right


def noise_floor(size: int) -> float:
    """Return the share of a unit diagonal below which a direction of a `size` x `size` Gram matrix is rounding."""
    return float(8 * size * np.finfo(np.float64).eps)


def equilibrate(matrix: Array) -> Array:
    """Return 1/√diagonal, and 0 where the diagonal is 0: that row and column are 0 too."""
    diagonal = matrix.diagonal()
    return np.divide(1.0, np.sqrt(diagonal), out=np.zeros(len(diagonal)), where=diagonal > 0)


def ridge_of(gram: Array) -> float:
    """Return what has to be added to a unit diagonal so that the rounding of `gram` cannot make it indefinite."""
    return SINGLE_RIDGE if gram.dtype == np.float32 else 0.0


def _in_units(scale: Array, matrix: Array, ridge: float) -> Array:
    """Return E M E with the ridge, stored column by column, as LAPACK would copy it otherwise."""
    scaled = scale[:, None] * matrix
    scaled *= scale
    if ridge > 0.0:
        scaled[np.diag_indices_from(scaled)] += ridge
    return scaled.T


def factorise(matrix: Array, ridge: float = 0.0) -> Factor:
    """Factorise by Cholesky; where the matrix has no full numerical rank, by Cholesky with pivots, cut off there.

    `ridge` is added to the diagonal once that is one.
    """
    scale = equilibrate(matrix)
    noise = noise_floor(len(matrix))
    scaled = _in_units(scale, matrix, ridge)
    norm = lapack.dlange("1", scaled)
    lower, failed = lapack.dpotrf(scaled, lower=True, clean=True, overwrite_a=True)
    if not failed:
        reciprocal_condition, _ = lapack.dpocon(lower, norm, uplo="L")
        if reciprocal_condition > noise:
            return CholeskyFactor(lower, scale)
    basis, upper = np.linalg.qr(_pivoted(_in_units(scale, matrix, ridge)))
    return RangeFactor(basis, upper, scale)


def root(matrix: Array) -> Array:
    """Return R, ``(k, rank)``, with R Rᵀ = M."""
    scale = equilibrate(matrix)
    # where the scale is 0, so are row and column
    sizes = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return sizes[:, None] * _pivoted(_in_units(scale, matrix, 0.0))


def _pivoted(scaled: Array) -> Array:
    """Return R, ``(k, rank)``, with R Rᵀ = M for a unit diagonal, by Cholesky with pivots; overwrites M."""
    pivoted, order, rank, _ = lapack.dpstrf(scaled, tol=noise_floor(len(scaled)), lower=True, overwrite_a=True)
    factor = np.empty((len(scaled), rank))
    factor[order - 1] = np.tril(pivoted)[:, :rank]
    return factor
