"""The covariance of selected columns, by conjugate gradients on exact products with F."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import BlockInformation, DiagonalInformation, IdentityInformation, preconditioner_of
from sknatgrad._model.information.symmetric import noise_floor
from sknatgrad._model.kernels import FisherProductKernel, InformationKernel, MeasureKernel, MetricScores
from sknatgrad._solver.conjugate_gradients import Status, conjugate_gradients
from sknatgrad._solver.krylov import KrylovBasis
from sknatgrad.inference._covariance.protocol import mask_undetermined, step_length
from sknatgrad.inference._row_sums.aliased import MIN_INDEPENDENT_SHARE

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Mask
    from sknatgrad._limits import Limits
    from sknatgrad._model.kernels import Sums
    from sknatgrad._model.protocols import PooledInformation, Precision, RowScores
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.conjugate_gradients import Solution
    from sknatgrad._solver.cost_model import Shape
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.sums import RowSums

# A solve ends where its remaining squared error, in the units of the variance, is this share of the variance. Sandwich
# covariances are linear in the error, and some of them are much smaller than the variance.
SOLVE_TOLERANCE = 1e-20
# If a larger share remains, the coefficient is treated as not determined: its variance has fewer than seven digits.
MAX_REMAINING = 1e-7
# Random vectors for the trace, one solve each: with eight its standard error is √tr / 2.
N_PROBES = 8
# The part of a coefficient in a null direction, relative to that direction, from which it is treated as not determined.
# Of 500 tables with aliased columns, preconditioned by the diagonal, all agreed with `aliased='nan'` with 1e-10 to
# 1e-6, all but one with 1e-5.
MIN_NULL_PART = 1e-8
# a variance below this has no digits to divide by
SMALLEST = np.finfo(np.float64).tiny
# The share of the diagonal of F, in each column, that a preconditioner must contain: with less, it scales some column
# wrongly. 0.25 to 0.9 made no difference for digits.
MIN_DIAGONAL_SHARE = 0.5


class Columns(NamedTuple):
    """H⁻¹ e for vectors e of coefficients."""

    solutions: Array  # (j, q, d)
    determined: Mask  # (j,)


class Solved(NamedTuple):
    """The results of linear solves with H."""

    columns: Columns  # of the selected coefficients
    gradient: Columns  # one column, H⁻¹ g
    effective_dof: float


@record
class SelectedCovariance:
    """The covariance of selected columns, without a matrix of all coefficients; as `CoefficientCovariance`."""

    row_sums: RowSums
    fitted: FittedModel
    columns: Codes

    # small differences of columns are not searched for
    hidden_distance = None

    @cached_property
    def _out_of_core(self) -> bool:
        with self.row_sums.opened() as source:
            return source.out_of_core

    @cached_property
    def _measured(self) -> Sums[IdentityInformation]:
        keep = not self._out_of_core
        return self.row_sums.total(MeasureKernel(self.fitted.theta, TrueExpectation(), IdentityInformation, keep))

    @cached_property
    def _scores(self) -> RowScores:
        if self._out_of_core:
            return MetricScores.recomputed(self.fitted.theta, TrueExpectation()).true
        return MetricScores.stored(self._measured.scores).true

    @cached_property
    def _gradient(self) -> Array:
        return self._measured.gradient + self.fitted.prior.gradient(self.fitted.theta)

    @cached_property
    def _targets(self) -> Array:
        """Coefficients as vectors of θ, ``((K - 1) columns, q, d)``."""
        n_contrasts, n_columns = self.row_sums.contrasts.n_classes - 1, self.fitted.theta.shape[1]
        units = np.zeros((n_contrasts, self.columns.size, n_contrasts, n_columns))
        for k in range(n_contrasts):
            units[k, range(self.columns.size), k, self.columns] = 1.0
            if self.fitted.centres is not None:
                # the intercept of the rows themselves
                units[k, self.columns == n_columns - 1, k, :-1] = -self.fitted.centres
        contrasts = self.row_sums.contrasts
        return np.array([contrasts.transpose(unit) for unit in units.reshape(-1, n_contrasts, n_columns)])

    @cached_property
    def _solved(self) -> Solved:
        precision = self.fitted.prior.precision
        with self.row_sums.opened() as source:
            shape = self.row_sums.rows.shape(*self.fitted.theta.shape)
            solver = _Solver.of(source, self._scores, precision, shape, self.row_sums.limits)
            dof = solver.trace() if self.fitted.penalised else np.nan
            return Solved(solver.columns(self._targets), solver.columns(self._gradient[None]), dof)

    @property
    def loss(self) -> float:
        """The loss without penalty, nats."""
        return float(self._measured.loss)

    @property
    def max_loss(self) -> float:
        """The largest loss of a row of positive weight, nats."""
        return float(self._measured.max_loss)

    @property
    def step(self) -> Array:
        """The undamped natural gradient step, ``(q, d)``."""
        step: Array = -self._solved.gradient.solutions[0]
        return step

    @property
    def distance(self) -> float:
        """The length of that step in standard errors."""
        return step_length(-float(np.vdot(self._gradient, self.step)))

    @property
    def determined(self) -> Mask:
        """Whether the data determine each of the coefficients, ``(K - 1, columns)``."""
        return self._solved.columns.determined.reshape(-1, self.columns.size)

    @property
    def effective_dof(self) -> float:
        """The number of all coefficients without a penalty; with one, tr(H⁻¹F), estimated."""
        return self._solved.effective_dof if self.fitted.penalised else float(self.row_sums.n_params)

    @property
    def log_evidence(self) -> float:
        """NaN: it needs the determinants of all coefficients."""
        return float("nan")

    @property
    def fisher(self) -> None:
        """None: Fisher information is not formed."""
        return

    @property
    def dependence(self) -> None:
        """None: the columns that are not selected are not searched for linear dependence."""
        return

    def covariance(self, options: CovarianceOptions) -> Array:
        """Return the covariance of the coefficients; NaN for those that are not determined."""
        solutions, determined = self._solved.columns
        flat = solutions.reshape(len(solutions), -1)
        if options.covariance == "fisher":
            covariance = flat @ self._targets.reshape(len(solutions), -1).T
            return mask_undetermined(0.5 * (covariance + covariance.T), determined)
        images = self.row_sums.total(FisherProductKernel(self._scores, solutions))
        fisher = flat @ images.reshape(len(solutions), -1).T
        meat = options.meat(self.row_sums.projected(solutions), fisher, self.row_sums.n_params)
        return mask_undetermined(meat, determined)


@record
class _Solver:
    """Solves systems with H, one right-hand side after another."""

    source: RowSource
    scores: RowScores
    precision: Array  # (d,), of the prior
    units: Array  # (q, d), one over the root of the diagonal of H
    preconditioner: Precision
    basis: KrylovBasis

    @classmethod
    def of(cls, source: RowSource, scores: RowScores, precision: Array, shape: Shape, limits: Limits) -> _Solver:
        """Return a solver that is preconditioned by a matrix for each class, or else by the diagonal of H."""
        information: PooledInformation = source.total(InformationKernel(scores, DiagonalInformation, precision.size))
        diagonal = information.diagonal() + precision
        units = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        if 8 * shape.size * shape.n_columns <= limits.preconditioner_bytes:
            blocks: PooledInformation = source.total(InformationKernel(scores, BlockInformation, precision.size))
            # they omit rows of little variance, which may be all rows with a value in some column
            complete = (blocks.diagonal() >= MIN_DIAGONAL_SHARE * information.diagonal()).all()
            information = blocks if complete else information
        basis = KrylovBasis(shape.n_directions(), shape.size)
        return cls(source, scores, precision, units, preconditioner_of(information, precision), basis)

    def _fisher(self, move: Array) -> Array:
        image: Array = self.source.total(FisherProductKernel(self.scores, move[None]))[0]
        return image

    def _product(self, move: Array) -> Array:
        """Return H v; 0 if the columns are aliased along v, by the curvature in units of the columns.

        Conjugate gradients then end, instead of dividing the rounding of the right-hand side by that of H. A product
        squares the differences of columns, but has their rounding, unlike a matrix.
        """
        image = self._fisher(move) + self.precision * move
        size = float(((move / self.units) ** 2).sum())
        return image if float(np.vdot(move, image)) > MIN_INDEPENDENT_SHARE**2 * size else np.zeros_like(image)

    def _in_range(self, target: Array, solution: Solution, rounding: float) -> bool:
        """Say whether H has the target in its range: the residual has no part along which H has no curvature.

        A solve that breaks down has such a part along its last direction, unless that is rounding. `rounding` is that
        of the residual, relative to the target.
        """
        residual, size = np.linalg.norm(solution.residual * self.units), np.linalg.norm(target * self.units)
        if residual <= max(MIN_NULL_PART, rounding) * size:
            return True
        return solution.status is not Status.breakdown and bool(self._product(self.units**2 * solution.residual).any())

    def trace(self) -> float:
        """Return an estimate of tr(H⁻¹F), the mean of vᵀH⁻¹F v over vectors v of random signs (Hutchinson 1990).

        The signs are in units of the columns. Each of the terms has a standard error of about √(2 tr).
        """
        random = np.random.default_rng(0)
        signs = [random.choice([-1.0, 1.0], size=self.units.shape) for _ in range(N_PROBES)]
        solutions = self.columns(np.array([self._fisher(sign * self.units) for sign in signs])).solutions
        return float(np.mean([np.vdot(v / self.units, found) for v, found in zip(signs, solutions, strict=True)]))

    def columns(self, targets: Array) -> Columns:
        """Return H⁻¹ of each target."""
        solutions, determined = np.zeros_like(targets), np.zeros(len(targets), dtype=bool)
        for index, target in enumerate(targets):
            solution = conjugate_gradients(
                self._product,
                target,
                self.preconditioner,
                converged=lambda found: found.remaining <= SOLVE_TOLERANCE * found.decrease or not found.residual.any(),
                basis=self.basis,
            )
            # by how much collinearity inflates the variance, which otherwise would be that of the diagonal of H
            inflation = 2.0 * solution.decrease / max(float(((target * self.units) ** 2).sum()), SMALLEST)
            solved = solution.remaining <= MAX_REMAINING * solution.decrease
            rounding = inflation * noise_floor(target.size)
            determined[index] = solved and rounding < 1.0 and self._in_range(target, solution, rounding)
            solutions[index] = solution.x
        return Columns(solutions, determined)
