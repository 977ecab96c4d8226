"""Corrections of the final step: further steps by the factor of its Newton step.

A step by an old factor is a chord step: its error is that of the point times a rate which the change of F since then
determines. It takes a measurement of the gradient alone, and a Newton step also one of F and its factorisation
(Shamanskii 1967).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._solver.stopping import is_finite, is_rounding

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array
    from sknatgrad._solver.problem import DescentProblem
    from sknatgrad._solver.records import Measured, NewtonDecrement

# Largest shift of a final step whose corrections are measured: F then changes by a tenth along any direction, and a
# chord step leaves a hundredth of the gap even along one that a few rows inform alone.
MAX_SHIFT = 0.1
# Corrections after which the error is left as it is: a few are expected.
MAX_CORRECTIONS = 8
# Error that a measured correction is expected to leave, as a share of that which is negligible after a Newton step,
# which mostly leaves less than is expected. With 1 coefficients of wine differ by more than 1e-10 of their size. The
# largest that it may leave is negligible too.
NEGLIGIBLE_SHARE = 1e-3
# Share of the gap that a correction leaves, as a multiple of that which the final step left, if nothing else is known.
# A Newton step from a distance e of the optimum leaves c e², as F is that of its start; a chord step from there has F
# that is off by up to twice as much as on average along the step, and leaves up to 2 c e of the distance.
CHORD_SHARE = 4.0


class Corrected(NamedTuple):
    """The end of a final step after its corrections."""

    point: Measured  # the last that was measured
    move: Array  # (q, d), to that point, from the start of the final step
    image: Array  # (q, d), F of the start times the move
    theta: Array | None  # (q, d), after the last correction, which is not measured; None if a chord step is none
    last: NewtonDecrement  # the last correction as a Newton step at the point

    def whole_step(self) -> tuple[Array, Array]:
        """Return the step from the start of the final one to θ after the last correction, and its image."""
        if self.theta is None:
            return self.move, self.image
        return self.move + self.last.move, self.image + self.last.image


def contraction_of(shift: float) -> float:
    """Return the largest share of the decrement that a chord step leaves, after a shift of the logits in nats.

    The factor is off by at most exp(shift) - 1 along any direction, the error too, and the gap by its square; a
    decrement by the old factor is off by at most exp(shift).
    """
    return math.expm1(shift) ** 2 * math.exp(shift)


def correct(
    problem: DescentProblem, point: Measured, newton: NewtonDecrement, contraction: float | None = None
) -> Corrected:
    """Correct the end of a final step, until the error is negligible or no correction is left.

    Parameters
    ----------
    problem : DescentProblem
        The objective.
    point : Measured
        The end of the final step, without its metric.
    newton : NewtonDecrement
        The final step, whose factor corrects it.
    contraction : float or None
        Share of the decrement that a chord step leaves at most; None for a single correction, which is not measured.
    """
    resolve: Callable[[Array], Array] = newton.resolve  # type: ignore[assignment]  # of a factorised matrix
    corrected = Corrected(point, newton.move, newton.image, None, newton)
    for _ in range(MAX_CORRECTIONS):
        point, before = corrected.point, corrected.last.decrement
        move = resolve(point.gradient)
        decrement = -0.5 * float(np.vdot(point.gradient, move))
        ratio = decrement / before if before > 0.0 else 0.0
        if not 0.0 <= ratio < 1.0:
            break
        if contraction is None and _is_rounding_of_the_factor(problem, newton, move):
            break
        expected = CHORD_SHARE * ratio * decrement
        remaining = expected if contraction is None else contraction * decrement
        image = -point.gradient - problem.prior_precision * move
        last = newton._replace(move=move, image=image, decrement=decrement, squared_error=2.0 * remaining)
        corrected = corrected._replace(theta=point.theta + move, last=last)
        negligible = problem.negligible_error * point.loss
        is_negligible = remaining <= negligible and min(expected, remaining) <= NEGLIGIBLE_SHARE * negligible
        # the change of the loss along a correction that is not measured is below rounding
        if contraction is None or is_negligible:
            break
        end = problem.measure(point.theta + move, final=True)
        if not is_finite(end) or not (end.loss < point.loss or is_rounding(point, end)):
            break
        # an increase by rounding: the loss curve does not rise
        end = end._replace(loss=min(end.loss, point.loss))
        corrected = Corrected(end, corrected.move + move, corrected.image + image, None, last)
    return corrected


def _is_rounding_of_the_factor(problem: DescentProblem, newton: NewtonDecrement, move: Array) -> bool:
    """Say whether a correction moves logits by more than the step that it corrects.

    A factor of a nearly singular matrix turns rounding into moves along directions in which F has vanished. A pass is
    needed only where some coefficient moves further than in the step.
    """
    if newton.well_conditioned or newton.squared_error > 0.0 or (abs(move) <= abs(newton.move)).all():
        return False
    return not problem.shift(move) <= max(MAX_SHIFT, problem.shift(newton.move))
