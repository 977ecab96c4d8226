"""A quadratic approximation to the loss of rows seen before."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._model.recentring import recentred_gradient, recentred_theta, shift_between

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import PooledInformation


@member_of("sknatgrad")
class QuadraticApproximation(NamedTuple):
    """The loss of the rows seen, as gᵀ(θ - θ₀) + ½ (θ - θ₀)ᵀ F (θ - θ₀), without any prior.

    Laplace's approximation at θ₀, the optimum when the rows were seen. Its gradient is minus that of the prior, plus
    the gradient that remained at the end of the descent, so that a descent that stops early loses no information.
    """

    theta: Array  # (q, d), θ₀
    gradient: Array  # (q, d), g
    information: PooledInformation  # F, in the structure of the metric

    def value(self, theta: Array) -> float:
        """Return the model's loss above that at θ₀."""
        move = theta - self.theta
        return float(np.vdot(self.gradient, move)) + 0.5 * float(np.vdot(move, self.information.matvec(move)))

    def gradient_at(self, theta: Array) -> Array:
        """Return its gradient, ``(q, d)``."""
        return self.gradient + self.information.matvec(theta - self.theta)

    def recentred(self, before: Array | None, after: Array | None) -> QuadraticApproximation:
        """Return the model for rows with the centres `after`, ``(p,)``, instead of those `before`; None is 0."""
        shift = shift_between(before, after)
        if shift is None:
            return self
        theta = recentred_theta(self.theta, before, after)
        return QuadraticApproximation(
            theta, recentred_gradient(self.gradient, shift), self.information.recentred(shift)
        )

    def discounted(self, share: float) -> QuadraticApproximation:
        """Return the model of the same rows with their weights multiplied by `share`."""
        if share == 1.0:
            return self
        return QuadraticApproximation(self.theta, share * self.gradient, self.information.scaled(share))
