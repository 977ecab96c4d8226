"""Likelihood of the categorical distribution in its logits, stable in both tails. Knows no features.

For q = 1 the single logit is that of class 1 against class 0; for q = K > 2 it is the symmetric softmax.
Everything that tends to 0 (the loss of a row fitted well, 1 - p of a sure class, its residual) is computed without
subtracting from 1, so it keeps its relative accuracy down to the smallest float. Nothing is computed before it is
asked for: a pass over the rows asks for little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._model.protocols import Scores
    from sknatgrad._typing import Array, Codes

# one minus a probability is computed as it stands while this much is left of it: that costs it 3 bits
UNSURE = 0.125
HALF = 0.5
# in float32, probabilities below this are 0
SMALLEST = 1e-20


class Prediction(Protocol):
    """Predicted distributions of a block."""

    @property
    def proba(self) -> Array:
        """The probabilities, ``(m, q)``; that of class 1 alone where q = 1."""
        ...

    def complement(self) -> Array:
        """Return 1 - proba without cancellation, ``(m, q)``."""
        ...

    def distribution(self) -> Array:
        """Return the probability of every class, ``(m, K)``."""
        ...

    def scores(self) -> Scores:
        """Return the covariance of the score over the model's own labels."""
        ...

    def log_proba(self) -> Array:
        """Return the log-probability of every class, ``(m, K)``."""
        ...

    def loss(self, codes: Codes) -> Array:
        """Return the negative log-likelihood of each row, ``(m,)`` nats."""
        ...

    def residual(self, codes: Codes) -> Array:
        """Return r = p - onehot(code), the derivative of the loss by the logits, ``(m, q)``."""
        ...


def predict(logits: Array) -> Prediction:
    """Return the distributions that logits ``(m, q)`` stand for."""
    return Sigmoid.of(logits) if logits.shape[1] == 1 else Softmax.of(logits)


@dataclass(frozen=True)
class Sigmoid:
    """Two classes: the smaller of the two probabilities is odds / (1 + odds)."""

    logits: Array  # (m, 1)
    odds: Array  # (m, 1), of the less probable class, at most 1
    larger: Array  # (m, 1), the larger probability

    @classmethod
    def of(cls, logits: Array) -> Sigmoid:
        """Return the distributions that `logits` stand for."""
        odds = np.abs(logits)
        np.exp(np.negative(odds, out=odds), out=odds)
        return cls(logits, odds, 1.0 / (1.0 + odds))

    @property
    def proba(self) -> Array:
        """The probability of class 1, ``(m, 1)``."""
        return np.where(self.logits >= 0, self.larger, self.odds * self.larger)

    def complement(self) -> Array:
        """Return the probability of class 0, ``(m, 1)``."""
        return np.where(self.logits >= 0, self.odds * self.larger, self.larger)

    def distribution(self) -> Array:
        """Return the probabilities of both classes, ``(m, 2)``."""
        return np.hstack([self.complement(), self.proba])

    def scores(self) -> BinaryScores:
        """Return p (1 - p)."""
        variance = self.odds * self.larger
        variance *= self.larger
        return BinaryScores(variance)

    def log_proba(self) -> Array:
        """Return the log-probabilities, ``(m, 2)``."""
        both: Array = np.minimum(np.hstack([-self.logits, self.logits]), 0.0) - np.log1p(self.odds)
        return both

    def loss(self, codes: Codes) -> Array:
        """Return the negative log-likelihood of each row, ``(m,)`` nats."""
        margin = self._sign(codes) * self.logits
        loss: Array = np.log1p(self.odds)
        loss -= np.minimum(margin, 0.0, out=margin)
        return loss[:, 0]

    def residual(self, codes: Codes) -> Array:
        """Return p - code, ``(m, 1)``."""
        sign = self._sign(codes)
        # what the row's own class lacks of 1: its odds against, or all of them, times the larger probability
        missing: Array = np.maximum(sign * self.logits, 0.0)
        np.exp(np.negative(missing, out=missing), out=missing)
        missing *= self.larger
        missing *= np.negative(sign, out=sign)
        return missing

    @staticmethod
    def _sign(codes: Codes) -> Any:
        """Return 1 for class 1 and -1 for class 0, ``(m, 1)``; to choose by them instead costs many times as much."""
        sign: Any = 2.0 * codes[:, None] - 1.0
        return sign


@dataclass(frozen=True)
class Softmax:
    """More classes: odds against the most probable class, which has p = 1 / (1 + others)."""

    shifted: Array  # (m, q), logits less the largest of the row
    proba: Array  # (m, q)
    others: Array  # (m,), sum of the odds of all but the most probable class

    @classmethod
    def of(cls, logits: Array) -> Softmax:
        """Return the distributions that `logits` stand for."""
        # a gap beyond the largest float is as good as that float, and stays finite
        with np.errstate(over="ignore"):
            shifted = logits - logits.max(axis=1)[:, None]
        np.maximum(shifted, np.finfo(logits.dtype).min, out=shifted)
        odds = np.exp(shifted)
        others = odds.sum(axis=1) - 1.0
        if others.min() < UNSURE:
            # without one of its ones, which is the largest entry, nothing cancels
            largest = shifted == 0.0
            others = np.where(largest, 0.0, odds).sum(axis=1)
            others += largest.sum(axis=1) - 1.0
        odds *= (1.0 / (1.0 + others))[:, None]
        return cls(shifted, odds, others)

    def complement(self) -> Array:
        """Return 1 - proba without cancellation, ``(m, K)``."""
        return _complement(self.proba, self.others)

    def distribution(self) -> Array:
        """Return the probabilities, ``(m, K)``."""
        return self.proba

    def scores(self) -> ModelScores:
        """Return diag(p) - p pᵀ."""
        return ModelScores(self.proba, self.others)

    def log_proba(self) -> Array:
        """Return the log-probabilities, ``(m, K)``."""
        # shifted is at least -1.8e308 and log1p(others) at most log(K): the difference cannot overflow
        log_proba: Array = self.shifted - np.log1p(self.others)[:, None]
        return log_proba

    def loss(self, codes: Codes) -> Array:
        """Return the negative log-likelihood of each row, ``(m,)`` nats."""
        loss: Array = np.log1p(self.others)
        loss -= self.shifted[np.arange(codes.size), codes]
        return loss

    def residual(self, codes: Codes) -> Array:
        """Return p - onehot(code), ``(m, K)``."""
        rows = np.arange(codes.size)
        residual = self.proba.copy(order="K")
        best = self.shifted[rows, codes] == 0.0
        residual[rows, codes] = -np.where(best, self.others / (1.0 + self.others), 1.0 - self.proba[rows, codes])
        return residual


