"""The loss itself, minimised over the plane of a quasi-Newton direction and the previous step.

The logits of all rows are known along steps that were taken, so a new direction costs one reading of the rows, for its
own logits. The minimum over its plane with the previous step then costs none, and the gradient there one more. On a
quadratic these are conjugate gradients, and each product also moves the point: Newton-CG reads the rows twice for every
product and twice more for every point. Far from the optimum the search sees the saturation that no quadratic model
represents. Narkiss and Zibulevsky (2005), "Sequential subspace optimization method for large-scale unconstrained
problems", with the two steps of A. Knyazev (2001), "Toward the optimal preconditioned eigensolver".

The metric is the diagonal of F at zero, which costs no sample. So columns must be well conditioned: along a direction
whose curvature a diagonal overestimates a thousand times, the decrease that remains is invisible to every estimate.
`trusts_columns` looks for such directions in a few rows, which it chooses by their logits: another order of the rows
gives the same choice, and the same path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from scipy.linalg import lapack

from sknatgrad._definitions import record
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DiagonalInformation
from sknatgrad._model.kernels import Sums
from sknatgrad._model.layout import zero_sum
from sknatgrad._model.plane_kernels import (
    CurvatureKernel,
    LikelihoodKernel,
    LogitsKernel,
    MomentsKernel,
    PlaneKernel,
    TransposedProductKernel,
    combined,
)
from sknatgrad._model.score_covariance import MAX_VARIANCE
from sknatgrad._solver.cost_model import MAX_SEARCHED_SHARE, SEARCHED_ROWS_PER_COLUMN
from sknatgrad._solver.penalised_loss import ObjectiveOfRows
from sknatgrad._solver.quasi_newton import QuasiNewtonMemory
from sknatgrad._solver.records import Direction, NewtonDecrement
from sknatgrad._solver.step import PARALLEL
from sknatgrad._solver.stopping import LOSS_ROUNDING

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes
    from sknatgrad._model.prior import Prior
    from sknatgrad._model.protocols import FactorisedPrecision, PooledInformation
    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._solver.plan import Plan
    from sknatgrad._solver.quasi_newton import ObservedProblem, QuasiNewtonObjective
    from sknatgrad._solver.records import Measured
    from sknatgrad._solver.step import Proposal
    from sknatgrad._solver.stopping import FinalTolerance

# Bytes of a block in units of others, where a pass reads its values once: they need not stay in a cache. With one
# thread 20,000 x 1,000 takes 154 ms with 1, 147 with 2, 4 and 8; with two threads 110, 100, 108 and 118.
SEARCH_BLOCKS = 2
# Share of the previous decrement above which the error falls too slowly.
SLOW = 0.4
# Decrease that the quadratic model predicts, as a share of the loss, up to which its minimum is that of the loss.
QUADRATIC = 1e-5
# Decrease that remains in the plane, as a share of that so far, at which the search ends; and points of it at most.
REMAINING, MAX_POINTS = 1e-3, 12
# Smallest eigenvalue of F + Λ of the sample, at a unit diagonal. With 2 rows for each, independent columns have 0.09.
MIN_EIGENVALUE = 0.02
# Columns up to which rows at hand are asked first, and the share of that eigenvalue below which they refuse: another
# order of the rows changes the eigenvalue by much less.
MAX_REFUSED, CLEARLY = 512, 0.25
# Multiple of a logit, in units of their root mean square, whose fraction says whether a row is in the sample.
SPREAD = 1e4
# Difference of θ, relative to its size, up to which its logits are those of a known point.
ROUNDING = 1e-12


class KnownPoint(NamedTuple):
    """A point, and numbers of all rows there."""

    theta: Array  # (1, d)
    logits: Array  # (n,)
    variance: Array  # (n,), s p (1 - p)


@dataclass
class PlaneSearchMemory(QuasiNewtonMemory):
    """What the steps so far have shown, and the logits of all rows at the points and along the steps."""

    slow: float = SLOW
    usable: bool = False  # True from the moment that the columns are trusted, until the fallback takes over
    start: Measured | None = None  # zero, measured before the descent
    first_logits: Array | None = None  # (n,), along the direction at zero
    points: list[KnownPoint] = field(default_factory=list)  # where a step begins and ends
    previous: tuple[Array, Array] | None = None  # the last step, (1, d), and its logits, (n,)

    def known(self, theta: Array) -> KnownPoint | None:
        """Return θ with its logits, if it was measured."""
        return next((point for point in self.points if point.theta is theta), None)

    def logits_at(self, theta: Array) -> Array | None:
        """Return the logits at θ, if it was measured, or is but for rounding the end of the last step."""
        known = self.known(theta)
        if known is not None:
            return known.logits
        if self.previous is None:
            return None
        base, (move, along) = self.points[0], self.previous
        if abs(theta - base.theta - move).max() > ROUNDING * (abs(base.theta).max() + abs(move).max()):
            return None
        return base.logits + along


@record
class PlaneSearchObjective(ObjectiveOfRows):
    """The metric is the diagonal of F at zero, updated by the gradients along the steps."""

    plan: Plan
    final_tolerance: FinalTolerance
    fallback: QuasiNewtonObjective | ObservedProblem
    memory: PlaneSearchMemory = field(default_factory=PlaneSearchMemory)  # changes with every step

    @property
    def corrections(self) -> int:
        """How many times the final step is corrected: once, by the same updated metric."""
        return 1 if self.memory.usable else self.fallback.corrections

    @property
    def contraction(self) -> float:
        """Share of the error that a step leaves at least: no more than rounding is known beforehand."""
        return LOSS_ROUNDING if self.memory.usable else self.fallback.contraction

    @property
    def negligible_error(self) -> float:
        """Excess of the loss over its minimum that the final step may leave, as a share of the loss."""
        if not self.memory.usable:
            return self.fallback.negligible_error
        # the centres of columns are values of rows that another order changes, and the diagonal depends on them
        independent = self._source.centres is None
        return self.final_tolerance.order_independent if independent else self.final_tolerance.order_dependent

    def trusts_columns(self) -> bool:
        """Say whether the columns are well conditioned, by the first direction and a few rows; else hand over."""
        memory, size = self.memory, self.prior_precision.size
        # Rows at hand refuse most tables without a pass. They depend on the order, so they refuse clear cases only.
        if size <= MAX_REFUSED and not self._is_definite(self._source.spread(SEARCHED_ROWS_PER_COLUMN * size), CLEARLY):
            return False
        memory.usable = True
        # values that are not finite give no rows, and are reported by the descent
        with np.errstate(over="ignore", invalid="ignore"):
            memory.start = self._measured_zero()
            memory.first_logits = self._logits(self._newton(memory.start.gradient))
            rows = rows_by_logit(memory.first_logits, SEARCHED_ROWS_PER_COLUMN * size)
        n_rows = memory.first_logits.size
        memory.usable = bool(size < rows.size <= MAX_SEARCHED_SHARE * n_rows) and self._is_definite(rows)
        return memory.usable

    @cached_property
    def _source(self) -> MemorySource:
        """The rows, for passes that read their values once."""
        return cast("MemorySource", self.penalised_loss.source).in_larger_blocks(SEARCH_BLOCKS)

    @cached_property
    def _labels(self) -> MemorySource:
        """The rows without their values."""
        return self._source.without_columns()

    def _is_definite(self, rows: Codes, share_of_bound: float = 1.0) -> bool:
        """Say whether F + Λ of some rows has no small eigenvalue, each column in units of its own diagonal."""
        prior, source = self.prior_precision, self._source
        share = rows.size / len(source.codes)
        # where float32 overflows or underflows, the matrix is not definite
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            matrix = source.picked(rows).as_float32().total(MomentsKernel(prior.size))
            diagonal = matrix.diagonal() + share / MAX_VARIANCE * prior
            scale = np.divide(1.0, np.sqrt(diagonal), out=np.zeros_like(diagonal), where=diagonal > 0.0)
            scale = scale.astype(np.float32)
            # in place: the time of temporaries is that of the factorisation
            matrix *= scale
            matrix *= scale[:, None]
            np.fill_diagonal(matrix, 1.0 - share_of_bound * MIN_EIGENVALUE)
        if not (scale.all() and np.isfinite(matrix).all()):
            return False
        _, failed = lapack.spotrf(matrix.T, lower=True, overwrite_a=True)
        return not failed

    def measure(self, theta: Array, *, final: bool = False) -> Measured:
        """Return loss and gradient at θ; at the end of the last step, from its logits."""
        memory = self.memory
        if not memory.usable:
            return self.fallback.measure(theta, final=final)
        if memory.start is not None and not theta.any():
            return memory.start
        logits = memory.logits_at(theta)
        if logits is None:
            logits = self._logits(theta)
        likelihood = self._labels.total(LikelihoodKernel(logits))
        gradient = self._source.total(TransposedProductKernel(np.concatenate(likelihood.residuals), theta.size))
        memory.points = [*memory.points[:1], KnownPoint(theta, logits, np.concatenate(likelihood.variances))]
        metric = cast("PooledInformation", memory.cache.information)
        sums = Sums(likelihood.loss, gradient, metric, likelihood.weight, likelihood.max_loss)
        measured = self.penalised_loss.measured(theta, sums)
        memory.observe(measured)
        return measured

    def _measured_zero(self) -> Measured:
        """Return loss, gradient and the diagonal of F at zero, which becomes the metric."""
        memory, weight = self.memory, self._source.weight
        zero = np.zeros((1, self.prior_precision.size))
        measured = self.penalised_loss.measure(zero, DiagonalInformation, TrueExpectation(), keep_scores=False)
        memory.cache.install(cast("PooledInformation", measured.information), measured.loss)
        memory.points = [KnownPoint(measured.theta, np.zeros(weight.size), MAX_VARIANCE * weight)]
        return measured

    def _logits(self, theta: Array) -> Array:
        """Return the logits of all rows at θ, or along a step, by a pass."""
        return np.concatenate(self._source.total(LogitsKernel(theta)))

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return the step to the minimum over the plane, with the image by which a quadratic model has it there too."""
        memory, gradient = self.memory, measured.gradient
        if memory.usable:
            direction = self._newton(gradient)
            memory.begin(measured, -0.5 * float(np.vdot(gradient, direction)), damped=False)
        if not memory.usable:
            return self.fallback.direction(self._remeasured(measured), shift)
        is_first = memory.first_logits is not None and measured is memory.start
        along = cast("Array", memory.first_logits) if is_first else self._logits(direction)
        base = cast("KnownPoint", memory.known(measured.theta))
        memory.points = [base]
        moves, steps = [direction], [along]
        if memory.previous is not None:
            moves, steps = [direction, memory.previous[0]], [along, memory.previous[1]]
        plane = Plane(self.penalised_loss.prior, self._labels, measured, base, np.array(moves), tuple(steps))
        coefficients = plane.minimum()
        move = np.tensordot(coefficients, plane.moves, axes=1)
        memory.previous = move, combined(steps, coefficients.tolist())
        summary = f"{len(memory.pairs)} updates of the diagonal"
        # the loop scales the move that it is given in place
        return Direction(move.copy(), -gradient - shift * move, summary, exact=False)

    def _newton(self, gradient: Array) -> Array:
        """Return −B⁻¹g, B the updated metric with the prior."""
        return -zero_sum(self.memory.solve(gradient, self._precision(), np.zeros(1)))

    def _corrected(self, gradient: Array) -> Array:
        """Return the same with the scale of the last pair, Nocedal and Wright (2006), equation 7.20.

        A step of length 1 needs a scale, because F has changed since zero. The search finds the length itself, and
        another metric in each step would make its directions less conjugate.
        """
        if not self.memory.pairs:
            return self._newton(gradient)
        precision, (_, change, inverse) = self._precision(), self.memory.pairs[-1]
        scale = 1.0 / (inverse * float(np.vdot(change, precision.solve(change))))
        return -zero_sum(self.memory.solve(gradient, precision, np.zeros(1), scale))

    def _precision(self) -> FactorisedPrecision:
        cache = self.memory.cache
        return cache.precision(cast("PooledInformation", cache.information), self.prior_precision)

    def _remeasured(self, measured: Measured) -> Measured:
        """Return a point as the fallback measures it."""
        if measured.information is not self.memory.cache.information:
            return measured
        return self.fallback.measure(measured.theta)

    def fisher_products(self, measured: Measured, moves: Array) -> Array:
        """Return F times each of `moves`, ``(j, q, d)``."""
        return self.fallback.fisher_products(self._remeasured(measured), moves)

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return the step to try and its decrease, which estimate those of Newton's method.

        Without a step to try, the fallback computes them.
        """
        if not self.memory.usable or near is None:
            return self.fallback.newton_decrement(self._remeasured(measured), near)
        decrement = -0.5 * float(np.vdot(measured.gradient, near.move))
        return NewtonDecrement(near.move, near.image, decrement, self._corrected, squared_error=2.0 * SLOW * decrement)

    def decrement(self, measured: Measured) -> float:
        """Return the Newton decrement at a point, nats, for observers."""
        return self.fallback.decrement(self._remeasured(measured))

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ at a point, ``(qd, qd)``, for observers."""
        return self.fallback.matrix(self._remeasured(measured))


