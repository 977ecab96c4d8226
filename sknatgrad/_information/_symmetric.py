"""Solve with a symmetric positive semidefinite matrix, whatever its scales and its rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

if TYPE_CHECKING:
    from sknatgrad._typing import Array


@dataclass(frozen=True)
class CholeskyFactor:
    """L Lᵀ = E M E with E = diag(scale), so that scales of 1e±8 do not look like singularity."""

    lower: Array  # (k, k)
    scale: Array  # (k,)

    def solve(self, right: Array) -> Array:
        """Return M⁻¹ b."""
        solution: Array = linalg.cho_solve((self.lower, True), self.scale * right, check_finite=False)
        return self.scale * solution


@dataclass(frozen=True)
class SpectralFactor:
    """Inverse on the numerical range of E M E: zero along directions the data do not determine."""

    vectors: Array  # (k, rank)
    values: Array  # (rank,)
    scale: Array  # (k,)

    def solve(self, right: Array) -> Array:
        """Return the solution of least norm in the equilibrated coordinates."""
        solution: Array = self.vectors @ ((self.vectors.T @ (self.scale * right)) / self.values)
        return self.scale * solution


Factor = CholeskyFactor | SpectralFactor


def equilibrate(matrix: Array) -> Array:
    """Return 1/√diagonal, and 0 where the diagonal is 0: that row and column are 0 too."""
    diagonal = matrix.diagonal()
    return np.divide(1.0, np.sqrt(diagonal), out=np.zeros(len(diagonal)), where=diagonal > 0)


def factorise(matrix: Array) -> Factor:
    """Factorise by Cholesky, or by eigenvalues where the matrix has no full numerical rank."""
    scale = equilibrate(matrix)
    scaled = scale[:, None] * matrix * scale
    # n eps bounds the rounding of a Gram matrix whose diagonal is one: below it a direction is noise
    noise = 8 * len(matrix) * np.finfo(np.float64).eps
    lower, failed = lapack.dpotrf(scaled, lower=True, clean=True)
    if not failed:
        reciprocal_condition, _ = lapack.dpocon(lower, np.abs(scaled).sum(axis=0).max(), uplo="L")
        if reciprocal_condition > noise:
            return CholeskyFactor(lower, scale)
    values, vectors = linalg.eigh(scaled, check_finite=False)
    kept = values > noise * max(values[-1], 1.0)
    return SpectralFactor(vectors[:, kept], values[kept], scale)