def _complement(proba: Array, others: Array) -> Array:
    complement: Array = 1.0 - proba
    if others.min() < UNSURE:
        # more than half: that of the most probable class
        np.copyto(complement, (others / (1.0 + others))[:, None], where=proba > HALF)
    return complement


def _rounded(values: Array) -> Any:
    """Return values of at most about 1 in float32, and 0 for those whose products it holds too slowly or not at all."""
    return np.where(abs(values) < SMALLEST, 0.0, values).astype(np.float32, order="K")


@dataclass(frozen=True)
class BinaryScores:
    """One logit a row: the expectation of r² is a number, whoever took it."""

    variance: Array  # (m, 1)

    def rounded(self) -> BinaryScores:
        """Return the same in float32."""
        return BinaryScores(_rounded(self.variance))

    def diagonal(self) -> Array:
        """Return the number of each row, ``(m, 1)``."""
        return self.variance

    def outer(self) -> tuple[float, Array]:
        """Return (sign, u), u ``(m, 1)``: there is nothing off the diagonal."""
        return 1.0, np.sqrt(self.variance)

    def total(self, weight: Array) -> Array:
        """Return the weighted sum over rows, ``(1, 1)``."""
        total: Array = (weight @ self.variance)[:, None]
        return total

    def apply(self, move: Array) -> Array:
        """Multiply each row's number by that row of `move`, ``(m, 1)``."""
        return self.variance * move


@dataclass(frozen=True)
class ModelScores:
    """Expectation over the model's own labels, diag(p) - p pᵀ, for more than two classes. Gives the true Fisher."""

    proba: Array  # (m, K)
    others: Array  # (m,), as in `Softmax`

    def rounded(self) -> ModelScores:
        """Return the same in float32."""
        return ModelScores(_rounded(self.proba), _rounded(self.others))

    def diagonal(self) -> Array:
        """Return the diagonal for each row, ``(m, K)``."""
        variance = _complement(self.proba, self.others)
        variance *= self.proba
        return variance

    def outer(self) -> tuple[float, Array]:
        """Return (sign, u), u ``(m, K)``: off the diagonal, each row's matrix is sign u uᵀ."""
        return -1.0, self.proba

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


@dataclass(frozen=True)
class LabelScores:
    """Outer product r rᵀ at given labels, not centred: observed labels give the empirical Fisher."""

    residual: Array  # (m, K)

    def rounded(self) -> LabelScores:
        """Return the same in float32."""
        return LabelScores(_rounded(self.residual))

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
        slope: Array = (self.residual * move).sum(axis=1)
        return self.residual * slope[:, None]


def label_scores(prediction: Prediction, codes: Codes) -> Scores:
    """Return r rᵀ of each row at the labels `codes`."""
    residual = prediction.residual(codes)
    return BinaryScores(residual**2) if residual.shape[1] == 1 else LabelScores(residual)


@dataclass(frozen=True)
class TrueExpectation:
    """Labels as the model predicts them, in closed form."""

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:  # noqa: ARG002 - one signature for all three
        """Return the scores of a block."""
        return prediction.scores()


@dataclass(frozen=True)
class EmpiricalExpectation:
    """Labels as observed."""

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:  # noqa: ARG002 - one signature for all three
        """Return the scores of a block."""
        return label_scores(prediction, codes)


@dataclass(frozen=True)
class SampledExpectation:
    """One label a row, drawn from the model.

    The draw of a row depends on `seed` and on the row's index alone, not on how rows are cut into blocks, nor on
    the order in which blocks are done: a Philox counter is advanced to the row.
    """

    seed: int

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:  # noqa: ARG002 - one signature for all three
        """Return the scores of a block whose first row has index `start`."""
        return label_scores(prediction, self.labels(prediction, start))

    def labels(self, prediction: Prediction, start: int) -> Codes:
        """Return the drawn code of each row, ``(m,)``."""
        draw = self._uniform(start, prediction.proba.shape[0])
        if prediction.proba.shape[1] == 1:
            return (draw < prediction.proba[:, 0]).astype(np.intp)
        below = draw[:, None] > prediction.proba.cumsum(axis=1)
        drawn: Codes = np.minimum(below.sum(axis=1), prediction.proba.shape[1] - 1)
        return drawn

    def _uniform(self, start: int, size: int) -> Array:
        philox = np.random.Philox(self.seed)
        values_a_count = 4
        philox.advance(start // values_a_count)
        skipped = start % values_a_count
        return np.random.Generator(philox).random(skipped + size)[skipped:]


Expectation = TrueExpectation | EmpiricalExpectation | SampledExpectation
