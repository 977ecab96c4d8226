"""Quasi-Newton steps in the natural metric: L-BFGS that begins with the Fisher information of a sample.

A step of Newton's method computes F from all rows, or a product F v for each iteration of conjugate gradients. A
quasi-Newton step needs loss and gradient alone: it solves with the Fisher information of a sample, corrected along the
steps taken so far by what their gradients show. That is algorithm 7.4 of Nocedal and Wright (2006), whose initial
matrix is (F_sample + Λ)⁻¹ in place of a multiple of the identity.

The smaller the relative error of the sampled metric, the faster: a step multiplies the error of the loss by its square,
d over the rows of the sample. Where a sample says little about the rows, as of rare categories, or the error does not
fall as it should, the objective hands over to another one, and no more than the steps so far are lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation, IdentityInformation
from sknatgrad._model.information.dense import DensePrecision
from sknatgrad._model.kernels import MetricScores
from sknatgrad._model.layout import zero_sum
from sknatgrad._solver.penalised_loss import ObjectiveOfRows
from sknatgrad._solver.preconditioning import FactorCache
from sknatgrad._solver.problem import DescentProblem
from sknatgrad._solver.records import Direction, NewtonDecrement
from sknatgrad._solver.sampled_metric import (
    INFLUENCE_VARIANCE,
    SampledMetric,
    influence_sampled_information,
    sampled_metric,
)
from sknatgrad._solver.stopping import MIN_TOLERANCE

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import FactorisedPrecision, PooledInformation
    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._solver.plan import Plan
    from sknatgrad._solver.records import Measured
    from sknatgrad._solver.step import Proposal
    from sknatgrad._solver.stopping import FinalTolerance

# Largest expected share of the error that a step leaves, for the sample to be used.
MAX_CONTRACTION = 0.1
# Rows of a sample that determine a column, at least: of as many equal values it would be as certain.
MIN_COLUMN_ROWS = 8.0
# Share of the previous decrement above which the error falls too slowly.
SLOW = 0.25
# The same where the sample was drawn by influence, as the steps that would take over are expensive then. Adult,
# standardised and sparse, takes 23 to 29 readings of X in six samples, and with 0.25 up to 76.
INFLUENCE_SLOW = 0.7
# Share of the previous decrement above which the metric is computed anew, from a sample drawn by influence. Adult takes
# 11 steps with one, and 13 without; standardised 13, and with 0.2 14 steps.
STALE = 0.1
# Share of the negligible error at which an estimate by the updated metric counts as such. The coefficient of a column
# without effect, 60,000 rows, is then off by 4e-8 of its size, 2e-7 standard errors; with 0.01 by 1e-9, which takes two
# more readings of X.
ESTIMATE_MARGIN = 0.1


class ObservedProblem(DescentProblem, Protocol):
    """A `DescentProblem` that observers can ask too."""

    def decrement(self, measured: Measured) -> float:
        """Return the Newton decrement at a point, nats."""
        ...

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ at a point, ``(qd, qd)``."""
        ...


@dataclass
class QuasiNewtonMemory:
    """What the steps of a descent have shown of the Hessian: pairs of a step and the change of the gradient along it.

    `solve` is linear in the gradient and symmetric, and positive definite because every pair has positive curvature.
    """

    contraction: float = 1.0  # share of the error that a step leaves, as the sample predicts; 1 before there is one
    usable: bool = True  # False once another objective has taken over
    by_influence: bool = False  # whether the sample was drawn by influence
    sample: MemorySource | None = None  # of which F is the metric
    first_metric: PooledInformation | None = None
    cache: FactorCache = field(default_factory=FactorCache)  # of the metric in use
    slow: float | None = None  # share of the previous decrement above which the error falls too slowly; None by sample
    base: Measured | None = None  # the point at which the last step began
    decrement: float = np.inf  # at that point, nats; infinite if the step was damped
    was_slow: bool = False  # whether it had fallen too little
    # (v, y, 1 / yᵀv) of each step, y the change of the gradient, (q, d)
    pairs: list[tuple[Array, Array, float]] = field(default_factory=list)

    def begin(self, measured: Measured, decrement: float, *, damped: bool, refreshed: bool = False) -> None:
        """Begin a step at a point, or another one at the same point; hand over if the last one was too slow.

        If the metric is `refreshed`, computed anew, one slow step does not count.
        """
        if measured is not self.base:
            slow = decrement > self._slow_share * self.decrement
            self.usable &= not slow or (refreshed and not self.was_slow)
            self.was_slow = slow
        # a damped step may be slow whatever the metric
        self.base, self.decrement = measured, np.inf if damped else decrement

    @property
    def _slow_share(self) -> float:
        if self.slow is not None:
            return self.slow
        return INFLUENCE_SLOW if self.by_influence else SLOW

    def is_stale(self, measured: Measured, decrement: float) -> bool:
        """Say whether the metric is to be computed anew: after the first step, which is the longest, or a slow one."""
        if self.base is None or measured is self.base:
            return False
        return self.cache.information is self.first_metric or decrement > STALE * self.decrement

    def observe(self, end: Measured) -> None:
        """Learn from the gradient at the end of a step, whether it is accepted or not."""
        if self.base is None:
            return
        self.learn(end.theta - self.base.theta, end.gradient - self.base.gradient)

    def learn(self, move: Array, change: Array) -> None:
        """Keep a step and the change of the gradient along it, if its curvature is positive."""
        if np.isfinite(change).all() and float(np.vdot(move, change)) > 0.0:
            self.pairs.append(_pair(move, change))

    def solve(self, gradient: Array, precision: FactorisedPrecision, damping: Array, scale: float = 1.0) -> Array:
        """Return B⁻¹ g, B the metric with the shift of `precision`, part of which is `damping`, after all pairs.

        The inverse of the metric is multiplied by `scale`.
        """
        pairs = self.pairs
        if damping.any():
            pairs = [_pair(move, change + damping * move) for move, change, _ in pairs]
        coefficients, rest = [], gradient.copy()
        for move, change, inverse in reversed(pairs):
            coefficients.append(inverse * np.vdot(move, rest))
            rest -= coefficients[-1] * change
        solution = scale * precision.solve(rest)
        for move, change, inverse in pairs:
            solution += (coefficients.pop() - inverse * np.vdot(change, solution)) * move
        return solution


