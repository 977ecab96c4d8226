"""Fits to all rows but one, for several rows together.

The sums at the optimum of all rows, less those of a row, are the sums without it. So the first Newton step of each fit
needs no reading of the other rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.many_models import GroupKernel
from sknatgrad._rows.centring import take_centred
from sknatgrad._rows.design import Design
from sknatgrad._rows.training_sets import RowGroups
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.descent import descend
from sknatgrad._solver.many_models import Ending, ManyModels, descend_together, starts_at
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.path import GroupSums
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.problem import DescentOptions
from sknatgrad._solver.stopping import FinalTolerance
from sknatgrad._solver.warm_up import starting_point

if TYPE_CHECKING:
    from sknatgrad._model.kernels import Sums
    from sknatgrad._model.prior import Prior
    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._rows.source import Kernel, RowBlock
    from sknatgrad._solver.plan import Plan
    from sknatgrad._typing import Array, Codes, Mask

# Tolerance of fits without a row. The loss of that row is then off by far less than the 1e-3 nats to which
# leave-one-out losses are compared.
TOL = 1e-8
# fits that go on together
AT_ONCE = 100


class RowsLeftOut(NamedTuple):
    """Training sets of all rows but one each."""

    rows: Codes  # (T,), the row that each lacks

    def weights(self, block: RowBlock) -> Array:
        """Return the weight of each row of a block in each set, ``(T, m)``."""
        weights = np.tile(block.weight, (self.rows.size, 1))
        places = self.rows - block.start
        inside = np.flatnonzero((places >= 0) & (places < block.codes.size))
        weights[inside, places[inside]] = 0.0
        return weights


@dataclass(frozen=True)
class LeaveOneOutFits:
    """The fits of one model to all rows but one."""

    source: MemorySource
    prior: Prior
    theta: Array  # (q, d), the optimum of all rows

    def logits(self, rows: Codes) -> Array:
        """Return the logits of each of some rows, ascending, by the fit without it, ``(m, q)``."""
        logits = np.empty((rows.size, len(self.theta)))
        for first in range(0, rows.size, self._at_once):
            part = slice(first, first + self._at_once)
            theta = self._without(rows[part])
            X = take_centred(self.source.picked(rows[part]).X, 0, theta.shape[1], self.source.centres)
            design = Design.of(X, theta.shape[2])
            logits[part] = np.einsum("qmd,md->mq", theta, design.dense())
        return logits

    @property
    def _at_once(self) -> int:
        """How many fits go on together: each has two matrices of its own."""
        return max(min(AT_ONCE, self.source.limits.matrix_bytes // (16 * self.theta.size**2)), 1)

    def _without(self, rows: Codes) -> Array:
        """Return the coefficients of the fit without each of some rows, ``(q, m, d)``."""
        theta = np.repeat(self.theta[:, None], rows.size, axis=1)
        known = np.zeros(rows.size, dtype=bool)
        if self.prior.quadratic is None:
            theta, known = self._together(rows)
        for place in np.flatnonzero(~known):
            theta[:, place] = self._alone(int(rows[place]))
        return theta

    def _together(self, rows: Codes) -> tuple[Array, Mask]:
        """Return the same, and which of the fits have converged."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            kernel = GroupKernel(self._measure, RowGroups.of_each_row(rows.size))
            sums: list[Sums[DenseInformation] | None] = self.source.picked(rows).total(kernel)
            of_rows = GroupSums.of(self.theta, sums)
            whole = GroupSums.of(self.theta, [self._sums])
            points = [
                whole.without(of_rows, row).penalised(self.prior.precision, self.prior.mean) for row in range(rows.size)
            ]
        models = ManyModels(
            replace(self.source, n_logits=len(self.theta) * rows.size),
            RowsLeftOut(rows),
            np.arange(rows.size),
            np.tile(self.prior.precision, (rows.size, 1)),
            self.prior.mean,
        )
        ending = Ending(FinalTolerance.of(TOL).order_independent, self._plan.shape.steps_per_matrix(rows.size))
        optimum = np.repeat(self.theta[:, None], rows.size, axis=1)
        ended = descend_together(models, starts_at(optimum, points), [point.factor for point in points], ending)
        return ended.theta, ended.converged

    @cached_property
    def _measure(self) -> Kernel[Sums[DenseInformation]]:
        return MeasureKernel(self.theta, TrueExpectation(), DenseInformation)

    @cached_property
    def _sums(self) -> Sums[DenseInformation]:
        return self.source.total(self._measure)

    @cached_property
    def _plan(self) -> Plan:
        shape = Shape.of(self.source.X, *self.theta.shape)._replace(centred=self.source.centres is not None)
        return choose_plan("true", shape, self.source.limits, subsample=False)

    def _alone(self, row: int) -> Array:
        """Return the coefficients of the fit without a row, by a descent of its own; it may have no optimum."""
        weight = self.source.weight.copy()
        weight[row] = 0.0
        source = replace(self.source, weight=weight)
        objective = make_objective(source, self.prior, self._plan, final_tolerance=FinalTolerance.of(TOL))
        options = DescentOptions(tol=TOL, penalised=self.prior.proper)
        theta = self.theta
        for state, _ in descend(objective, starting_point(objective, self.theta), options):
            theta = state.theta
        return theta