class Plane(NamedTuple):
    """The loss at θ + Σ c v, for two steps v or one."""

    prior: Prior
    labels: MemorySource  # the rows, whose values are not needed
    measured: Measured  # at θ
    base: KnownPoint  # θ
    moves: Array  # (j, 1, d), the steps v
    steps: tuple[Array, ...]  # (n,) each, the logits of all rows along them

    def minimum(self) -> Array:
        """Return c of the least loss; a damped Newton's method in the plane."""
        loss, slope = self.measured.loss, self._products(self.measured.gradient)
        curvature = self._penalised(self.labels.total(CurvatureKernel(self.steps, self.base.variance)))
        best, step = np.zeros(len(self.moves)), _newton_step(slope, curvature)
        if -0.5 * slope @ step <= QUADRATIC * loss:
            return step
        for _ in range(MAX_POINTS):
            end, slope, curvature = self._derivatives(best + step)
            if not end <= loss * (1.0 + LOSS_ROUNDING):
                step = 0.5 * step
                continue
            best, loss = best + step, end
            step = _newton_step(slope, curvature)
            if -0.5 * slope @ step <= REMAINING * (self.measured.loss - loss):
                return best + step
        return best

    def _derivatives(self, coefficients: Array) -> tuple[float, Array, Array]:
        """Return loss, slope and curvature at a point of the plane, with the prior."""
        theta = self.measured.theta + np.tensordot(coefficients, self.moves, axes=1)
        sums = self.labels.total(PlaneKernel(self.base.logits, self.steps, coefficients))
        slope = sums.slope + self._products(self.prior.gradient(theta))
        return sums.loss + self.prior.value(theta), slope, self._penalised(sums.curvature)

    def _products(self, gradient: Array) -> Array:
        return self.moves.reshape(len(self.moves), -1) @ gradient.ravel()

    def _penalised(self, curvature: Array) -> Array:
        flat = self.moves[:, 0]
        penalised: Array = curvature + (flat * self.prior.precision) @ flat.T
        return penalised


def _newton_step(slope: Array, curvature: Array) -> Array:
    """Return −H⁻¹g in the plane; along the first step alone if the second is parallel to it."""
    norms = np.sqrt(curvature.diagonal())
    units = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    step = -units * slope
    if len(slope) > 1:
        cosine = float(units[0] * curvature[0, 1] * units[1])
        independent = 1.0 - cosine**2 >= PARALLEL and units.all()
        step = (step - cosine * step[::-1]) / (1.0 - cosine**2) if independent else step * [1.0, 0.0]
    return units * step


def rows_by_logit(logits: Array, n_rows: int) -> Codes:
    """Return the indices of about `n_rows` rows, ascending: the same rows, however they are ordered.

    A digit of the logit decides that no other column depends on, and that rounding does not reach. Rows that are equal
    are chosen together.
    """
    size = float(np.sqrt(np.square(logits).mean()))
    if not 0.0 < size < np.inf:
        return np.empty(0, dtype=np.intp)
    digits = logits * (SPREAD / size)
    digits -= np.floor(digits)
    return np.flatnonzero(digits < n_rows / logits.size)
