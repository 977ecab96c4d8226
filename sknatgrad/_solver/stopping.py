"""Predicates over what was measured: accepted, separated; and how exact the final step is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.separation import is_completely_separated

if TYPE_CHECKING:
    from sknatgrad._solver.records import Measured
    from sknatgrad._typing import Array

# share of the predicted decrease that a step must reach to be accepted: Nocedal and Wright (2006), section 3.1
SUFFICIENT = 1e-4
# relative rounding error of a loss, a sum over blocks of rows
ROUNDING = 64 * np.finfo(np.float64).eps
# Rejected steps in a row after which a descent has stalled. Each multiplies the damping by 4 or more, so 20 of them by
# 1e12. Halved and doubled: no change.
MAX_REJECTIONS = 20
# Error of the final step, as a share of the loss and in units of tol², as Newton's method squares the gap. At 0.1
# coefficients agree to 1e-8 of their size however they were found, even of a column that one row in a hundred has.
ORDER_DEPENDENT = 0.1
# as a share of the loss; float64 does not resolve less
MIN_TOLERANCE = 1e-20
# the same in units of tol: of n rows at a mean loss of ℓ, √(2e-11 n ℓ) standard errors at the default tol
ORDER_INDEPENDENT = 1e-3


class FinalTolerance(NamedTuple):
    """Error of the final step that is negligible, as a share of the loss."""

    order_dependent: float = MIN_TOLERANCE  # where rounding makes the path of the solver depend on the order of rows
    order_independent: float = MIN_TOLERANCE  # where all orders of the rows take the same path, so that they end alike

    @classmethod
    def of(cls, tol: float) -> FinalTolerance:
        """Return the tolerances of the final step for a tolerance of the descent."""
        order_dependent = max(ORDER_DEPENDENT * tol**2, MIN_TOLERANCE)
        return cls(order_dependent, max(ORDER_INDEPENDENT * tol, order_dependent))


def is_finite(measured: Measured) -> bool:
    """Say whether nothing that was measured at a point has overflowed."""
    parts = (measured.loss, measured.gradient, measured.information.diagonal())
    return all(bool(np.isfinite(part).all()) for part in parts)


def is_rounding(before: Measured, after: Measured) -> bool:
    """Say whether two losses differ by no more than the rounding of their sums."""
    return bool(abs(after.loss - before.loss) <= ROUNDING * abs(before.loss))


def is_accepted(before: Measured, after: Measured, predicted: float, scale: Array | float) -> bool:
    """Say whether a trial point is progress; `predicted` in nats, `scale` ``(d,)`` the diagonal of the metric."""
    if not is_finite(after):
        return False
    if is_rounding(before, after):
        # near the optimum the difference of losses is rounding; that of gradients is not, each in its column's units
        return _size(after.gradient, scale) < _size(before.gradient, scale)
    return before.loss - after.loss >= SUFFICIENT * predicted


def is_separated(measured: Measured) -> bool:
    """Say whether each row's own class has more than half of the probability.

    Then θ separates the classes strictly: 2θ fits better, and so on without end. Without a penalty there is no optimum
    (Albert and Anderson, 1984).
    """
    return is_completely_separated(measured.worst)


def _size(gradient: Array, scale: Array | float) -> float:
    return float(np.divide(gradient**2, scale, out=np.zeros_like(gradient), where=np.greater(scale, 0)).sum())
