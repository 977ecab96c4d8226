"""Second moments E[r rᵀ] of the scores of rows, r the gradient of a row's loss with respect to its logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._rows.matrices import as_float32

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes

# 1 - p is computed as it stands where it is at least this: the subtraction then loses 3 bits at most
MIN_COMPLEMENT = 0.125
HALF = 0.5
# largest variance p (1 − p) of the score of one logit: that at zero
MAX_VARIANCE = 0.25
# Smaller scores become 0 in float32: the product of two of them, 1e-40, would be subnormal, and so slow to compute.
MIN_FLOAT32_SCORE = 1e-20


def complement(proba: Array, others: Array) -> Array:
    """Return 1 - p without cancellation, ``(m, K)``; `others` as in `Softmax`."""
    complement: Array = 1.0 - proba
    if others.min() < MIN_COMPLEMENT:
        # a probability above one half is that of the most probable class
        np.copyto(complement, (others / (1.0 + others))[:, None], where=proba > HALF)
    return complement


def _scores_as_float32(values: Array) -> Array:
    """Return values of at most about 1 in float32, with 0 for those whose products would be subnormal."""
    return as_float32(np.where(abs(values) < MIN_FLOAT32_SCORE, 0.0, values))


class BinaryScores(NamedTuple):
    """Two classes have one logit: E[r²] is a number, under any expectation."""

    variance: Array  # (m, 1)

    def as_float32(self) -> BinaryScores:
        """Return the same in float32."""
        return BinaryScores(_scores_as_float32(self.variance))

    def diagonal(self) -> Array:
        """Return the number of each row, ``(m, 1)``."""
        return self.variance

    def outer(self) -> tuple[float, Array]:
        """Return (sign, u), u ``(m, 1)``: a matrix of one entry has nothing off the diagonal."""
        return 1.0, np.sqrt(self.variance)

    def total(self, weight: Array) -> Array:
        """Return the weighted sum over rows, ``(1, 1)``."""
        total: Array = (weight @ self.variance)[:, None]
        return total

    def apply(self, move: Array) -> Array:
        """Multiply each row's number by that row of `move`, ``(m, 1)``."""
        return self.variance * move


class ModelScores(NamedTuple):
    """Labels as the model predicts them, more than two classes: diag(p) - p pᵀ. Gives the true Fisher information."""

    proba: Array  # (m, K)
    others: Array  # (m,), as in `Softmax`

    def as_float32(self) -> ModelScores:
        """Return the same in float32."""
        return ModelScores(_scores_as_float32(self.proba), _scores_as_float32(self.others))

    def diagonal(self) -> Array:
        """Return the diagonal for each row, ``(m, K)``."""
        variance = complement(self.proba, self.others)
        variance *= self.proba
        return variance

    def outer(self) -> tuple[float, Array]:
        """Return (sign, u), u ``(m, K)``: off the diagonal, each row's matrix is sign u uᵀ."""
        return -1.0, self.proba

    def traces(self) -> Array:
        """Return p_k ‖e_k − p‖² of each row and class, ``(m, K)``: the sum over k is the trace of the row's matrix."""
        squares = self.proba**2
        large = self.proba > HALF
        # Σ p_j² over the other classes, without subtracting from a large one
        others = np.where(large, 0.0, squares)
        others = others.sum(axis=1)[:, None] - others
        others += np.where(large, 0.0, np.where(large, squares, 0.0).sum(axis=1)[:, None])
        traces: Array = complement(self.proba, self.others)
        traces *= traces
        traces += others
        traces *= self.proba
        return traces

    def roots(self, rows: Codes, classes: Codes) -> Array:
        """Return √p_k (e_k − p) of some rows and a class k of each, ``(r, K)``.

        Over all classes the outer products of a row sum to its matrix.
        """
        roots = -self.proba[rows]
        pairs = np.arange(rows.size)
        roots[pairs, classes] = complement(self.proba, self.others)[rows, classes]
        roots *= np.sqrt(self.proba[rows, classes])[:, None]
        return roots

    def total(self, weight: Array) -> Array:
        """Return the weighted sum over rows, ``(K, K)``."""
        rooted = np.sqrt(weight)[:, None] * self.proba
        total: Array = -(rooted.T @ rooted)
        np.fill_diagonal(total, weight @ self.diagonal())
        return total

    def apply(self, move: Array) -> Array:
        """Multiply each row's matrix by that row of `move`, ``(m, K)``."""
        applied: Array = self.proba * move
        applied -= self.proba * applied.sum(axis=1)[:, None]
        return applied


class LabelScores(NamedTuple):
    """Given labels: the outer product r rᵀ, not centred. Observed labels give the empirical Fisher information."""

    residual: Array  # (m, K)

    def as_float32(self) -> LabelScores:
        """Return the same in float32."""
        return LabelScores(_scores_as_float32(self.residual))

    def diagonal(self) -> Array:
        """Return the diagonal for each row, ``(m, K)``."""
        return self.residual**2

    def outer(self) -> tuple[float, Array]:
        """Return (sign, u), u ``(m, K)``: off the diagonal, each row's matrix is sign u uᵀ."""
        return 1.0, self.residual

    def total(self, weight: Array) -> Array:
        """Return the weighted sum over rows, ``(K, K)``."""
        rooted = np.sqrt(weight)[:, None] * self.residual
        total: Array = rooted.T @ rooted
        return total

    def apply(self, move: Array) -> Array:
        """Multiply each row's matrix by that row of `move`, ``(m, K)``."""
        product: Array = (self.residual * move).sum(axis=1)
        return self.residual * product[:, None]
