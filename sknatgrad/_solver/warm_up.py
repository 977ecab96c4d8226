"""Where a descent starts: at given coefficients, at zero, or at the optimum of a subsample of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._model.kernels import SquaresKernel
from sknatgrad._model.layout import BINARY
from sknatgrad._solver.descent import descend
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.stopping import ROUNDING, FinalTolerance

if TYPE_CHECKING:
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.objective import Objective
    from sknatgrad._solver.plan import Plan
    from sknatgrad._solver.problem import DescentOptions
    from sknatgrad._solver.records import Measured
    from sknatgrad._typing import Array

# A subsample of m rows is solved until the Newton decrement is this multiple of its own error, which is about qd / 2m
# nats a row. Solved further, columns with few entries in it overshoot. Halved and doubled: no change of 20,000 x 50.
SHARE_OF_ERROR = 1.0
# iterations; Newton's method takes about 6, and more show that the subsample is of no help
MAX_STEPS = 15
# largest variance of the score of one logit, p (1 − p)
MAX_VARIANCE = 0.25


def starting_point(objective: Objective, theta: Array) -> Measured:
    """Measure θ, or zero if that has the lower loss: far out, where F has vanished, no step leads back."""
    at_zero = np.log(max(theta.shape[0], BINARY)) * (1.0 + ROUNDING)
    with np.errstate(over="ignore", invalid="ignore"):
        point = objective.measure(theta)
        zero = np.zeros_like(theta)
        bound = point.weight * at_zero + objective.loss.prior.value(zero)
        return point if point.loss <= bound else objective.measure(zero)


def warm_up(objective: Objective, options: DescentOptions) -> tuple[Array, DescentOptions]:
    """Return θ and damping to start from: zero, or the optimum of the largest of a few growing subsamples."""
    theta = np.zeros((objective.plan.shape.n_logits, objective.prior_precision.size))
    plans = objective.plan.sample_plans
    # each is a subsample of the next larger one, so that all rows are read once
    sources = [objective.loss.source]
    for plan in reversed(plans):
        sources.append(sources[-1].sample(plan.shape.n_rows))
    for plan in plans:
        tol = max(SHARE_OF_ERROR * theta.size / (2.0 * plan.shape.n_rows), options.tol)
        # the final step, which would be more accurate than that, is not taken
        level = subsample_objective(objective, sources.pop(), plan, accuracy=tol)
        for last, _ in descend(level, starting_point(level, theta), options._replace(tol=tol, max_iter=MAX_STEPS)):
            theta = last.theta
            options = options._replace(damping=last.damping.factor, scale=last.damping.scale)
    return theta, options


def subsample_objective(objective: Objective, source: RowSource, plan: Plan, accuracy: float) -> Objective:
    """Return the objective as a subsample estimates it, with its plan.

    A column with few entries in the subsample overshoots there, and the quadratic model cannot correct it: its other
    rows end at saturated probabilities. So its prior has, for each column but the intercept, the largest curvature that
    one more row of the subsample can have. Standardised adult takes 119 ms with it, 224 without.
    """
    prior = objective.loss.prior
    with np.errstate(over="ignore", invalid="ignore"):
        squares, fourth_powers = source.total(SquaresKernel(prior.precision.size))
        row = np.divide(fourth_powers, squares, out=np.zeros_like(squares), where=squares > 0)
    # what is not finite is found, and reported, by the descent
    curvature = MAX_VARIANCE * np.where(np.isfinite(row), row, 0.0)
    prior = prior._replace(precision=prior.precision + curvature)
    return make_objective(source, prior, plan, final_tolerance=FinalTolerance(accuracy, accuracy))
