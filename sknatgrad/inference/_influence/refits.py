"""Fits without one of the rows, where one step of Newton's method does not show what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.threads import Workers
from sknatgrad._solver.descent import descend
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.problem import DescentOptions
from sknatgrad._solver.stopping import FinalTolerance
from sknatgrad._solver.warm_up import starting_point

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.sums import RowSums

# Newton decrement at which a fit without a row ends, as a share of the loss: the loss of that row is then off by less
# than the 1e-3 of leave-one-out losses that are compared.
TOL = 1e-8


def logits_without(fitted: FittedModel, row_sums: RowSums, chosen: Codes) -> Array:
    """Return the contrasts' logits of each of some rows, ``(j, k)``, by a fit to all other rows."""
    rows, contrasts = row_sums.in_memory, row_sums.contrasts
    n_logits, n_columns = fitted.theta.shape
    shape = rows.shape(n_logits, n_columns)._replace(centred=rows.centres is not None)
    plan = choose_plan("true", shape, row_sums.limits, subsample=False)
    options = DescentOptions(tol=TOL, penalised=fitted.penalised)
    logits, weight = np.empty((chosen.size, contrasts.n_classes - 1)), rows.weight.copy()
    with Workers() as workers:
        for number, index in enumerate(chosen):
            removed, weight[index] = weight[index], 0.0
            source = MemorySource(
                rows.X, rows.codes, weight, n_logits, workers, limits=row_sums.limits, centres=rows.centres
            )
            objective = make_objective(source, fitted.prior, plan, final_tolerance=FinalTolerance.of(TOL))
            theta = fitted.theta
            for state, _ in descend(objective, starting_point(objective, theta), options):
                theta = state.theta
            design = rows.design(np.array([index]), n_columns)
            logits[number] = design.logits(contrasts.params(theta))[0]
            weight[index] = removed
    return logits
