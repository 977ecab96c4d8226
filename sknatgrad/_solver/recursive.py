"""The fit of one batch, with a quadratic approximation to all batches before it: recursive Laplace approximation.

With F the true Fisher information this is the extended Kalman filter, which is online natural gradient descent with a
learning rate of its own: Y. Ollivier (2018), "Online natural gradient as a Kalman filter", Electronic Journal of
Statistics 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._limits import Limits
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._solver.descent import descend
from sknatgrad._solver.records import NewtonDecrement

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import PooledInformation
    from sknatgrad._solver.objective import Objective
    from sknatgrad._solver.problem import DescentOptions
    from sknatgrad._solver.records import Direction, Measured, Step
    from sknatgrad._solver.step import Proposal


@record
class RecursiveObjective:
    """J of one batch, whose prior contains the quadratic approximation to all batches before it.

    It differs from the objective of the batch in three ways. Of earlier batches only
    the metric is known, not F: so the step of the metric stands for the Newton step. The metric at the end of
    the final step is kept, as it becomes part of the next approximation. The final step is not corrected.
    """

    batch: Objective

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``: the diagonal of Λ for each class."""
        return self.batch.prior_precision

    @property
    def corrections(self) -> int:
        """How many times the final step is corrected: not at all, as the approximation keeps the gradient there."""
        return 0

    def shift(self, move: Array) -> float:
        """Return the largest change of the difference of two logits of a row along a step, nats, by a pass."""
        return self.batch.shift(move)

    @property
    def contraction(self) -> float:
        """Share of the error that a step leaves at least: none, as Newton's method squares it."""
        return 0.0

    @property
    def negligible_error(self) -> float:
        """Excess of the loss over its minimum that the final step may leave, as a share of the loss."""
        return self.batch.final_tolerance.order_independent

    def measure(self, theta: Array, *, final: bool = False) -> Measured:  # noqa: ARG002 - the final metric is kept
        """Return loss, gradient and metric at θ, at the end of a final step too."""
        return self.batch.measure(theta)

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M the pooled metric plus I ⊗ diag(shift)."""
        return self.batch.direction(measured, shift)

    def fisher_products(self, measured: Measured, moves: Array) -> Array:
        """Return the true Fisher information of the batch plus F₀ of those before, times `moves`, ``(j, q, d)``."""
        return self.batch.fisher_products(measured, moves)

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return the undamped step of the pooled metric and half its slope; the proposed step `near`, if given."""
        if near is not None:
            return NewtonDecrement(near.move, near.image, -0.5 * float(np.vdot(measured.gradient, near.move)))
        direction = self.batch.direction(measured, self.prior_precision)
        move, image = direction.move, direction.image
        image = self.fisher_products(measured, move[None])[0] if image is None else image
        return NewtonDecrement(move, image, -0.5 * float(np.vdot(measured.gradient, move)))


def update(
    batch: Objective, theta: Array, options: DescentOptions, limits: Limits | None = None
) -> tuple[QuadraticApproximation, Step]:
    """Return the quadratic approximation to all batches with this one, and the step that ended its descent."""
    problem = RecursiveObjective(batch)
    start = problem.measure(theta)
    # the loss at the optimum has a statistical error of about half a nat for each of the qd coefficients
    share = (limits or Limits()).batch_error_share
    negligible = share * theta.size / 2.0 / start.loss if start.loss > 0.0 else 0.0
    for state, each in descend(problem, start, options._replace(tol=max(options.tol, negligible))):
        point, step = state.point, each
    # the gradient without that of the diagonal prior, which belongs to no batch
    penalty = batch.penalised_loss.prior._replace(quadratic=None)
    information = cast("PooledInformation", point.information)
    return QuadraticApproximation(point.theta, point.gradient - penalty.gradient(point.theta), information), step
