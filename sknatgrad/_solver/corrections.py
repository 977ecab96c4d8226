"""Corrections of the final step: further steps by the factor of its Newton step.

A step by an old factor is a chord step: its error is that of the point times a rate which the change of F since then
determines. It takes a measurement of the gradient alone, and a Newton step also one of F and its factorisation
(Shamanskii 1967).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._solver.stopping import is_finite, is_rounding

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._solver.problem import DescentProblem
    from sknatgrad._solver.records import Measured, NewtonDecrement
    from sknatgrad._typing import Array

# The Newton step from a distance e of the optimum leaves c e², as F is that of its start; a chord step from there has F
# that is off by up to twice as much as on average along the step, and leaves up to 2 c e of the distance: 4 times as
# much of the gap, which is its square.
CHORD_SHARE = 4.0


def corrections(
    problem: DescentProblem, point: Measured, newton: NewtonDecrement
) -> tuple[Measured, Array | None, NewtonDecrement]:
    """Correct the end of a final step, until the error is negligible or no correction is left.

    The last correction is not measured: the change of the loss along it is below rounding, or nearly.

    Parameters
    ----------
    problem : DescentProblem
        The objective.
    point : Measured
        The end of the final step, without its metric.
    newton : NewtonDecrement
        The final step, whose factor corrects it.

    Returns
    -------
    point : Measured
        The last point that was measured.
    corrected : ndarray of shape (q, d) or None
        θ after the last correction; None if the decrement did not fall, so that a chord step is no correction.
    last : NewtonDecrement
        The last correction as a Newton step at `point`.
    """
    resolve: Callable[[Array], Array] = newton.resolve  # type: ignore[assignment]  # of a factorised matrix
    before, last = newton.decrement, newton
    for left in reversed(range(problem.corrections)):
        move = resolve(point.gradient)
        decrement = -0.5 * float(np.vdot(point.gradient, move))
        ratio = decrement / before if before > 0.0 else 0.0
        if not 0.0 <= ratio < 1.0:
            return point, None, last
        image = -point.gradient - problem.prior_precision * move
        squared_error = 2.0 * CHORD_SHARE * ratio * decrement
        last = newton._replace(move=move, image=image, decrement=decrement, squared_error=squared_error)
        end = point.theta + move
        if left == 0 or CHORD_SHARE * ratio * decrement <= problem.negligible_error * point.loss:
            return point, end, last
        measured = problem.measure(end, final=True)
        if not is_finite(measured) or not (measured.loss < point.loss or is_rounding(point, measured)):
            return point, None, last
        # an increase by rounding: the loss curve does not rise
        point, before = measured._replace(loss=min(measured.loss, point.loss)), decrement
    return point, None, last
