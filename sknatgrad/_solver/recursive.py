"""A batch of rows and the memory of earlier ones, as one landscape: the Laplace approximation taken a batch at a time.

With F the Fisher information this is the extended Kalman filter, that is natural gradient descent with its own rate: Y.
Ollivier (2018), "Online natural gradient as a Kalman filter", Electronic Journal of Statistics 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._solver.descent import descend
from sknatgrad._solver.records import Certificate

if TYPE_CHECKING:
    from sknatgrad._solver.descent import DescentOptions
    from sknatgrad._solver.objective import Objective
    from sknatgrad._solver.records import Direction, Measured, Step
    from sknatgrad._typing import Array

# a batch is solved until what is left is this share of the statistical error of the coefficients
SHARE_OF_ERROR = 0.005


@dataclass(frozen=True)
class RecursiveObjective:
    """J of one batch, with the quadratic model of all before it as its past."""

    batch: Objective

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``."""
        return self.batch.prior_precision

    @property
    def direct(self) -> bool:
        """Whether solving again costs next to nothing; what is left over is remembered, so it need not be."""
        return False

    @property
    def accuracy(self) -> float:
        """Error of a last step that is as good as none, relative to the loss."""
        return self.batch.final_tolerance.order_independent

    def measure(self, theta: Array, *, last: bool = False) -> Measured:  # noqa: ARG002 - the last one is remembered
        """Return loss, gradient and metric at θ."""
        return self.batch.measure(theta)

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M the pooled metric plus I ⊗ diag(shift)."""
        return self.batch.direction(measured, shift)

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return the true Fisher of the batch and the memory times each of `moves`, ``(j, q, d)``."""
        return self.batch.products(measured, moves)

    def certificate(self, measured: Measured, near: Direction | None = None) -> Certificate:
        """Return the undamped step by the metric itself, and what it promises."""
        direction = self.batch.direction(measured, self.prior_precision) if near is None or near.image is None else near
        image = direction.image
        if image is None:
            image = self.products(measured, direction.move[None])[0]
        return Certificate(direction.move, image, -0.5 * float(np.vdot(measured.gradient, direction.move)))


def learn(batch: Objective, theta: Array, options: DescentOptions) -> tuple[QuadraticApproximation, Step]:
    """Return what is known after a batch: its optimum together with its past, and the model of both there."""
    problem = RecursiveObjective(batch)
    start = problem.measure(theta)
    # a fit to all rows is off by about qd / 2 nats
    enough = SHARE_OF_ERROR * theta.size / 2.0 / start.loss if start.loss > 0.0 else 0.0
    for state, last in descend(problem, start, options._replace(tol=max(options.tol, enough))):
        point, step = state.point, last
    # without the prior, which is no row's
    information: Any = point.information
    return QuadraticApproximation(
        point.theta, point.gradient - batch.prior._replace(quadratic=None).gradient(point.theta), information
    ), step
