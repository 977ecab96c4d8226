"""Separation: whether the maximum of the likelihood exists.

A direction V of the coefficients, with a vector V_k for each class k, separates rows if its margins
m_k = (V_y − V_k)ᵀ x are at least 0 for every row x with label y and every other class k, and positive for some row.
The likelihood then always increases along V and has no maximum. Without such a direction it has one: A. Albert, J. A.
Anderson, "On the existence of maximum likelihood estimates in logistic regression models", Biometrika 71(1), 1984.
Separation is complete if some direction has only positive margins; otherwise the classes are separated in part.

Four methods detect it, from the cheapest to the most expensive:

- *The largest loss of a row*, at any θ. If it is below log 2 nats, the own class of each row has more than half of the
  probability, so θ itself has only positive margins: `is_completely_separated`.
- *The curvature near the optimum.* Let θ be δ standard errors from the optimum, C = Vᵀ F V, and s the weight of a row.
  The loss falls along V at the rate Σ s p_k m_k, which is at most δ √C by the inequality of Cauchy and Schwarz. C is at
  most Σ s p_k m_k², so at most the largest margin M times that rate. Hence C ≤ δ² M²: a separating direction has
  almost no curvature, and `may_be_separable` compares the least curvature of all directions with this bound.
- *A Newton step near the optimum.* Along a separating direction the probability of the wrong class falls as exp(−t).
  Slope f′ and curvature f″ of the loss are both proportional to it, so the step f′ / f″ moves the separated rows by
  one nat, however small the remaining decrease. Steps along all other directions vanish: `separated_by_step`.
- *A linear program* in the margins, which decides for any θ: K. Konis, "Linear programming algorithms for detecting
  separated data in binary logistic regression models", thesis, University of Oxford, 2007: `separating_direction`.

Margins are differences of logits, and so in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import optimize

from sknatgrad._model.categorical import predict
from sknatgrad._model.information.symmetric import equilibrate, noise_floor
from sknatgrad._rows.design import Design
from sknatgrad._rows.matrices import pick_rows, take_rows

if TYPE_CHECKING:
    from sknatgrad._rows.source import RowBlock, RowSource
    from sknatgrad._typing import Array, Codes, Matrix

# nats: the loss of a row whose own class has half of the probability
SEPARATED_LOSS = math.log(2.0)

# Standard errors from the optimum up to which `may_be_separable` holds, and their square: the largest curvature of a
# separating direction, relative to the squares of its logits.
NEAR_OPTIMUM = 0.1
MAX_CURVATURE = 0.01

# The four thresholds of `separated_by_step`. With them, 300 fits to random data of 2 and 3 classes, 131 of them
# separated in part, agreed with the linear program.
# Nats by which the step moves a separated row, at least: half of the nat of the theory. 0.1 to 0.9 made no difference.
MIN_MARGIN = 0.5
# Probability of the other class in a separated row, at most: the law exp(−t) holds where it is small. 0.01 to 0.5 made
# no difference.
MAX_PROBABILITY = 0.1
# Share of the separated rows in the KL divergence of the step, at least; otherwise it mostly moves other rows. 0.02 to
# 0.2 made no difference, 0.4 missed 5 separated sets of rows.
MIN_KL_SHARE = 0.2
# Remaining decrease relative to the loss, at most, so that the step is near the optimum. 1e-9 to 1e-4 made no
# difference.
MAX_DECREASE = 1e-6
# Columns that a message names, at most, so that it stays readable, and their part in the step relative to the first, at
# least.
MAX_NAMED_COLUMNS = 3
MIN_NAMED_SHARE = 0.1

# Relative to the sum of the sizes of a row's numbers: smaller margins are rounding. HiGHS, the solver of scipy, allows
# constraints to be violated by 1e-7.
MARGIN_TOLERANCE = 1e-6


def is_completely_separated(max_loss: float) -> bool:
    """Say whether the own class of every row has more than half of the probability.

    Then the coefficients separate the classes, and twice the coefficients fit better.

    Parameters
    ----------
    max_loss : float
        The largest loss of a row with positive weight, in nats.
    """
    return max_loss < SEPARATED_LOSS


class SeparationStatistics(NamedTuple):
    """The rows that a Newton step separates from another class."""

    n_rows: int
    max_margin: float  # nats
    sizes: Array  # (d,), Σ |x_j| over them
    kl: float  # KL divergence of their predictions before and after the step, to second order, nats

    def separates(self, decrement: float) -> bool:
        """Say whether such rows exist and have a large share in the step.

        Parameters
        ----------
        decrement : float
            The decrease of the loss that the step predicts, in nats. Without a penalty it is the KL divergence of all
            rows.
        """
        return self.n_rows > 0 and self.kl > MIN_KL_SHARE * decrement

    def columns(self, step: Array) -> list[int]:
        """Return the few columns with the largest part in the step, ``(q, d)``."""
        shares = abs(step).max(axis=0) * self.sizes
        largest = np.argsort(-shares, kind="stable")[:MAX_NAMED_COLUMNS]
        return [int(j) for j in largest if shares[j] >= MIN_NAMED_SHARE * shares.max()]


@dataclass(frozen=True)
class SeparationKernel:
    """Statistics of the rows that a Newton step separates from another class."""

    theta: Array  # (q, d)
    step: Array  # (q, d)

    def __call__(self, block: RowBlock) -> SeparationStatistics:
        """Return the statistics of one block."""
        design = Design.of_block(block, self.step.shape[1])
        logits = design.logits(self.step)
        # nearly always there are none, and the probabilities are not needed
        candidates = np.flatnonzero((abs(logits).max(axis=1) > 0.5 * MIN_MARGIN) & (block.weight > 0))
        if not candidates.size:
            return SeparationStatistics(0, 0.0, np.zeros(self.step.shape[1]), 0.0)
        moved, logits, codes = design.rows(candidates), logits[candidates], block.codes[candidates]
        prediction = predict(moved.logits(self.theta))
        # one logit a class, that of class 0 being 0
        by_class = np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits
        rows, other = np.arange(candidates.size), by_class.argmin(axis=1)
        margin = by_class[rows, codes] - by_class[rows, other]
        separated = (margin > MIN_MARGIN) & (prediction.distribution()[rows, other] < MAX_PROBABILITY)
        kl = 0.5 * block.weight[candidates] * (logits * prediction.scores().apply(logits)).sum(axis=1)
        sizes = moved._replace(X=abs(moved.X)).transposed_product(separated[:, None].astype(np.float64))[0]
        max_margin = float(margin.max(initial=0.0, where=separated))
        return SeparationStatistics(int(separated.sum()), max_margin, sizes, float(kl[separated].sum()))

    def merge(self, left: SeparationStatistics, right: SeparationStatistics) -> SeparationStatistics:
        """Pool two runs of rows."""
        return SeparationStatistics(
            n_rows=left.n_rows + right.n_rows,
            max_margin=max(left.max_margin, right.max_margin),
            sizes=left.sizes + right.sizes,
            kl=left.kl + right.kl,
        )


def separated_by_step(
    source: RowSource, theta: Array, step: Array, decrement: float, loss: float = np.inf
) -> SeparationStatistics | None:
    """Return the statistics of the rows that a Newton step near the optimum separates; None if there are none.

    Parameters
    ----------
    theta, step : ndarray of shape (q, d)
        Where the step begins, and the step.

    decrement : float
        The decrease of the loss that the step predicts, in nats.

    loss : float
        The loss, in nats: with a decrement above `MAX_DECREASE` of it, θ is not near the optimum and the result None.
        Infinity, the default, if θ is known to be near.
    """
    if decrement > MAX_DECREASE * loss:
        return None
    statistics = source.total(SeparationKernel(theta, step))
    return statistics if statistics.separates(decrement) else None


def may_be_separable(fisher: Array, gram: Array, n_classes: int) -> bool:
    """Say whether the curvature allows a separating direction, within `NEAR_OPTIMUM` of the optimum.

    C ≤ δ² M², as the module says, where M² is at most the sum of the squares of V's logits over rows for one logit and
    at most twice that for several; 2 (K + 1) times that is used. The distance δ is in units of the smallest weight.

    Parameters
    ----------
    fisher : ndarray of shape ((K - 1) d, (K - 1) d)
        Fisher information of the contrasts.

    gram : ndarray of shape (d, d)
        Sum of s x xᵀ over rows.

    n_classes : int
        K.
    """
    scale = equilibrate(gram)
    values, vectors = np.linalg.eigh(scale[:, None] * gram * scale)
    kept = values > noise_floor(len(gram)) * max(values[-1], 1.0)
    columns = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    n_contrasts = n_classes - 1
    # of contrasts, the squares of logits that sum to zero over classes
    squares = np.eye(n_contrasts) - (1.0 / n_classes if n_contrasts > 1 else 0.0)
    basis = np.kron(np.linalg.inv(np.linalg.cholesky(squares)).T, columns)
    least = np.linalg.eigvalsh(basis.T @ fisher @ basis)[0]
    return bool(least <= MAX_CURVATURE * (2 * (n_classes + 1) if n_contrasts > 1 else 1))


class SeparatingDirection(NamedTuple):
    """A direction of the coefficients that separates rows by class."""

    direction: Array  # (K - 1, d), contrasts against class 0
    sizes: Array  # (K - 1, d), sizes of its entries in units of the columns
    n_rows: int  # rows that have a positive margin
    complete: bool  # whether all margins of all rows are positive

    def largest(self, n_entries: int) -> tuple[list[tuple[int, int]], int]:
        """Return (contrast, column) of the largest entries, and how many further ones are not rounding."""
        floor = MARGIN_TOLERANCE * self.sizes.max()
        order = np.argsort(-self.sizes, axis=None)[:n_entries]
        entries = [divmod(int(place), self.sizes.shape[1]) for place in order if self.sizes.flat[place] > floor]
        return entries, int((self.sizes > floor).sum()) - len(entries)


def is_program_small(n_rows: int, n_columns: int, n_classes: int, program_size: int) -> bool:
    """Say whether the constraints of the linear program have at most `program_size` numbers."""
    return n_rows * (n_classes - 1) ** 2 * n_columns <= program_size


def separating_direction(
    X: Matrix, codes: Codes, weight: Array, n_columns: int, n_classes: int
) -> SeparatingDirection | None:
    """Return a direction that separates some rows of positive weight, or None, by a linear program."""
    weighted = np.flatnonzero(weight > 0)
    design = Design.of(take_rows(pick_rows(X, weighted), 0, len(weighted)), n_columns).dense()
    n_features = X.shape[1]
    scale, means = _standardise(design, n_features)
    pairs = _margins(design, codes[weighted], n_classes)
    largest = np.abs(pairs).sum(axis=1)
    # the least margin, if it can be positive: all rows; otherwise the sum of all margins, none of them negative
    for least in (True, False):
        found = _largest_margins(pairs, least=least)
        margins = pairs @ found
        moved = (margins > MARGIN_TOLERANCE * largest).reshape(weighted.size, n_classes - 1)
        feasible = not (margins < -MARGIN_TOLERANCE * largest).any()
        if feasible and (moved.all() if least else moved.any()):
            found = found.reshape(n_classes - 1, n_columns)
            direction = found * scale
            if n_columns > n_features:
                direction[:, -1] -= direction[:, :-1] @ means
            return SeparatingDirection(direction, np.abs(found), int(moved.any(axis=1).sum()), bool(moved.all()))
    return None


def _standardise(design: Array, n_features: int) -> tuple[Array, Array]:
    """Centre and scale a design ``(m, d)`` in place; return factors ``(d,)`` and means ``(p,)`` of its columns.

    Columns are centred only where there is an intercept, which absorbs their means: they may be much larger than the
    differences between rows.
    """
    n_columns = design.shape[1]
    means = design[:, :n_features].mean(axis=0) if n_columns > n_features else np.zeros(n_features)
    design[:, :n_features] -= means
    sizes = np.sqrt((design**2).mean(axis=0))
    scale = np.divide(1.0, sizes, out=np.zeros(n_columns), where=sizes > 0)
    design *= scale
    return scale, means


def _margins(design: Array, codes: Codes, n_classes: int) -> Array:
    """Return the matrix ``(m (K - 1), (K - 1) d)`` whose product with V is the margins (V_y − V_k)ᵀ x."""
    n_rows, n_columns = design.shape
    n_contrasts = n_classes - 1
    pairs = np.zeros((n_rows, n_contrasts, n_contrasts, n_columns))
    for index in range(n_contrasts):
        # the index-th class that is not the row's own
        others = index + (codes <= index)
        for classes, sign in ((codes, 1.0), (others, -1.0)):
            rows = np.flatnonzero(classes > 0)
            pairs[rows, index, classes[rows] - 1] += sign * design[rows]
    return pairs.reshape(n_rows * n_contrasts, -1)


def _largest_margins(pairs: Array, *, least: bool) -> Array:
    """Return the direction, in the unit cube, of the largest least margin, or of the largest sum of margins >= 0."""
    n_pairs, n_params = pairs.shape
    if least:
        solved = optimize.linprog(
            np.append(np.zeros(n_params), -1.0),
            A_ub=np.column_stack([-pairs, np.ones(n_pairs)]),
            b_ub=np.zeros(n_pairs),
            bounds=[(-1.0, 1.0)] * n_params + [(0.0, 1.0)],
            method="highs",
        )
    else:
        solved = optimize.linprog(
            -pairs.sum(axis=0), A_ub=-pairs, b_ub=np.zeros(n_pairs), bounds=(-1.0, 1.0), method="highs"
        )
    return np.asarray(solved.x)[:n_params]
