"""Fits to all rows but one, for several rows together.

The sums at the optimum of all rows, less those of a row, are the sums without it. So the first Newton step of each fit
needs no reading of the other rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.many_models import GroupKernel
from sknatgrad._rows.design import Design
from sknatgrad._rows.matrices import pick_rows
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.source import LabelledRows, concatenated
from sknatgrad._rows.training_sets import RowGroups, TrainingSetKernel
from sknatgrad._solver.descent import descend
from sknatgrad._solver.many_models import Ending, ManyModels, descend_together, starts_at
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.path import GroupSums
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.problem import DescentOptions
from sknatgrad._solver.stopping import FinalTolerance
from sknatgrad._solver.warm_up import starting_point

if TYPE_CHECKING:
    from sknatgrad._limits import Limits
    from sknatgrad._model.kernels import Sums
    from sknatgrad._model.prior import Prior
    from sknatgrad._rows.source import Kernel, RowBlock, RowSource
    from sknatgrad._solver.cost_model import Shape
    from sknatgrad._solver.plan import Plan
    from sknatgrad._typing import Array, Codes, Mask, Result

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
class SourceWithout:
    """The rows of another source but one, which has no weight."""

    source: RowSource
    row: int

    @property
    def out_of_core(self) -> bool:
        """Whether each pass reads the rows again."""
        return self.source.out_of_core

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in block order."""
        return self.source.total(TrainingSetKernel(kernel, RowsLeftOut(np.array([self.row]))))

    def sample(self, n_rows: int) -> RowSource:
        """Return a sample of all rows: the metric of one row less is nearly the same."""
        return self.source.sample(n_rows)

    def as_float32(self) -> SourceWithout:
        """Return the same blocks in float32; out of core, the same source."""
        return SourceWithout(self.source.as_float32(), self.row)


@dataclass(frozen=True)
class RowsKernel:
    """Some of the rows, in order, as their blocks have them."""

    rows: Codes  # ascending

    def __call__(self, block: RowBlock) -> list[LabelledRows]:
        """Return those of one block."""
        places = self.rows - block.start
        inside = places[(places >= 0) & (places < block.codes.size)]
        if not inside.size:
            return []
        return [LabelledRows(pick_rows(block.X, inside), block.codes[inside], block.weight[inside])]

    def merge(self, left: list[LabelledRows], right: list[LabelledRows]) -> list[LabelledRows]:
        """Append those of later rows."""
        return left + right


@dataclass(frozen=True)
class LeaveOneOutFits:
    """The fits of one model to all rows but one."""

    source: RowSource
    shape: Shape
    limits: Limits
    prior: Prior
    theta: Array  # (q, d), the optimum of all rows

    def logits(self, rows: Codes) -> Array:
        """Return the logits of each of some rows, ascending, by the fit without it, ``(m, q)``."""
        logits = np.empty((rows.size, len(self.theta)))
        for first in range(0, rows.size, self._at_once):
            part = slice(first, first + self._at_once)
            blocks: list[LabelledRows] = self.source.total(RowsKernel(rows[part]))
            left_out = concatenated(blocks)
            theta = self._without(rows[part], left_out)
            dense = Design.of(left_out.X, theta.shape[2]).dense()
            logits[part] = np.einsum("qmd,md->mq", theta, dense)
        return logits

    @property
    def _at_once(self) -> int:
        """How many fits go on together: each has two matrices of its own."""
        return max(min(AT_ONCE, self.limits.matrix_bytes // (16 * self.theta.size**2)), 1)

    def _without(self, rows: Codes, left_out: LabelledRows) -> Array:
        """Return the coefficients of the fit without each of some rows, ``(q, m, d)``."""
        theta = np.repeat(self.theta[:, None], rows.size, axis=1)
        known = np.zeros(rows.size, dtype=bool)
        if self.prior.quadratic is None:
            theta, known = self._together(rows, left_out)
        for place in np.flatnonzero(~known):
            theta[:, place] = self._alone(int(rows[place]))
        return theta

    def _together(self, rows: Codes, left_out: LabelledRows) -> tuple[Array, Mask]:
        """Return the same, and which of the fits have converged."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            kernel = GroupKernel(self._measure, RowGroups.of_each_row(rows.size))
            sums: list[Sums[DenseInformation] | None] = MemorySource(*left_out).total(kernel)
            of_rows = GroupSums.of(self.theta, sums)
            whole = GroupSums.of(self.theta, [self._sums])
            points = [
                whole.without(of_rows, row).penalised(self.prior.precision, self.prior.mean) for row in range(rows.size)
            ]
        models = ManyModels(
            replace(cast("MemorySource", self.source), n_logits=len(self.theta) * rows.size),
            RowsLeftOut(rows),
            np.arange(rows.size),
            np.tile(self.prior.precision, (rows.size, 1)),
            self.prior.mean,
        )
        ending = Ending(FinalTolerance.of(TOL).order_independent, self.shape.steps_per_matrix(rows.size))
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
        return choose_plan("true", self.shape, self.limits, subsample=False)

    def _alone(self, row: int) -> Array:
        """Return the coefficients of the fit without a row, by a descent of its own; it may have no optimum."""
        source = SourceWithout(self.source, row)
        objective = make_objective(source, self.prior, self._plan, final_tolerance=FinalTolerance.of(TOL))
        options = DescentOptions(tol=TOL, penalised=self.prior.proper)
        theta = self.theta
        for state, _ in descend(objective, starting_point(objective, self.theta), options):
            theta = state.theta
        return theta
