"""Where a descent over many rows begins: at the optimum of a sample of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._solver.descent import descend

if TYPE_CHECKING:
    from sknatgrad._solver.descent import DescentOptions
    from sknatgrad._solver.objective import Objective
    from sknatgrad._typing import Array

# A sample is solved until what is left is this share of its own error, which is about qd / 2m nats a row. Further on,
# columns that only a few of its rows have would be taken too far.
SHARE_OF_ERROR = 1.0
# Newton's method takes about 6; more show a sample that is no help
MAX_STEPS = 15


def warm_up(objective: Objective, options: DescentOptions) -> tuple[Array, DescentOptions]:
    """Return where and with what damping to begin: at zero, or at the optimum of the last of a few growing samples."""
    theta = np.zeros((objective.plan.shape.n_logits, objective.prior_precision.size))
    sizes = objective.plan.samples
    # each is a sample of the next larger one, so that the rows themselves are gone through once
    sources = [objective.source]
    for n_rows in reversed(sizes):
        sources.append(sources[-1].sample(n_rows))
    for n_rows in sizes:
        source = sources.pop()
        tol = max(SHARE_OF_ERROR * theta.size / (2.0 * n_rows), options.tol)
        level = objective.on_sample(source, n_rows, accuracy=tol)
        # as accurate as that: no last step is taken
        for last, _ in descend(level, level.begin(theta), options._replace(tol=tol, max_iter=MAX_STEPS)):
            theta, options = last.point.theta, options._replace(damping=last.damping, scale=last.scale)
    return theta, options
