"""Factorises and solves with a symmetric positive semidefinite matrix of any scale and rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg
from scipy.linalg import blas, lapack

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Mask


# a coordinate is undetermined if its squared share of the null space is this or more: 1e-4 of a unit vector;
# 1e-10 to 1e-4 made no difference for breast cancer with the sum of two columns as another one
MAX_NULL_SHARE = 1e-8
# Reciprocal condition number of a scaled matrix from which its inverse has six digits in every direction.
WELL_CONDITIONED = 1e-10
# Unknowns from which two triangular solves of one vector take less time than LAPACK's dpotrs, which is made for
# matrices: 640 80 and 243 us, 257 19 and 49, 109 8 and 11, 65 5 each, 31 3.4 and 2.8 (OpenBLAS 0.3.30, AVX-512).
MIN_TRIANGULAR_SIZE = 100
EPSILON = float(np.finfo(np.float64).eps)
# the rounding of sums of some thousand products in float32, whose ε is 1.2e-7, relative to their diagonal
FLOAT32_RIDGE = 1e-6


class CholeskyFactor(NamedTuple):
    """L Lᵀ = E M E with E = diag(scale), so that scales of 1e±8 are not mistaken for singularity."""

    lower: Array  # (k, k)
    scale: Array  # (k,)
    reciprocal_condition: float = 0.0  # of E M E, in the 1-norm; 0 if unknown

    def solve(self, right: Array) -> Array:
        """Return M⁻¹ b, ``(k,)`` or ``(k, j)``."""
        scale = self.scale if right.ndim == 1 else self.scale[:, None]
        if right.ndim == 1 and len(scale) >= MIN_TRIANGULAR_SIZE:
            solution = blas.dtrsv(self.lower, scale * right, lower=1)
            solution = blas.dtrsv(self.lower, solution, lower=1, trans=1, overwrite_x=1)
        else:
            solution, _ = lapack.dpotrs(self.lower, scale * right, lower=True)
        return np.asarray(scale * solution)

    def norm_outside_range(self, right: Array) -> float:
        """Return 0, as every b is in the range, or infinity in a row that was zero before a ridge was added."""
        return np.inf if right[self.scale == 0].any() else 0.0

    @property
    def well_conditioned(self) -> bool:
        """Whether M⁻¹ b is accurate in every direction."""
        return self.reciprocal_condition > WELL_CONDITIONED

    @property
    def rank(self) -> int:
        """Numerical rank of M."""
        return len(self.scale)

    def null_space(self) -> Array:
        """Return a basis of the null space of M, ``(k, 0)``: there is none."""
        return np.empty((len(self.scale), 0))

    def determined(self) -> Mask:
        """Return whether each coordinate of M⁻¹ b is determined, ``(k,)``: all are."""
        return np.ones(len(self.scale), dtype=bool)


class RangeFactor(NamedTuple):
    """Q R Rᵀ Qᵀ = E M E on the numerical range of E M E, and zero on its null space."""

    basis: Array  # (k, rank), Q
    upper: Array  # (rank, rank), R
    scale: Array  # (k,)

    def solve(self, right: Array) -> Array:
        """Return the solution of least norm in the equilibrated coordinates."""
        if not self.upper.size:
            # LAPACK refuses rank 0
            return np.zeros_like(right)
        inner = linalg.solve_triangular(self.upper, self.basis.T @ _scaled(self.scale, right), check_finite=False)
        inner = linalg.solve_triangular(self.upper, inner, trans="T", check_finite=False)
        solution: Array = self.basis @ inner
        return _scaled(self.scale, solution)

    @property
    def well_conditioned(self) -> bool:
        """Whether M⁻¹ b is accurate in every direction: no."""
        return False

    def norm_outside_range(self, right: Array) -> float:
        """Return the norm of the part of E b outside the range, which `solve` omits; infinite in a zero row."""
        if right[self.scale == 0].any():
            return np.inf
        scaled = _scaled(self.scale, right)
        return float(np.linalg.norm(scaled - self.basis @ (self.basis.T @ scaled)))

    @property
    def rank(self) -> int:
        """Numerical rank of M."""
        return int(self.basis.shape[1])

    def null_space(self) -> Array:
        """Return a basis of the null space of M, ``(k, k - rank)``, in the units of M⁻¹ b."""
        complement = np.linalg.qr(self.basis, mode="complete")[0][:, self.rank :]
        return _scaled(np.where(self.scale > 0, self.scale, 1.0), complement)

    def determined(self) -> Mask:
        """Return whether each coordinate of M⁻¹ b is determined, ``(k,)``: zero in every null vector."""
        determined: Mask = (self.scale > 0) & (1.0 - (self.basis**2).sum(axis=1) < MAX_NULL_SHARE)
        return determined


Factor = CholeskyFactor | RangeFactor


def _scaled(scale: Array, right: Array) -> Array:
    """Return diag(scale) b, ``(k,)`` or ``(k, j)``."""
    return scale * right if right.ndim == 1 else scale[:, None] * right


def noise_floor(size: int) -> float:
    """Return the eigenvalue, relative to a unit diagonal, below which that of a `size` x `size` Gram is rounding."""
    return 8 * size * EPSILON


def equilibrate(matrix: Array) -> Array:
    """Return 1/√diagonal, and 0 where the diagonal is 0: that row and column are 0 too."""
    diagonal = matrix.diagonal()
    if np.minimum.reduce(diagonal, initial=np.inf) > 0:
        equilibrated: Array = 1.0 / np.sqrt(diagonal)
        return equilibrated
    return np.divide(1.0, np.sqrt(diagonal), out=np.zeros(len(diagonal)), where=diagonal > 0)


def ridge_of(gram: Array) -> float:
    """Return the number to add to a unit diagonal so that the rounding of `gram` cannot make it indefinite."""
    return FLOAT32_RIDGE if gram.dtype == np.float32 else 0.0


def _in_units(scale: Array, matrix: Array, ridge: float) -> Array:
    """Return E M E with the ridge, in Fortran order: LAPACK copies any other."""
    scaled = scale[:, None] * matrix
    scaled *= scale
    if ridge > 0.0:
        scaled[np.diag_indices_from(scaled)] += ridge
    return scaled.T


def factorise(matrix: Array, ridge: float = 0.0) -> Factor:
    """Factorise by Cholesky; without full numerical rank, by Cholesky with pivots, truncated at that rank.

    `ridge` is added to the diagonal after it is scaled to one.
    """
    scale = equilibrate(matrix)
    if not scale.size:
        # LAPACK refuses it
        return RangeFactor(matrix, matrix, scale)
    noise = noise_floor(len(matrix))
    scaled = _in_units(scale, matrix, ridge)
    norm = lapack.dlange("1", scaled)
    lower, failed = lapack.dpotrf(scaled, lower=True, clean=True, overwrite_a=True)
    if not failed:
        reciprocal_condition, _ = lapack.dpocon(lower, norm, uplo="L")
        if reciprocal_condition > noise:
            return CholeskyFactor(lower, scale, float(reciprocal_condition))
    basis, upper = np.linalg.qr(_pivoted(_in_units(scale, matrix, ridge)))
    return RangeFactor(basis, upper, scale)


def root(matrix: Array) -> Array:
    """Return R, ``(k, rank)``, with R Rᵀ = M."""
    scale = equilibrate(matrix)
    # a row and column whose scale is 0 are 0
    sizes = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return sizes[:, None] * _pivoted(_in_units(scale, matrix, 0.0))


def _pivoted(scaled: Array) -> Array:
    """Return R, ``(k, rank)``, with R Rᵀ = M for a unit diagonal, by Cholesky with pivots; overwrites M."""
    pivoted, order, rank, _ = lapack.dpstrf(scaled, tol=noise_floor(len(scaled)), lower=True, overwrite_a=True)
    factor = np.empty((len(scaled), rank))
    factor[order - 1] = np.tril(pivoted)[:, :rank]
    return factor
