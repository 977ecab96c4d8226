"""Separation: whether the maximum of the likelihood exists.

A direction V of the coefficients, with a vector V_k for each class k, separates rows if its margins
m_k = (V_y − V_k)ᵀ x are at least 0 for every row x with label y and every other class k, and positive for some row.
The likelihood then always increases along V and has no maximum. Without such a direction it has one: A. Albert, J. A.
Anderson, "On the existence of maximum likelihood estimates in logistic regression models", Biometrika 71(1), 1984.
Separation is complete if some direction has only positive margins; otherwise the classes are separated in part.

Three methods decide, from the cheapest to the most expensive:

- *The largest loss of a row*, at any θ. If it is below log 2 nats, the own class of each row has more than half of the
  probability, so θ itself has only positive margins: `is_completely_separated`.
- *A Newton step*, at any θ, proves that nothing is separated: `StepStatistics.rules_out_separation`. The step u solves
  F u = −g. With p_k the probabilities of a row, s its weight, u_k its logits along the step and ū their mean Σ p_k u_k,
  that equation is Σ s p_k (1 + u_k − ū) (V_y − V_k)ᵀ x = 0 for every V, summed over all rows and other classes k. If
  every factor 1 + u_k − ū is positive, all margins along V can only be zero or of both signs. So along a separating
  direction each Newton step moves some row by one nat or more, while near an optimum steps vanish.
- *A linear program* in the margins: K. Konis, "Linear programming algorithms for detecting separated data in binary
  logistic regression models", thesis, University of Oxford, 2007. `separation_search` solves it on a few rows at a time
  and checks the direction on all rows in rational arithmetic.

Where the program is too large, a Newton step near the optimum is the only sign of a direction: the probability of the
wrong class falls as exp(−t) along it. Slope f′ and curvature f″ of the loss are both proportional to it, so the step
f′ / f″ moves the separated rows by one nat, however small the remaining decrease: `separated_by_step`.

Margins are differences of logits, and so in nats.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.categorical import predict, probabilities
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._rows.source import RowBlock, RowSource

# nats: the loss of a row whose own class has half of the probability
SEPARATED_LOSS = math.log(2.0)

# Standard errors from the optimum up to which `separated_by_step` is asked.
NEAR_OPTIMUM = 0.1
# Nats by which a step may move a row to its own class for the step to prove anything; the theory allows 1, and rounding
# takes a part. 0.1 to 0.9 decided the same of 1,000 tables.
MAX_SHIFT = 0.5
# Probability of another class, times the weight relative to the largest weight, below which the rounding of F and g may
# hide the step along a direction that moves such rows, unless F is known to be well conditioned. 1e-8 and 1e-4 decided
# the same 1,000 tables alike.
MIN_RESOLVED = 1e-6

# Prior precision of a feature, in units of its coefficient, up to which the fit may be meant as one without a penalty:
# C of 1e5 and more.
MAX_WEAK_PRECISION = 1e-5
# Mean probability of the wrong classes in separated rows up to which the penalty hardly penalises. Along a separating
# direction V with margins m it is Vᵀ Λ θ / m for each row: 1e-5 for one row at C = 1e6 and a coefficient of 10.
MAX_WRONG_PROBABILITY = 1e-4
# Margin relative to the sizes of its terms that is not rounding.
MIN_RELATIVE_MARGIN = 1e-9

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
MAX_DECREASE = 1e-4
# Columns that a message names, at most, so that it stays readable, and their part in the step relative to the first, at
# least.
MAX_NAMED_COLUMNS = 3
MIN_NAMED_SHARE = 0.1


def is_completely_separated(max_loss: float) -> bool:
    """Say whether the own class of every row has more than half of the probability.

    Then the coefficients separate the classes, and twice the coefficients fit better.

    Parameters
    ----------
    max_loss : float
        The largest loss of a row with positive weight, in nats.
    """
    return max_loss < SEPARATED_LOSS


class StepStatistics(NamedTuple):
    """How far a Newton step moves rows to their own class, and how small the probabilities of other classes are."""

    max_shift: float  # nats, the largest ū − u_k of a row and a class k other than its own
    min_probability: float  # the smallest p_k times the weight of the row
    max_weight: float

    def rules_out_separation(self, squared_error: float = 0.0, *, well_conditioned: bool = False) -> bool:
        """Say whether the step proves that no direction separates rows.

        Parameters
        ----------
        squared_error : float
            ‖e‖² of the error e of the step in the norm of F, nats. It is at least s p_k (e_k − ē)² for each row, so the
            shifts of the exact step are larger by at most √(‖e‖² / min s p_k).

        well_conditioned : bool
            Whether F is, so that the step is accurate in all directions whatever the probabilities.
        """
        resolved = self.min_probability >= MIN_RESOLVED * self.max_weight
        # the error may take half of `MAX_SHIFT`
        if squared_error > 0.0 and not 4.0 * squared_error < MAX_SHIFT**2 * self.min_probability:
            return False
        return self.max_shift < MAX_SHIFT and (well_conditioned or resolved)


@record
class StepKernel:
    """The `StepStatistics` of rows; bounds of them where these suffice, without probabilities."""

    theta: Array  # (q, d)
    step: Array  # (q, d)
    well_conditioned: bool = False  # whether the probabilities of the other classes do not matter

    def __call__(self, block: RowBlock) -> StepStatistics:
        """Return the statistics of one block."""
        counts = block.weight > 0
        max_weight = float(block.weight.max(initial=0.0))
        design = Design.of_block(block, self.step.shape[1])
        moves = design.logits(self.step)
        bound = 2.0 * float(abs(moves).max(initial=0.0))
        if bound < MAX_SHIFT and self.well_conditioned:
            return StepStatistics(bound, 0.0, max_weight)
        by_class, proba = _by_class(moves), probabilities(design.logits(self.theta))
        shifts = (proba * by_class).sum(axis=1)[:, None] - by_class
        other = counts[:, None] & (np.arange(proba.shape[1]) != block.codes[:, None])
        weighted = proba * block.weight[:, None]
        return StepStatistics(
            float(shifts.max(initial=0.0, where=other)), float(weighted.min(initial=np.inf, where=other)), max_weight
        )

    def merge(self, left: StepStatistics, right: StepStatistics) -> StepStatistics:
        """Pool two runs of rows."""
        return StepStatistics(
            max(left.max_shift, right.max_shift),
            min(left.min_probability, right.min_probability),
            max(left.max_weight, right.max_weight),
        )


@record
class WrongProbabilityKernel:
    """Sums over rows with a positive margin: of the probabilities of the classes so separated, and of the weights."""

    theta: Array  # (q, d)
    direction: Array  # (q, d), for the same rows

    def __call__(self, block: RowBlock) -> Array:
        """Return both sums of one block, ``(2,)``."""
        design = Design.of_block(block, self.theta.shape[1])
        by_class = _by_class(design.logits(self.direction))
        sizes = _by_class(design._replace(X=abs(design.X)).logits(abs(self.direction)))
        rows = np.arange(len(block.codes))
        margins = by_class[rows, block.codes][:, None] - by_class
        separated = margins > MIN_RELATIVE_MARGIN * sizes.max(axis=1)[:, None]
        wrong = np.where(separated, probabilities(design.logits(self.theta)), 0.0).sum(axis=1)
        return np.array([block.weight @ wrong, block.weight @ separated.any(axis=1)])

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


def is_hardly_penalised(source: RowSource, theta: Array, direction: Array) -> bool:
    """Say whether the rows that a direction separates have almost no probability of the wrong classes at θ."""
    wrong, weight = source.total(WrongProbabilityKernel(theta, direction)).tolist()
    return bool(wrong <= MAX_WRONG_PROBABILITY * weight)


def _by_class(logits: Array) -> Array:
    """Return one logit a class, that of class 0 being 0 where there is one in all."""
    return np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


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


@record
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
        logits_at_theta = moved.logits(self.theta)
        by_class = _by_class(logits)
        rows, other = np.arange(candidates.size), by_class.argmin(axis=1)
        margin = by_class[rows, codes] - by_class[rows, other]
        separated = (margin > MIN_MARGIN) & (probabilities(logits_at_theta)[rows, other] < MAX_PROBABILITY)
        kl = 0.5 * block.weight[candidates] * (logits * predict(logits_at_theta).scores().apply(logits)).sum(axis=1)
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
