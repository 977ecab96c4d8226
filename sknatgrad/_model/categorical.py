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
    from sknatgrad._definitions import Array, Codes
    from sknatgrad._model.protocols import Scores


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
# The largest integer whose exponential is finite.
LARGEST_LOGIT = 709.0


def predict(logits: Array) -> Prediction:
    """Return the distributions that logits ``(m, q)`` stand for."""
    return Sigmoid(logits) if logits.shape[1] == 1 else Softmax.of(logits)


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


class Sigmoid:
    """Two classes: both probabilities of a row are computed from the odds of one class, exp(logit)."""

    def __init__(self, logits: Array) -> None:
        """Stand for logits, ``(m, 1)``."""
        self.logits = logits
        self._variance: Array | None = None  # (m, 1), once it is known

    @property
    def proba(self) -> Array:
        """The probability of class 1, ``(m, 1)``."""
        return probabilities(self.logits)[:, 1:]

    def scores(self) -> BinaryScores:
        """Return p (1 - p)."""
        if self._variance is None:
            _, proba, other, _ = _odds_and_probabilities(self.logits.copy())
            self._variance = np.multiply(proba, other, out=proba)
        return BinaryScores(self._variance)

    def log_proba(self) -> Array:
        """Return the log-probabilities, ``(m, 2)``."""
        both: Array = np.minimum(np.hstack([-self.logits, self.logits]), 0.0) - np.log1p(np.exp(-abs(self.logits)))
        return both

    def loss_and_residual(self, codes: Codes) -> tuple[Array, Array]:
        """Return the negative log-likelihood of each row, ``(m,)`` nats, and p - code, ``(m, 1)``."""
        # 1 for class 0 and -1 for class 1: the sign of the residual, whose size is p of the other class
        sign = np.multiply(-2.0, codes)[:, None]
        sign += 1.0
        odds, residual, own, excess = _odds_and_probabilities(self.logits * sign)
        loss = np.log1p(odds, out=odds)
        if excess is not None:
            loss += excess
        self._variance = np.multiply(own, residual, out=own)
        residual *= sign
        return loss[:, 0], residual


def _odds_and_probabilities(logits: Array) -> tuple[Array, Array, Array, Array | None]:
    """Return the odds exp(logit), their probability, that of the other class, and by how much logits were clipped.

    No probability is a difference, so all keep their relative accuracy down to the smallest normal number. Overwrites
    the logits. Those whose odds would overflow are clipped; None if there are none.
    """
    excess = None
    # NaN too is above: it must not hide others
    if not np.maximum.reduce(logits, axis=None, initial=0.0) <= LARGEST_LOGIT:
        excess = np.maximum(logits, LARGEST_LOGIT)
        excess -= LARGEST_LOGIT
        np.minimum(logits, LARGEST_LOGIT, out=logits)
    odds = np.exp(logits, out=logits)
    other = odds + 1.0
    np.divide(1.0, other, out=other)
    proba = odds * other
    if excess is not None:
        other *= np.exp(-excess)
    return odds, proba, other, excess


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
