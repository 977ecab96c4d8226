"""Predicates over what was measured: accept, converged, separable."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.separation import is_completely_separated

if TYPE_CHECKING:
    from sknatgrad._solver.records import Measured
    from sknatgrad._typing import Array

# a decrease below this share of what the quadratic model promised is no success
SUFFICIENT = 1e-4
ROUNDING = 64 * np.finfo(np.float64).eps
MAX_REJECTIONS = 20
# Errors of a last step that are as good as none, relative to the loss. With the first, which is in units of tol² as
# Newton's method squares the gap, coefficients agree to 1e-8 of their size whichever way they were found, even those of
# a column that is there in one row of a hundred. Less is of no use to float64. The second is in units of tol.
TIGHT = 0.1
TIGHTEST = 1e-20
LOOSE = 1e-3


class FinalTolerance(NamedTuple):
    """Error of a last step that is as good as none, relative to the loss."""

    order_dependent: float = TIGHTEST
    order_independent: float = (
        TIGHTEST  # where the way to it is the same for any order of the rows, so that all end alike
    )

    @classmethod
    def of(cls, tol: float) -> FinalTolerance:
        """Return what goes with a tolerance."""
        order_dependent = max(TIGHT * tol**2, TIGHTEST)
        return cls(order_dependent, max(LOOSE * tol, order_dependent))


def is_finite(measured: Measured) -> bool:
    """Say whether a point can be stood on: nothing measured there has overflowed."""
    parts = (measured.loss, measured.gradient, measured.information.diagonal())
    return all(bool(np.isfinite(part).all()) for part in parts)


def is_rounding(before: Measured, after: Measured) -> bool:
    """Say whether the two losses differ by no more than the rounding of their sums."""
    return bool(abs(after.loss - before.loss) <= ROUNDING * abs(before.loss))


def is_accepted(before: Measured, after: Measured, predicted: float, scale: Array) -> bool:
    """Say whether a trial point is progress; `predicted` in nats, `scale` ``(d,)`` the diagonal of the metric."""
    if not is_finite(after):
        return False
    if is_rounding(before, after):
        # Near the optimum the loss difference is rounding; trust the gradient, in the units of its own column.
        return _size(after.gradient, scale) < _size(before.gradient, scale)
    return before.loss - after.loss >= SUFFICIENT * predicted


def is_separated(measured: Measured) -> bool:
    """Say whether every row's own class has more than half of the probability.

    Then the current θ separates the classes strictly: twice θ fits better, and so on for ever. Without a penalty there
    is no optimum (Albert and Anderson, 1984).
    """
    return is_completely_separated(measured.worst)


def _size(gradient: Array, scale: Array) -> float:
    return float(np.divide(gradient**2, scale, out=np.zeros_like(gradient), where=scale > 0).sum())
