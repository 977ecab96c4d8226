"""Likelihood of the categorical distribution in its logits, stable in both tails. Independent of the features.

For q = 1 the single logit is that of class 1 against class 0; for q = K > 2 it is the symmetric softmax. Quantities
that tend to 0 (the loss of a row fitted well, 1 - p of a nearly certain class, its residual) are computed without
subtraction from 1, so they keep their relative accuracy down to the smallest float. Each is computed only on request,
because a pass over the rows needs few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from sknatgrad._model.score_covariance import MIN_COMPLEMENT, BinaryScores, ModelScores

if TYPE_CHECKING:
    from sknatgrad._model.protocols import Scores
    from sknatgrad._typing import Array, Codes


class Prediction(Protocol):
    """Predicted distributions of a block."""

    @property
    def proba(self) -> Array:
        """The probabilities, ``(m, q)``; that of class 1 alone where q = 1."""
        ...

    def scores(self) -> Scores:
        """Return the covariance of the score under the model."""
        ...

    def log_proba(self) -> Array:
        """Return the log-probability of every class, ``(m, K)``."""
        ...

    def loss_and_residual(self, codes: Codes) -> tuple[Array, Array]:
        """Return the negative log-likelihood of each row, ``(m,)`` nats, and its gradient by the logits, ``(m, q)``.

        The gradient is r = p - onehot(code).
        """
        ...


LOWEST = np.finfo(np.float64).min


def predict(logits: Array) -> Prediction:
    """Return the distributions that logits ``(m, q)`` stand for."""
    return Sigmoid.of(logits) if logits.shape[1] == 1 else Softmax.of(logits)


def probabilities(logits: Array) -> Array:
    """Return the probability of every class, ``(m, K)``, without what losses and scores need.

    Each has its relative accuracy down to the smallest normal number.
    """
    if logits.shape[1] == 1:
        # 1 + the odds of the other class. An overflow gives the probability 0, which is then below 1e-308.
        both = np.empty((logits.shape[0], 2))
        both[:, :1] = logits
        np.negative(logits, out=both[:, 1:])
        with np.errstate(over="ignore"):
            np.exp(both, out=both)
        both += 1.0
        np.divide(1.0, both, out=both)
        return both
    # beyond the largest float a difference is infinite, and the probability 0
    with np.errstate(over="ignore"):
        proba: Array = np.subtract(logits, np.maximum.reduce(logits, axis=1)[:, None])
    np.exp(proba, out=proba)
    proba /= np.add.reduce(proba, axis=1)[:, None]
    return proba


class Sigmoid(NamedTuple):
    """Two classes: the smaller of the two probabilities is odds / (1 + odds)."""

    logits: Array  # (m, 1)
    odds: Array  # (m, 1), of the less probable class, at most 1
    larger: Array  # (m, 1), the larger probability
    smaller: Array  # (m, 1), the smaller one

    @classmethod
    def of(cls, logits: Array) -> Sigmoid:
        """Return the distributions that `logits` stand for."""
        odds = abs(logits)
        np.exp(np.negative(odds, out=odds), out=odds)
        larger = 1.0 + odds
        np.divide(1.0, larger, out=larger)
        return cls(logits, odds, larger, odds * larger)

    @property
    def proba(self) -> Array:
        """The probability of class 1, ``(m, 1)``."""
        return np.where(self.logits >= 0, self.larger, self.smaller)

    def scores(self) -> BinaryScores:
        """Return p (1 - p)."""
        return BinaryScores(self.smaller * self.larger)

    def log_proba(self) -> Array:
        """Return the log-probabilities, ``(m, 2)``."""
        both: Array = np.minimum(np.hstack([-self.logits, self.logits]), 0.0) - np.log1p(self.odds)
        return both

    def loss_and_residual(self, codes: Codes) -> tuple[Array, Array]:
        """Return the negative log-likelihood of each row, ``(m,)`` nats, and p - code, ``(m, 1)``."""
        # 1 for class 1 and -1 for class 0
        sign = 2.0 * codes[:, None] - 1.0
        margin = sign * self.logits
        # 1 - p of the row's class
        residual = np.where(margin >= 0.0, self.smaller, self.larger)
        residual *= np.negative(sign, out=sign)
        loss = np.log1p(self.odds)
        loss -= np.minimum(margin, 0.0, out=margin)
        return loss[:, 0], residual


class Softmax(NamedTuple):
    """Three classes or more: odds against the most probable class, which has p = 1 / (1 + others)."""

    shifted: Array  # (m, q), logits less the largest of the row
    proba: Array  # (m, q)
    others: Array  # (m,), sum of the odds of all but the most probable class

    @classmethod
    def of(cls, logits: Array) -> Softmax:
        """Return the distributions that `logits` stand for."""
        # a difference beyond the largest float is replaced by that float, and stays finite
        with np.errstate(over="ignore"):
            shifted = logits - np.maximum.reduce(logits, axis=1)[:, None]
        np.maximum(shifted, LOWEST, out=shifted)
        odds = np.exp(shifted)
        others = np.add.reduce(odds, axis=1) - 1.0
        if others.min() < MIN_COMPLEMENT:
            # summed without the entry of the most probable class, which is 1, nothing cancels
            largest = shifted == 0.0
            others = np.where(largest, 0.0, odds).sum(axis=1)
            others += largest.sum(axis=1) - 1.0
        odds *= (1.0 / (1.0 + others))[:, None]
        return cls(shifted, odds, others)

    def scores(self) -> ModelScores:
        """Return diag(p) - p pᵀ."""
        return ModelScores(self.proba, self.others)

    def log_proba(self) -> Array:
        """Return the log-probabilities, ``(m, K)``."""
        # shifted is at least -1.8e308 and log1p(others) at most log(K): the difference cannot overflow
        log_proba: Array = self.shifted - np.log1p(self.others)[:, None]
        return log_proba

    def loss_and_residual(self, codes: Codes) -> tuple[Array, Array]:
        """Return the negative log-likelihood of each row, ``(m,)`` nats, and p - onehot(code), ``(m, K)``."""
        own = np.arange(codes.size), codes
        shifted = self.shifted[own]
        loss = np.log1p(self.others)
        loss -= shifted
        residual = self.proba.copy(order="K")
        # p - 1 of the row's class
        residual[own] = np.where(shifted == 0.0, -self.others / (1.0 + self.others), self.proba[own] - 1.0)
        return loss, residual
