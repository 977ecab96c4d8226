"""Fits to all rows but one, for several rows together.

The sums at the optimum of all rows, less those of a row, are the sums without it. So the first Newton step of each fit
needs no reading of the other rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.categorical import predict
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._rows.design import Design
from sknatgrad._rows.source import RowsKernel, concatenated
from sknatgrad._rows.training_sets import TrainingSetKernel
from sknatgrad._solver.descent import descend
from sknatgrad._solver.many_models import Ending, ManyModels, PenalisedPoint, descend_together, starts_at
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.problem import DescentOptions
from sknatgrad._solver.stopping import FinalTolerance
from sknatgrad._solver.warm_up import starting_point

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Mask, Result
    from sknatgrad._limits import Limits
    from sknatgrad._model.information.dense import DensePrecision
    from sknatgrad._model.kernels import Sums
    from sknatgrad._model.prior import Prior
    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._rows.source import Kernel, LabelledRows, RowBlock, RowSource
    from sknatgrad._solver.cost_model import Shape
    from sknatgrad._solver.plan import Plan

# Tolerance of fits without a row. The loss of a row that other rows outweigh a million times is then off by 1e-5 nats,
# with 1e-6 by 0.8; breast cancer takes up to 10 % longer.
TOL = 1e-9
# fits that go on together
AT_ONCE = 100
# Leverage up to which a fit without a row begins with the factor of F + Λ of all rows: the first step leaves so much of
# the error. 0.02 to 0.2 take as long on breast cancer and digits.
MAX_SHARED_LEVERAGE = 0.05


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


@record
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


@record
class LeaveOneOutFits:
    """The fits of one model to all rows but one."""

    source: RowSource
    shape: Shape
    limits: Limits
    prior: Prior
    theta: Array  # (q, d), the optimum of all rows

    def logits(self, rows: Codes, leverage: Array) -> Array:
        """Return the logits of each of some rows, ascending, by the fit without it, ``(m, q)``."""
        logits = np.empty((rows.size, len(self.theta)))
        for first in range(0, rows.size, self._at_once):
            part = slice(first, first + self._at_once)
            blocks: list[LabelledRows] = self.source.total(RowsKernel(rows[part]))
            left_out = concatenated(blocks)
            theta = np.repeat(self.theta[:, None], left_out.codes.size, axis=1)
            known = np.zeros(left_out.codes.size, dtype=bool)
            if self.prior.quadratic is None:
                theta, known = self._together(rows[part], left_out, leverage[part])
            for place in np.flatnonzero(~known):
                theta[:, place] = self._alone(int(rows[part][place]))
            logits[part] = np.einsum("qmd,md->mq", theta, Design.of(left_out.X, theta.shape[2]).dense())
        return logits

    @property
    def _at_once(self) -> int:
        """How many fits go on together: each may have two matrices of its own."""
        return max(min(AT_ONCE, self.limits.matrix_bytes // (16 * self.theta.size**2)), 1)

    def _together(self, rows: Codes, left_out: LabelledRows, leverage: Array) -> tuple[Array, Mask]:
        """Return the coefficients of the fit without each of some rows, ``(q, m, d)``, and which have converged."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            points = self._points(left_out, leverage)
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

    def _points(self, left_out: LabelledRows, leverage: Array) -> list[PenalisedPoint]:
        """Return the optimum of all rows as a point of the fit without each of some rows.

        F without a row of little leverage is that of all rows, but for so much.
        """
        theta, precision, mean = self.theta, self.prior.precision, self.prior.mean
        design = Design.of(left_out.X, theta.shape[1])
        logits, dense = design.logits(theta), design.dense()
        losses, residuals = predict(logits).loss_and_residual(left_out.codes)
        points = []
        for row, weight in enumerate(left_out.weight):
            gradient = self._sums.gradient - weight * np.outer(residuals[row], dense[row])
            loss = self._sums.loss - weight * float(losses[row])
            factor = self._factor
            if leverage[row] > MAX_SHARED_LEVERAGE:
                part = slice(row, row + 1)
                scores = predict(logits[part]).scores()
                of_row = DenseInformation.of_block(design.rows(part), scores, left_out.weight[part])
                factor = without(self._sums.information, of_row).precision(precision)
            points.append(PenalisedPoint.of(theta, loss, gradient, factor, precision, mean))
        return points

    @cached_property
    def _sums(self) -> Sums[DenseInformation]:
        return self.source.total(MeasureKernel(self.theta, TrueExpectation(), DenseInformation))

    @cached_property
    def _factor(self) -> DensePrecision:
        """The factor of F + Λ of all rows."""
        return self._sums.information.precision(self.prior.precision)

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


def without(information: DenseInformation, of_row: DenseInformation) -> DenseInformation:
    """Return the information of all rows without that of one; rounding makes no variance negative."""
    blocks = information.blocks - of_row.blocks
    size = information.blocks.shape[0] * information.blocks.shape[1]
    diagonal = blocks.reshape(-1)[:: size + 1]
    np.maximum(diagonal, 0.0, out=diagonal)
    return DenseInformation(blocks)
