"""H⁻¹ at the fit, H = F + Λ: as a matrix, or for some columns by conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import BlockInformation, DiagonalInformation, IdentityInformation, preconditioner_of
from sknatgrad._model.information.symmetric import factorise, noise_floor
from sknatgrad._model.kernels import FisherProductKernel, InformationKernel, MeasureKernel, MetricScores
from sknatgrad._solver.conjugate_gradients import conjugate_gradients
from sknatgrad._solver.krylov import KrylovBasis
from sknatgrad._solver.plan import MATRIX_BYTES
from sknatgrad.inference._sums import ScoresAlong

if TYPE_CHECKING:
    from typing import Any

    from sknatgrad._model.protocols import PooledInformation, Precision, RowScores
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.cost_model import Shape
    from sknatgrad._typing import Array, Codes
    from sknatgrad.inference._fitted import Fitted
    from sknatgrad.inference._question import Question
    from sknatgrad.inference._sums import Sums, Totals

# A solve ends where what is left of it, squared and in the units of the variance, is this share of the variance.
# Sandwiches are linear in that error, and some of them much smaller than the variance.
SOLVED = 1e-20
# with more than this left, a coefficient cannot be found out about in this way
HOPELESS = 1e-7
# random vectors of a trace
PROBES = 8
# what a preconditioner has to know of each column
MOST = 0.5


class Curvature(Protocol):
    """What `infer` asks of it."""

    @property
    def loss(self) -> float:
        """Loss without penalty, nats."""
        ...

    @property
    def worst(self) -> float:
        """Largest loss of a row with weight, nats."""
        ...

    @property
    def step(self) -> Array:
        """The undamped natural gradient step, ``(q, d)``."""
        ...

    @property
    def off(self) -> float:
        """Length of that step in standard errors: how far the optimum is."""
        ...

    @property
    def determined(self) -> Any:
        """Which of the coefficients that are asked for the data determine, ``(K - 1, columns)``."""
        ...

    @property
    def effective_dof(self) -> float:
        """tr(H⁻¹F)."""
        ...

    @property
    def fisher(self) -> Array | None:
        """Fisher information of the contrasts, if it is there as a matrix."""
        ...

    def covariance(self, question: Question) -> Array:
        """Return the covariance of the coefficients that are asked for."""
        ...


@dataclass(frozen=True)
class WholeCurvature:
    """As a matrix: every column."""

    totals: Totals
    fitted: Fitted

    @cached_property
    def sums(self) -> Sums:
        """Loss, gradient and true Fisher information, by a pass over the rows."""
        return self.totals.plain()

    @cached_property
    def _prior(self) -> Array:
        return self.totals.contrasts.prior(self.fitted.prior)

    @cached_property
    def _inverse(self) -> tuple[Array, Any, int]:
        factor = factorise(self.sums.fisher + self._prior)
        inverse = factor.solve(np.eye(len(self._prior)))
        return 0.5 * (inverse + inverse.T), factor.determined(), factor.rank

    @cached_property
    def _gradient(self) -> Array:
        return self.sums.gradient + self._prior @ self.totals.contrasts.params(self.fitted.deviation).ravel()

    @property
    def loss(self) -> float:
        """Loss without penalty, nats."""
        return self.sums.loss

    @property
    def worst(self) -> float:
        """Largest loss of a row with weight, nats."""
        return self.sums.worst

    @property
    def step(self) -> Array:
        """The undamped natural gradient step, ``(q, d)``."""
        move = -self._inverse[0] @ self._gradient
        return self.totals.contrasts.theta(move.reshape(-1, self.fitted.theta.shape[1]))

    @property
    def off(self) -> float:
        """Length of that step in standard errors."""
        return _root(float(self._gradient @ self._inverse[0] @ self._gradient))

    @property
    def determined(self) -> Any:
        """Which coefficients the data determine, ``(K - 1, d)``."""
        return self._inverse[1].reshape(-1, self.fitted.theta.shape[1])

    @property
    def effective_dof(self) -> float:
        """tr(H⁻¹F)."""
        inverse, _, rank = self._inverse
        return float(np.einsum("ij,ji->", inverse, self.sums.fisher)) if self.fitted.penalised else float(rank)

    @property
    def fisher(self) -> Array:
        """Fisher information of the contrasts, ``((K - 1) d, (K - 1) d)``."""
        return self.sums.fisher

    def covariance(self, question: Question) -> Array:
        """Return the covariance, NaN for what is not determined."""
        inverse, determined, rank = self._inverse
        covariance = inverse.copy()
        if question.covariance != "fisher":
            covariance = inverse @ question.spread(self.totals, self.sums.fisher, rank) @ inverse
        return _known(covariance, determined)


class Columns(NamedTuple):
    """H⁻¹ e for vectors e of coefficients."""

    solutions: Array  # (j, q, d)
    known: Any  # (j,)


@dataclass(frozen=True)
class SomeCurvature:
    """The columns that are asked for, by conjugate gradients on exact products with F."""

    totals: Totals
    fitted: Fitted
    columns: Codes

    @cached_property
    def _measured(self) -> Any:
        keep = not self._far
        return self.totals.total(MeasureKernel(self.fitted.theta, TrueExpectation(), IdentityInformation, keep))

    @cached_property
    def _far(self) -> bool:
        with self.totals.opened() as source:
            return source.out_of_core

    @cached_property
    def _scores(self) -> RowScores:
        if self._far:
            return MetricScores.recomputed(self.fitted.theta, TrueExpectation()).true
        return MetricScores.stored(self._measured.scores).true

    @cached_property
    def _gradient(self) -> Array:
        gradient: Array = self._measured.gradient + self.fitted.prior * self.fitted.deviation
        return gradient

    @cached_property
    def _targets(self) -> Array:
        """Coefficients as vectors of θ, ``((K - 1) columns, q, d)``."""
        n_contrasts, n_columns = self.totals.contrasts.n_classes - 1, self.fitted.theta.shape[1]
        units = np.zeros((n_contrasts, self.columns.size, n_contrasts, n_columns))
        for k in range(n_contrasts):
            units[k, range(self.columns.size), k, self.columns] = 1.0
        contrasts = self.totals.contrasts
        return np.array([contrasts.pulled_back(unit) for unit in units.reshape(-1, n_contrasts, n_columns)])

    @cached_property
    def _solved(self) -> tuple[Columns, Columns, float]:
        """Solve for the coefficients, for the gradient, and for the trace."""
        with self.totals.opened() as source:
            solver = _Solver.of(
                source, self._scores, self.fitted.prior, self.totals.rows.shape(*self.fitted.theta.shape)
            )
            dof = solver.effective_dof() if self.fitted.penalised else np.nan
            return solver.columns(self._targets), solver.columns(self._gradient[None]), dof

    @property
    def loss(self) -> float:
        """Loss without penalty, nats."""
        return float(self._measured.loss)

    @property
    def worst(self) -> float:
        """Largest loss of a row with weight, nats."""
        return float(self._measured.worst)

    @property
    def step(self) -> Array:
        """The undamped natural gradient step, ``(q, d)``."""
        step: Array = -self._solved[1].solutions[0]
        return step

    @property
    def off(self) -> float:
        """Length of that step in standard errors."""
        return _root(-float(np.vdot(self._gradient, self.step)))

    @property
    def determined(self) -> Any:
        """Which of the coefficients are determined, ``(K - 1, columns)``."""
        return self._solved[0].known.reshape(-1, self.columns.size)

    @property
    def effective_dof(self) -> float:
        """Number of coefficients without a penalty; with one, tr(H⁻¹F) by the estimate of Hutchinson (1990)."""
        return self._solved[2] if self.fitted.penalised else float(self.totals.n_params)

    @property
    def fisher(self) -> None:
        """Not there as a matrix."""
        return

    def covariance(self, question: Question) -> Array:
        """Return the covariance of the coefficients, NaN for what is not determined."""
        solutions, known = self._solved[0]
        flat = solutions.reshape(len(solutions), -1)
        if question.covariance == "fisher":
            covariance = flat @ self._targets.reshape(len(solutions), -1).T
            return _known(0.5 * (covariance + covariance.T), known)
        images: Array = self.totals.total(FisherProductKernel(self._scores, solutions))
        fisher = flat @ images.reshape(len(solutions), -1).T
        return _known(question.spread(ScoresAlong(self.totals, solutions), fisher, self.totals.n_params), known)


@dataclass(frozen=True)
class _Solver:
    """Solves with H, one right side after another."""

    source: RowSource
    scores: RowScores
    prior: Array  # (d,)
    units: Array  # (q, d), one over the root of the diagonal of H
    metric: Precision
    basis: KrylovBasis

    @classmethod
    def of(cls, source: RowSource, scores: RowScores, prior: Array, shape: Shape) -> _Solver:
        """Return a solver with one matrix a class as a preconditioner, or the diagonal where those are of no use."""
        information: PooledInformation = source.total(InformationKernel(scores, DiagonalInformation, prior.size))
        diagonal = information.diagonal() + prior
        units = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        if 8 * shape.size * shape.n_columns <= MATRIX_BYTES:
            blocks: PooledInformation = source.total(InformationKernel(scores, BlockInformation, prior.size))
            # they leave out rows that hardly count, which may be all that a column has
            information = blocks if (blocks.diagonal() >= MOST * information.diagonal()).all() else information
        basis = KrylovBasis(shape.directions(), shape.size)
        return cls(source, scores, prior, units, preconditioner_of(information, prior), basis)

    def _fisher(self, move: Array) -> Array:
        image: Array = self.source.total(FisherProductKernel(self.scores, move[None]))[0]
        return image

    def _product(self, move: Array) -> Array:
        return self._fisher(move) + self.prior * move

    def effective_dof(self) -> float:
        """Return tr(H⁻¹F) as the mean of vᵀH⁻¹F v over random signs v, in units of the columns.

        Each errs by about √(2 tr).
        """
        random = np.random.default_rng(0)
        signs = [random.choice([-1.0, 1.0], size=self.units.shape) for _ in range(PROBES)]
        solutions = self.columns(np.array([self._fisher(sign * self.units) for sign in signs])).solutions
        return float(np.mean([np.vdot(v / self.units, found) for v, found in zip(signs, solutions, strict=True)]))

    def columns(self, targets: Array) -> Columns:
        """Return H⁻¹ of each target."""
        solutions, known = np.zeros_like(targets), np.zeros(len(targets), dtype=bool)
        for index, target in enumerate(targets):
            solution = conjugate_gradients(
                self._product,
                target,
                self.metric,
                converged=lambda found: found.remaining <= SOLVED * found.decrease or not found.residual.any(),
                basis=self.basis,
            )
            # how much less the data tell of it than if the other columns were not there
            inflated = 2.0 * solution.decrease * float(np.vdot(target, self._product(target)))
            known[index] = (
                solution.remaining <= HOPELESS * solution.decrease and inflated * noise_floor(target.size) < 1.0
            )
            solutions[index] = solution.move
        return Columns(solutions, known)


def _known(covariance: Array, determined: Any) -> Array:
    covariance[~determined] = covariance[:, ~determined] = np.nan
    return covariance


def _root(squared: float) -> float:
    # rounding must not make it the root of something negative
    return float(np.sqrt(max(squared, 0.0)))