def _pair(move: Array, change: Array) -> tuple[Array, Array, float]:
    """Return a step, the change of the gradient along it, and the inverse of their product."""
    return move, change, 1.0 / float(np.vdot(move, change))


def _decrease(measured: Measured, move: Array) -> float:
    """Return half the slope along a step, reversed."""
    return -0.5 * float(np.vdot(measured.gradient, move))


@record
class QuasiNewtonObjective(ObjectiveOfRows):
    """The metric is the Fisher information of a sample, updated by the gradients along the steps.

    Its quadratic model stands for that with F: image, predicted decrease and Newton decrement are estimates by the
    updated metric. The convergence test and the final step rely on them, and on the rate at which they fall.
    """

    plan: Plan
    final_tolerance: FinalTolerance
    fallback: ObservedProblem  # if no step was taken
    # The same after steps. It starts where these ended, so it is as accurate as an order-dependent path has to be where
    # the sample depends on the order of the rows.
    later_fallback: ObservedProblem
    memory: QuasiNewtonMemory  # changes with every step

    @property
    def corrections(self) -> int:
        """How many times the final step is corrected: once, by the same updated metric."""
        return 1 if self.memory.usable else self._successor.corrections

    @property
    def contraction(self) -> float:
        """Share of the error that a step leaves at least, as the sample predicts."""
        return self.memory.contraction if self.memory.usable else self._successor.contraction

    @property
    def negligible_error(self) -> float:
        """Excess of the loss over its minimum that the final step may leave, as a share of the loss."""
        if not self.memory.usable:
            return self._successor.negligible_error
        if self._is_order_independent:
            return self.final_tolerance.order_independent
        return max(ESTIMATE_MARGIN * self.final_tolerance.order_dependent, MIN_TOLERANCE)

    @property
    def _is_order_independent(self) -> bool:
        """Whether the path does not depend on the order of the rows."""
        return self.memory.sample is not None and self.memory.sample.drawn_by_digests

    @property
    def _successor(self) -> ObservedProblem:
        """The objective that takes over."""
        return self.fallback if self.memory.base is None or self._is_order_independent else self.later_fallback

    def accepts(self, squares: Array) -> bool:
        """Say whether enough rows of a sample determine each column, from its `column_squares`; else hand over.

        The fallback then takes over at zero, if it needs no sample.
        """
        if self.memory.by_influence:
            self.memory.usable &= self._penalises_features
        else:
            self.memory.usable &= not self._lacks_rows(squares)
        return self._starts_from_samples

    def redraws(self, squares: Array) -> bool:
        """Say whether to draw a sample again, by influence, as it has few rows of some column."""
        possible = not (self.memory.by_influence or self.plan.shape.out_of_core) and self._penalises_features
        # values that are not finite are reported by the descent
        if not (possible and np.isfinite(squares).all() and self._lacks_rows(squares)):
            return False
        self.memory.by_influence = True
        return True

    def _lacks_rows(self, squares: Array) -> bool:
        """Say whether few rows of a sample determine a column."""
        # Σ s x² of a column squared, over Σ (s x²)²: m for m equal values, 1 where one row dominates; NaN for the
        # intercept, which has no values, and for columns without values in the sample
        with np.errstate(over="ignore", invalid="ignore"):
            rows = squares[0] ** 2 / squares[1]
        empty = np.count_nonzero(squares[0] == 0.0) > 1
        return bool(empty or not np.isfinite(squares).all() or (rows < MIN_COLUMN_ROWS).any())

    def learn(self, sample: MemorySource, theta: Array, information: PooledInformation | None = None) -> bool:
        """Take the metric from a sample at θ; hand over if the sample says little about the rows.

        `information` is that of the sample at θ, if it is known. Return whether the descent starts at the optimum of
        the sample.
        """
        memory = self.memory
        memory.usable &= self._penalises_features or not memory.by_influence
        if memory.usable:
            memory.sample = sample
            metric = self._metric_at(theta, information)
            memory.contraction = max(metric.contraction, np.finfo(np.float64).eps)
            memory.first_metric = metric.information
            memory.cache.install(metric.information, loss=0.0)
            memory.usable = memory.contraction <= MAX_CONTRACTION and self._is_well_conditioned()
        return self._starts_from_samples

    @property
    def _penalises_features(self) -> bool:
        """Whether all coefficients but the intercept have a penalty: without one, rare values may be separated."""
        return bool(np.count_nonzero(self.prior_precision == 0.0) <= 1)

    @property
    def _starts_from_samples(self) -> bool:
        return self.memory.usable or not self.plan.matrix_free or self.plan.shape.out_of_core

    def _is_well_conditioned(self) -> bool:
        precision = self._precision(self.prior_precision)
        return isinstance(precision, DensePrecision) and precision.well_conditioned

    def _metric_at(self, theta: Array, information: PooledInformation | None = None) -> SampledMetric:
        sample, prior = cast("MemorySource", self.memory.sample), self.penalised_loss.prior
        if not self.memory.by_influence:
            return sampled_metric(sample, theta, prior)
        if not isinstance(information, DenseInformation):
            information = influence_sampled_information(sample, theta, prior)
        return SampledMetric(information, INFLUENCE_VARIANCE * theta.size / self.plan.sample_sizes[-1])

    def _precision(self, shift: Array) -> FactorisedPrecision:
        return self.memory.cache.precision(cast("PooledInformation", self.memory.cache.information), shift)

    def measure(self, theta: Array, *, final: bool = False) -> Measured:
        """Return loss and gradient at θ with the metric of the sample, which is drawn if there is none yet."""
        memory = self.memory
        if memory.usable and memory.first_metric is None:
            sample = self.penalised_loss.source.sample(self.plan.sample_sizes[-1])
            self.learn(cast("MemorySource", sample), theta)
        if not memory.usable:
            return self._successor.measure(theta, final=final)
        measured = self.penalised_loss.measure(theta, IdentityInformation, TrueExpectation(), keep_scores=False)
        scores = MetricScores.recomputed(theta, TrueExpectation())
        measured = measured._replace(information=cast("PooledInformation", memory.first_metric), scores=scores)
        memory.observe(measured)
        return measured

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return v = −B⁻¹g, B the updated metric plus I ⊗ diag(shift), and its image, which is no more exact than B."""
        memory = self.memory
        by_influence = memory.by_influence
        # a rejected step: rows of a rare value may have saturated probabilities, which the metric does not show
        memory.usable &= measured is not memory.base
        if memory.usable:
            move = self._step(measured.gradient, shift)
            refreshed = by_influence and memory.is_stale(measured, _decrease(measured, move))
            if refreshed:
                memory.cache.install(self._metric_at(measured.theta).information, loss=0.0)
                move = self._step(measured.gradient, shift)
            damped = not np.array_equal(shift, self.prior_precision)
            memory.begin(measured, _decrease(measured, move), damped=damped, refreshed=refreshed)
        if not memory.usable:
            return self._successor.direction(self._remeasured(measured), shift)
        summary = f"{len(memory.pairs)} updates of the metric of a sample"
        return Direction(move, -measured.gradient - shift * move, summary, exact=False)

    def _step(self, gradient: Array, shift: Array) -> Array:
        solution = self.memory.solve(gradient, self._precision(shift), shift - self.prior_precision)
        return -zero_sum(solution)

    def _remeasured(self, measured: Measured) -> Measured:
        """Return a point as the fallback measures it."""
        if measured.information is not self.memory.first_metric:
            return measured
        return self._successor.measure(measured.theta)

    def fisher_products(self, measured: Measured, moves: Array) -> Array:
        """Return F times each of `moves`, ``(j, q, d)``."""
        return self._successor.fisher_products(self._remeasured(measured), moves)

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return the step by the updated metric, without damping, and half its slope.

        Its error is estimated by the rate at which decrements have fallen.
        """
        if not self.memory.usable:
            return self._successor.newton_decrement(self._remeasured(measured), near)
        prior = self.prior_precision

        def resolve(gradient: Array) -> Array:
            return self._step(gradient, prior)

        move = resolve(measured.gradient)
        decrement = _decrease(measured, move)
        image = -measured.gradient - prior * move
        return NewtonDecrement(move, image, decrement, resolve, squared_error=2.0 * SLOW * decrement)

    def decrement(self, measured: Measured) -> float:
        """Return the Newton decrement at a point, nats, for observers."""
        return self._successor.decrement(self._remeasured(measured))

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ at a point, ``(qd, qd)``, for observers."""
        return self._successor.matrix(self._remeasured(measured))
