"""Whether a measured point is accepted, finite or separated; and which error of the final step is negligible."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.separation import is_completely_separated

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._solver.records import Measured

# share of the predicted decrease that the loss must fall for a step to be accepted: the sufficient decrease of Nocedal
# and Wright (2006), section 3.1, with the decrease of the quadratic model in place of that of the slope
SUFFICIENT_SHARE = 1e-4
# an undamped Newton step that does not lower the loss is divided by 4, at most so many times: to 1e-5 of its length
MAX_REDUCTIONS = 8
# relative rounding error of a loss, a sum over blocks of rows
LOSS_ROUNDING = 64 * np.finfo(np.float64).eps
# Rejected steps in a row, after which one more ends the descent as stalled. Each multiplies the damping by 4 or more,
# so 20 of them by 1e12. Halved and doubled: no change.
MAX_REJECTIONS = 20
# `FinalTolerance.order_dependent` in units of tol², as Newton's method squares the gap. At 0.1 coefficients agree to
# 1e-8 of their size whichever way they were computed, even that of a column with entries in one row of a hundred.
ORDER_DEPENDENT = 0.1
# `FinalTolerance.order_independent` in units of tol. At the default tol an error of 1e-11 n ℓ nats, for n rows at a
# mean loss of ℓ, moves θ by √(2e-11 n ℓ) standard errors.
ORDER_INDEPENDENT = 1e-3
# least of both, as a share of the loss; float64 does not resolve less
MIN_TOLERANCE = 1e-20


def is_finite(measured: Measured) -> bool:
    """Say whether loss, gradient and metric at a point are finite; the diagonal stands for the metric."""
    gradient, diagonal = measured.gradient, measured.information.diagonal()
    # a sum is finite only if all its terms are
    if math.isfinite(measured.loss + np.add.reduce(gradient, axis=None) + np.add.reduce(diagonal, axis=None)):
        return True
    return math.isfinite(measured.loss) and bool(np.isfinite(gradient).all() and np.isfinite(diagonal).all())


def is_rounding(before: Measured, after: Measured) -> bool:
    """Say whether two losses differ by no more than the rounding of their sums."""
    return bool(abs(after.loss - before.loss) <= LOSS_ROUNDING * abs(before.loss))


def is_accepted(before: Measured, after: Measured, predicted: float, scale: Array | float) -> bool:
    """Say whether a step from `before` to `after` is accepted.

    Parameters
    ----------
    before, after : Measured
        Both ends of the step.
    predicted : float
        Decrease of the loss that the quadratic model predicts, nats.
    scale : ndarray of shape (d,) or float
        The scale of the damping, whose units are those of the squared gradient.
    """
    if not is_finite(after):
        return False
    if is_rounding(before, after):
        # near the optimum the difference of losses is rounding, and that of gradients is not
        return _scaled_square(after.gradient, scale) < _scaled_square(before.gradient, scale)
    return before.loss - after.loss >= SUFFICIENT_SHARE * predicted


def is_separated(measured: Measured) -> bool:
    """Say whether each row's own class has more than half of the probability.

    Then θ separates the classes strictly, and the likelihood grows along tθ without bound on t: without a penalty there
    is no optimum (Albert and Anderson, 1984).
    """
    return is_completely_separated(measured.max_row_loss)


def _scaled_square(gradient: Array, scale: Array | float) -> float:
    """Return gᵀ diag(scale)⁻¹ g, which does not depend on the units of the columns; without columns of scale 0."""
    return float(np.divide(gradient**2, scale, out=np.zeros_like(gradient), where=np.greater(scale, 0)).sum())


class FinalTolerance(NamedTuple):
    """Excess of the loss over its minimum that the final step may leave, as a share of the loss.

    Fits to the same rows in another order should give the same coefficients. If rounding makes the path of the solver
    depend on that order, only an error below the precision of interest ensures it. If the path does not depend on the
    order, the same error is left for all orders, and may be larger.
    """

    order_dependent: float = MIN_TOLERANCE
    order_independent: float = MIN_TOLERANCE

    @classmethod
    def of(cls, tol: float) -> FinalTolerance:
        """Return the tolerances of the final step for a tolerance of the descent."""
        order_dependent = max(ORDER_DEPENDENT * tol**2, MIN_TOLERANCE)
        return cls(order_dependent, max(ORDER_INDEPENDENT * tol, order_dependent))
