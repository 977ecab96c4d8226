"""One batch of a stream with a quadratic approximation to all before it: recursive Laplace approximation.

With F the true Fisher information this is the extended Kalman filter, which is natural gradient descent with its own
rate: Y. Ollivier (2018), "Online natural gradient as a Kalman filter", Electronic Journal of Statistics 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from sknatgrad._limits import Limits
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._solver.descent import descend
from sknatgrad._solver.records import NewtonDecrement

if TYPE_CHECKING:
    from sknatgrad._model.protocols import PooledInformation
    from sknatgrad._solver.objective import Objective
    from sknatgrad._solver.problem import DescentOptions
    from sknatgrad._solver.records import Direction, Measured, Step
    from sknatgrad._solver.step import Proposal
    from sknatgrad._typing import Array


@dataclass(frozen=True)
class RecursiveObjective:
    """J of one batch, whose prior has the quadratic approximation to all batches before it."""

    batch: Objective

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``."""
        return self.batch.prior_precision

    @property
    def direct(self) -> bool:
        """Whether to solve once more after the final step: the quadratic keeps the gradient that is left over."""
        return False

    @property
    def accuracy(self) -> float:
        """Error of the final step that is negligible, as a share of the loss."""
        return self.batch.final_tolerance.order_independent

    def measure(self, theta: Array, *, last: bool = False) -> Measured:  # noqa: ARG002 - the last metric is kept
        """Return loss, gradient and metric at θ."""
        return self.batch.measure(theta)

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M the pooled metric plus I ⊗ diag(shift)."""
        return self.batch.direction(measured, shift)

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return the true Fisher information of all batches times each of `moves`, ``(j, q, d)``."""
        return self.batch.products(measured, moves)

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return the step of the pooled metric itself, `near` if there is one, and its decrease."""
        if near is not None:
            return NewtonDecrement(near.move, near.image, -0.5 * float(np.vdot(measured.gradient, near.move)))
        move, image, _ = self.batch.direction(measured, self.prior_precision)
        image = self.products(measured, move[None])[0] if image is None else image
        return NewtonDecrement(move, image, -0.5 * float(np.vdot(measured.gradient, move)))


def update(
    batch: Objective, theta: Array, options: DescentOptions, limits: Limits | None = None
) -> tuple[QuadraticApproximation, Step]:
    """Return the quadratic approximation to all batches after one more, and the last step of its descent."""
    problem = RecursiveObjective(batch)
    start = problem.measure(theta)
    # a fit to all rows has a statistical error of about qd / 2 nats
    share = (limits or Limits()).batch_error_share
    negligible = share * theta.size / 2.0 / start.loss if start.loss > 0.0 else 0.0
    for state, last in descend(problem, start, options._replace(tol=max(options.tol, negligible))):
        point, step = state.point, last
    # without the diagonal prior, which belongs to no batch
    penalty = batch.loss.prior._replace(quadratic=None)
    information = cast("PooledInformation", point.information)
    return QuadraticApproximation(point.theta, point.gradient - penalty.gradient(point.theta), information), step
