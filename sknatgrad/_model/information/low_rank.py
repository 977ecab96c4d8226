"""The most informative pairs of a row and a class, stored one by one, and the diagonal of all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import blas, lapack

from sknatgrad._definitions import record

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Mask
    from sknatgrad._model.score_covariance import ModelScores
    from sknatgrad._rows.design import Design

# Share of its information that a stored pair keeps in the diagonal. Every column with information then has a diagonal
# above zero, and U Uᵀ is at most qd / share times as large, so that solving in float64 keeps a few digits. With 1e-4
# and 1e-12 raw MNIST takes as many products.
KEPT_SHARE = 1e-8
# Largest relative change of D with which a factor is used for another shift. With 0.5 raw MNIST takes one factor and
# 619 products, with 0.1 two factors and 621 products.
NEAR = 0.5


@record
class LowRankInformation:
    """I ⊗ diag(a) / q + U Uᵀ, where a column of U is √(s_i p_ik) (e_k − p_i) ⊗ x_i.

    The information of row i is the sum of such columns over the classes k, as diag(p) − p pᵀ = Σ p_k (e_k − p)(e_k −
    p)ᵀ. U has those of the most informative pairs (i, k), and a = Σ s_i p_ik ‖e_k − p_i‖² x_i² is summed over the other
    pairs. Near separation few rows have information, each about few classes, and a is small beside the prior.
    """

    rest: Array  # (d,), a
    rows: Array  # (r, d), x of each stored pair
    roots: Array  # (r, q), √(s p) (e − p) of each stored pair

    @classmethod
    def of_block(cls, design: Design, scores: ModelScores, weight: Array, stored: Mask) -> LowRankInformation:
        """Return the information of one block of rows, with the pairs that are to be stored, ``(m, q)``."""
        traces = weight[:, None] * scores.traces()
        traces[stored] *= KEPT_SHARE
        rows, classes = np.nonzero(stored)
        roots = np.sqrt(weight[rows])[:, None] * scores.roots(rows, classes)
        rest = design.squared_transposed_product(traces.sum(axis=1)[:, None])[0]
        return cls(rest, design.rows(rows).dense(), roots)

    def merge(self, other: LowRankInformation) -> LowRankInformation:
        """Pool with the information of other rows."""
        return LowRankInformation(
            self.rest + other.rest,
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.roots, other.roots]),
        )

    def dense(self) -> Array:
        """Return the matrix this stands for, ``(qd, qd)``."""
        n_logits = self.roots.shape[1]
        columns = (self.roots[:, :, None] * self.rows[:, None, :]).reshape(len(self.rows), -1)
        return columns.T @ columns + np.diag(np.tile(self.rest / n_logits, n_logits))

    def diagonal(self) -> Array:
        """Return the diagonal, ``(q, d)``."""
        diagonal: Array = (self.roots**2).T @ self.rows**2
        diagonal += self.rest / len(diagonal)
        return diagonal

    def matvec(self, move: Array) -> Array:
        """Return the product with v, ``(q, d)``."""
        along = ((self.rows @ move.T) * self.roots).sum(axis=1)
        product: Array = (along[:, None] * self.roots).T @ self.rows
        product += move * (self.rest / len(move))
        return product

    def is_near(self, shift: Array, other: Array) -> bool:
        """Say whether a factor of the sum with one shift preconditions that with the other."""
        diagonal = self.rest / self.roots.shape[1] + shift
        return bool((abs(other - shift) <= NEAR * diagonal).all())

    def precision(self, shift: Array) -> LowRankPrecision:
        """Factorise the sum with I ⊗ diag(shift), by the identity of Woodbury: Golub and Van Loan (2013), (2.1.4).

        Equal moves of all classes, along which F is 0, get the mean of its diagonal beside the shift.
        """
        diagonal = self.rest / self.roots.shape[1] + shift
        mean = self.diagonal().mean(axis=0)
        gauge = np.divide(mean, diagonal + mean, out=np.zeros_like(mean), where=mean > 0.0)
        scale = np.divide(1.0, np.sqrt(diagonal), out=np.zeros_like(diagonal), where=diagonal > 0.0)
        rows = self.rows * scale
        gram = rows @ rows.T
        for row, root in zip(gram, self.roots, strict=True):
            # row by row, without a second matrix of this size
            row *= self.roots @ root  # noqa: PLW2901 - a view
        gram[np.diag_indices_from(gram)] += 1.0
        if gram.size:
            # LAPACK refuses an empty matrix
            gram, _ = lapack.dpotrf(gram.T, lower=True, overwrite_a=True)
        return LowRankPrecision(scale, gauge, rows, self.roots, gram)


class LowRankPrecision(NamedTuple):
    """The inverse of I ⊗ D + U Uᵀ: E (I − V (I + Vᵀ V)⁻¹ Vᵀ) E with E = I ⊗ D^-½ and V = E U."""

    scale: Array  # (d,), D^-½
    gauge: Array  # (d,), G / (D + G), with the curvature G that is added along equal moves of all classes
    rows: Array  # (r, d), D^-½ x of each stored pair
    roots: Array  # (r, q)
    lower: Array  # (r, r), L with L Lᵀ = I + Vᵀ V

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``."""
        # U is 0 along equal moves, so their part is solved for alone
        solution: Array = (gradient - self.gauge * gradient.mean(axis=0)) * self.scale
        if self.lower.size:
            along = ((self.rows @ solution.T) * self.roots).sum(axis=1)
            # for one right side several times as fast as `dpotrs`
            along = blas.dtrsv(self.lower, along, lower=True, overwrite_x=True)
            along = blas.dtrsv(self.lower, along, lower=True, trans=True, overwrite_x=True)
            solution -= (self.rows.T @ (along[:, None] * self.roots)).T
        solution *= self.scale
        return solution

    def norm_outside_range(self, gradient: Array) -> float:
        """Return 0, or infinity for a gradient along a column without information and shift."""
        return np.inf if gradient[:, self.scale == 0.0].any() else 0.0
