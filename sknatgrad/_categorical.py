"""Likelihood of the categorical distribution in its logits, stable in both tails. Knows no features.

For q = 1 the single logit is that of class 1 against class 0; for q = K > 2 it is the symmetric softmax.
Everything that tends to 0 (the loss of a row fitted well, 1 - p of a sure class, its residual) is computed without
subtracting from 1, so it keeps its relative accuracy down to the smallest float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes, Scores


class Prediction(NamedTuple):
    """Predicted distributions of a block."""

    proba: Array  # (m, q); class 1 alone where q = 1
    complement: Array  # (m, q), 1 - proba without cancellation
    log_proba_of: Array  # (m, K)

    def loss(self, codes: Codes) -> Array:
        """Return the negative log-likelihood of each row, ``(m,)`` nats."""
        return -self.log_proba_of[np.arange(codes.size), codes]

    def residual(self, codes: Codes) -> Array:
        """Return r = p - onehot(code), the derivative of the loss by the logits, ``(m, q)``."""
        rows = np.arange(codes.size)
        if self.proba.shape[1] == 1:
            return np.where(codes[:, None] == 1, -self.complement, self.proba)
        residual = self.proba.copy()
        residual[rows, codes] = -self.complement[rows, codes]
        return residual


def predict(logits: Array) -> Prediction:
    """Return the distributions that logits ``(m, q)`` stand for."""
    return _sigmoid(logits) if logits.shape[1] == 1 else _softmax(logits)


def _sigmoid(logits: Array) -> Prediction:
    small = np.exp(-np.abs(logits))
    large_side = 1.0 / (1.0 + small)
    small_side = small / (1.0 + small)
    positive = logits >= 0
    log_normaliser = np.log1p(small)
    log_proba = np.minimum(np.hstack([-logits, logits]), 0.0) - log_normaliser
    return Prediction(np.where(positive, large_side, small_side), np.where(positive, small_side, large_side), log_proba)


def _softmax(logits: Array) -> Prediction:
    rows = np.arange(logits.shape[0])
    best = logits.argmax(axis=1)
    # a gap beyond the largest float is as good as that float, and stays finite
    with np.errstate(over="ignore"):
        shifted = np.maximum(logits - logits[rows, best, None], np.finfo(logits.dtype).min)
    odds = np.exp(shifted)
    odds[rows, best] = 0.0
    others = odds.sum(axis=1)
    odds[rows, best] = 1.0
    proba = odds / (1.0 + others)[:, None]
    complement = 1.0 - proba
    complement[rows, best] = others / (1.0 + others)
    # shifted is at most -1.8e308 and log1p(others) at most log(K): the difference cannot overflow
    return Prediction(proba, complement, shifted - np.log1p(others)[:, None])


@dataclass(frozen=True)
class ModelScores:
    """Expectation over the model's own labels: diag(p) - p pᵀ, or p(1 - p) where q = 1. Gives the true Fisher."""

    proba: Array  # (m, q)
    complement: Array  # (m, q)

    def pair(self, k: int, l: int) -> Array:
        """Return entry (k, l) for each row, ``(m,)``."""
        return self.proba[:, k] * (self.complement[:, k] if k == l else -self.proba[:, l])

    def diagonal(self) -> Array:
        """Return the diagonal for each row, ``(m, q)``."""
        return self.proba * self.complement

    def total(self, weight: Array) -> Array:
        """Return the weighted sum over rows, ``(q, q)``."""
        total = -(self.proba.T * weight) @ self.proba
        np.fill_diagonal(total, weight @ self.diagonal())
        return 0.5 * (total + total.T)

    def apply(self, move: Array) -> Array:
        """Multiply each row's matrix by that row of `move`, ``(m, q)``."""
        if self.proba.shape[1] == 1:
            return self.diagonal() * move
        expected: Array = (self.proba * move).sum(axis=1, keepdims=True)
        return self.proba * (move - expected)


@dataclass(frozen=True)
class LabelScores:
    """Outer product r rᵀ at given labels, not centred: observed labels give the empirical Fisher."""

    residual: Array  # (m, q)

    def pair(self, k: int, l: int) -> Array:
        """Return entry (k, l) for each row, ``(m,)``."""
        return self.residual[:, k] * self.residual[:, l]

    def diagonal(self) -> Array:
        """Return the diagonal for each row, ``(m, q)``."""
        return self.residual**2

    def total(self, weight: Array) -> Array:
        """Return the weighted sum over rows, ``(q, q)``."""
        total = (self.residual.T * weight) @ self.residual
        return 0.5 * (total + total.T)

    def apply(self, move: Array) -> Array:
        """Multiply each row's matrix by that row of `move`, ``(m, q)``."""
        slope: Array = (self.residual * move).sum(axis=1, keepdims=True)
        return self.residual * slope


@dataclass(frozen=True)
class TrueExpectation:
    """Labels as the model predicts them, in closed form."""

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:  # noqa: ARG002 - one signature for all three
        """Return the scores of a block."""
        return ModelScores(prediction.proba, prediction.complement)


@dataclass(frozen=True)
class EmpiricalExpectation:
    """Labels as observed."""

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:  # noqa: ARG002 - one signature for all three
        """Return the scores of a block."""
        return LabelScores(prediction.residual(codes))


@dataclass(frozen=True)
class SampledExpectation:
    """One label a row, drawn from the model.

    The draw of a row depends on `seed` and on the row's index alone, not on how rows are cut into blocks, nor on
    the order in which blocks are done: a Philox counter is advanced to the row.
    """

    seed: int

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:  # noqa: ARG002 - one signature for all three
        """Return the scores of a block whose first row has index `start`."""
        draw = self._uniform(start, prediction.proba.shape[0])
        if prediction.proba.shape[1] == 1:
            drawn = (draw < prediction.proba[:, 0]).astype(np.intp)
        else:
            below = draw[:, None] > prediction.proba.cumsum(axis=1)
            drawn = np.minimum(below.sum(axis=1), prediction.proba.shape[1] - 1)
        return LabelScores(prediction.residual(drawn))

    def _uniform(self, start: int, size: int) -> Array:
        philox = np.random.Philox(self.seed)
        values_a_count = 4
        philox.advance(start // values_a_count)
        skipped = start % values_a_count
        return np.random.Generator(philox).random(skipped + size)[skipped:]


Expectation = TrueExpectation | EmpiricalExpectation | SampledExpectation
