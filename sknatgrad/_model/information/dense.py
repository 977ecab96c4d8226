"""The whole matrix, ``(qd, qd)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import member_of, record
from sknatgrad._model.information.symmetric import factorise, ridge_of
from sknatgrad._model.recentring import recentred_gradient
from sknatgrad._rows.design import gil_free_matmul

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.information.symmetric import Factor
    from sknatgrad._model.protocols import Scores
    from sknatgrad._rows.design import Design

# Bytes of the rows of the root of F, (m, qd), that exist at a time: as many as the X of a block. 2,000 x 50, 5 classes:
# 5 ms with 2**20 to 2**24, 7 with 2**18.
ROOT_BYTES = 2**22


@member_of("sknatgrad")
@record
class DenseInformation:
    """F = Σ s_i E[r_i r_iᵀ] ⊗ x_i x_iᵀ, stored as one matrix."""

    blocks: Array  # (q, d, q, d)

    @classmethod
    def of_block(cls, design: Design, scores: Scores, weight: Array) -> DenseInformation:
        """Return the information of one block of rows."""
        diagonal = weight[:, None] * scores.diagonal()
        n_logits = diagonal.shape[1]
        if n_logits == 1:
            return cls(design.gram(diagonal[:, 0])[None, :, None])
        n_columns = design.n_columns
        sign, outer = scores.outer()
        outer = np.sqrt(weight)[:, None] * outer
        blocks = np.zeros((n_logits, n_columns, n_logits, n_columns), dtype=diagonal.dtype)
        flat = blocks.reshape(n_logits * n_columns, n_logits * n_columns)
        for start in range(0, len(weight), _rows_at_once(n_logits * n_columns)):
            part = slice(start, start + _rows_at_once(n_logits * n_columns))
            rows = design.rows(part).scaled_rows(outer[part])
            # numpy recognises the product with the transpose and computes half of it
            flat += gil_free_matmul(rows.T, rows)
        if sign < 0:
            np.negative(blocks, out=blocks)
            for k in range(n_logits):
                # sums of p (1 - p), where the outer products have -p²
                blocks[k, :, k, :] = design.gram(diagonal[:, k])
        return cls(blocks)

    def merge(self, other: DenseInformation) -> DenseInformation:
        """Pool with the information of other rows."""
        return DenseInformation(self.blocks + other.blocks)

    def scaled(self, share: float) -> DenseInformation:
        """Return the information of the same rows with their weights multiplied by `share`."""
        return DenseInformation(share * self.blocks)

    def recentred(self, shift: Array) -> DenseInformation:
        """Return the information of the same rows less `shift`, ``(p,)``."""
        blocks = recentred_gradient(self.blocks, shift)
        return DenseInformation(np.moveaxis(recentred_gradient(np.moveaxis(blocks, 1, 3), shift), 3, 1))

    def dense(self) -> Array:
        """Return F, ``(qd, qd)``."""
        n_logits, n_columns = self.blocks.shape[:2]
        return self.blocks.reshape(n_logits * n_columns, n_logits * n_columns)

    def diagonal(self) -> Array:
        """Return the diagonal, ``(q, d)``."""
        return self.dense().diagonal().reshape(self.blocks.shape[:2]).copy()

    def matvec(self, move: Array) -> Array:
        """Return F v, ``(q, d)``."""
        return (self.dense() @ move.ravel()).reshape(move.shape)

    def precision(self, shift: Array) -> DensePrecision:
        """Factorise F + I ⊗ diag(shift)."""
        n_logits, n_columns = self.blocks.shape[:2]
        shifted = self.blocks.astype(np.float64)
        if n_logits > 1:
            # a view of the (q, q) matrix of each column
            by_column = np.einsum("kjlj->jkl", shifted)
            # Equal moves of all classes are in the null space of F. The pin adds curvature along them, at the scale of
            # F, and none along moves that sum to zero over classes. So the matrix is definite, and Cholesky can
            # factorise it.
            pin = np.einsum("jkk->j", by_column) / n_logits**2
            by_column += pin[:, None, None]
        size = n_logits * n_columns
        diagonal = shifted.reshape(-1)[:: size + 1].reshape(n_logits, n_columns)
        diagonal += shift
        return DensePrecision(factorise(shifted.reshape(size, size), ridge_of(self.blocks)))


def _rows_at_once(size: int) -> int:
    return max(ROOT_BYTES // (8 * size), 1)


class DensePrecision(NamedTuple):
    """A factorised dense metric."""

    factor: Factor

    @property
    def well_conditioned(self) -> bool:
        """Whether solutions are accurate in every direction."""
        return self.factor.well_conditioned

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``."""
        return self.factor.solve(gradient.ravel()).reshape(gradient.shape)

    def solve_each(self, gradients: Array) -> Array:
        """Return M⁻¹ g of each of m gradients, ``(q, m, d)``."""
        n_logits, n_gradients, n_columns = gradients.shape
        right = gradients.swapaxes(1, 2).reshape(n_logits * n_columns, n_gradients)
        return self.factor.solve(right).reshape(n_logits, n_columns, n_gradients).swapaxes(1, 2)

    def norm_outside_range(self, gradient: Array) -> float:
        """Return the norm of the part of the gradient outside the range, each column in units of its own metric."""
        return self.factor.norm_outside_range(gradient.ravel())
