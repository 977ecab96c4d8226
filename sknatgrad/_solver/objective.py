"""The objectives that a descent sees: a source of rows, a prior and a plan, bound into what the loop asks.

Three kinds, by how the metric is related to the true Fisher information F, which always measures the steps:

- `DirectObjective`: the metric is F, as a matrix. A step is a solve with its Cholesky factor: Newton's method.
- `MatrixFreeObjective`: the metric is F, known by its products. A step is a solve by conjugate gradients: Newton-CG.
- `OtherMetricObjective`: the metric is another; products with F still give the length of its steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, cast

import numpy as np

from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import IdentityInformation
from sknatgrad._model.layout import centre
from sknatgrad._solver.conjugate_gradients import Solution, Status
from sknatgrad._solver.krylov import RecycledDirections
from sknatgrad._solver.newton_cg import MatrixFreeInformation, NewtonCG
from sknatgrad._solver.penalised_loss import PenalisedLoss, RowsOperator
from sknatgrad._solver.preconditioning import PreconditionerPolicy
from sknatgrad._solver.records import Direction, NewtonDecrement
from sknatgrad._solver.stopping import ROUNDING, FinalTolerance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._model.prior import Prior
    from sknatgrad._model.protocols import FactorisedPrecision, PooledInformation
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.plan import Plan
    from sknatgrad._solver.records import Measured
    from sknatgrad._solver.step import Proposal
    from sknatgrad._typing import Array


@dataclass
class LabelDraws:
    """Seeds for the labels that ``'monte_carlo'`` draws: another one for each measurement."""

    seed: int
    _drawn: Iterator[int] = field(default_factory=count)

    def next_seed(self) -> int:
        """Return the seed of the next measurement."""
        return self.seed + next(self._drawn)


@dataclass(frozen=True)
class DirectObjective:
    """The metric is the true Fisher information, stored as a matrix at every point."""

    loss: PenalisedLoss
    plan: Plan
    final_tolerance: FinalTolerance

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``."""
        return self.loss.prior.precision

    @property
    def direct(self) -> bool:
        """Whether another solve costs little: the matrix is factorised."""
        return True

    @property
    def accuracy(self) -> float:
        """Error of the final step that is negligible, as a share of the loss."""
        return self.final_tolerance.order_dependent

    def measure(self, theta: Array, *, last: bool = False) -> Measured:
        """Return loss, gradient and matrix at θ; the last point needs no matrix."""
        structure = IdentityInformation if last else self.plan.structure
        return self.loss.measure(theta, structure, TrueExpectation(), keep_scores=False)

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M = F + I ⊗ diag(shift), and its product with F."""
        move = _metric_step(measured, shift)
        return Direction(move, measured.information.matvec(move))

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return F times each of `moves`, ``(j, q, d)``."""
        return np.array([measured.information.matvec(move) for move in moves])

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:  # noqa: ARG002
        """Return −(F+Λ)⁻¹g and its decrease, by a factorisation."""
        return _direct_decrement(measured, _stored(measured), self.prior_precision)

    def decrement(self, measured: Measured) -> float:
        """Return the Newton decrement at a point, nats, for observers."""
        return self.newton_decrement(measured).decrement

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ at a point, ``(qd, qd)``, for observers."""
        return self.loss.matrix(_stored(measured))


@dataclass(frozen=True)
class MatrixFreeObjective:
    """The metric is the true Fisher information, known by its products."""

    loss: PenalisedLoss
    plan: Plan
    final_tolerance: FinalTolerance
    solver: NewtonCG  # changes with every solve

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``."""
        return self.loss.prior.precision

    @property
    def direct(self) -> bool:
        """Whether another solve costs little: not by conjugate gradients."""
        return False

    @property
    def accuracy(self) -> float:
        """Error of the final step that is negligible, as a share of the loss."""
        order_independent = self.solver.policy.order_independent
        return self.final_tolerance.order_independent if order_independent else self.final_tolerance.order_dependent

    def measure(self, theta: Array, *, last: bool = False) -> Measured:
        """Return loss, gradient and the operator of the metric at θ; the last point needs no metric."""
        measured = self.loss.measure(theta, IdentityInformation, TrueExpectation(), keep_scores=not last)
        return measured if last else measured._replace(information=self._information(measured, self.solver))

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M = F + I ⊗ diag(shift), and its product with F, which the residual gives."""
        solution = _matrix_free(measured).precision(shift).solution(measured.gradient)
        how = f"{solution.products} products by {self.solver.policy.current.name}"
        return Direction(-centre(solution.move), _image(measured.gradient, solution, shift), how)

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return F times each of `moves`, ``(j, q, d)``."""
        return self.loss.products(measured.scores.true, moves)

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return −(F+Λ)⁻¹g and its decrease, by conjugate gradients from the step that is `near`."""
        return _iterated_decrement(measured, _matrix_free(measured), self.prior_precision, near)

    def decrement(self, measured: Measured) -> float:
        """Return the Newton decrement at a point, nats, for observers.

        With a solver of its own: an observed descent takes the same path as any other.
        """
        own = measured._replace(information=self._information(measured, _solver(self.plan)))
        return self.newton_decrement(own).decrement

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ at a point, ``(qd, qd)``, for observers, by a pass."""
        return self.loss.matrix(self.loss.dense(measured))

    def _information(self, measured: Measured, solver: NewtonCG) -> MatrixFreeInformation:
        operator = RowsOperator(self.loss, measured.scores.metric, self.plan.single_precision)
        return MatrixFreeInformation(operator, solver, measured.loss, self.final_tolerance)


@dataclass(frozen=True)
class OtherMetricObjective:
    """The metric is not the true Fisher information, whose products take a pass over the rows."""

    loss: PenalisedLoss
    plan: Plan
    final_tolerance: FinalTolerance
    draws: LabelDraws  # changes with every measurement
    solver: NewtonCG  # changes with every solve, where the metric is too large to be stored

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``."""
        return self.loss.prior.precision

    @property
    def direct(self) -> bool:
        """Whether another solve with F + Λ costs little."""
        return self.plan.direct_decrement

    @property
    def accuracy(self) -> float:
        """Error of the final step that is negligible, as a share of the loss."""
        return self.final_tolerance.order_dependent

    def measure(self, theta: Array, *, last: bool = False) -> Measured:
        """Return loss, gradient and metric at θ, with labels drawn anew; the last point needs no metric."""
        expectation = self.plan.expectation(self.draws.next_seed())
        structure = IdentityInformation if last or self.plan.matrix_free else self.plan.structure
        measured = self.loss.measure(theta, structure, expectation, keep_scores=not last)
        if last or not self.plan.matrix_free:
            return measured
        operator = RowsOperator(self.loss, measured.scores.metric, has_single=False)
        return measured._replace(information=self._matrix_free(operator, measured.loss, self.solver))

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M the metric plus I ⊗ diag(shift)."""
        return Direction(_metric_step(measured, shift))

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return F times each of `moves`, ``(j, q, d)``."""
        return self.loss.products(measured.scores.true, moves)

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return −(F+Λ)⁻¹g and its decrease; `near` is a first guess.

        By conjugate gradients it is preconditioned by the diagonal of F, whatever the metric: in other units than the
        columns' own, the error that remains would mean little.
        """
        if self.plan.direct_decrement:
            return _direct_decrement(measured, self.loss.dense(measured), self.prior_precision)
        operator = RowsOperator(self.loss, measured.scores.true, has_single=False)
        information = self._matrix_free(operator, measured.loss, _solver(self.plan))
        return _iterated_decrement(measured, information, self.prior_precision, near)

    def decrement(self, measured: Measured) -> float:
        """Return the Newton decrement at a point, nats, for observers."""
        return self.newton_decrement(measured).decrement

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ at a point, ``(qd, qd)``, for observers, by a pass."""
        return self.loss.matrix(self.loss.dense(measured))

    def _matrix_free(self, operator: RowsOperator, loss: float, solver: NewtonCG) -> MatrixFreeInformation:
        order_dependent = self.final_tolerance.order_dependent
        return MatrixFreeInformation(operator, solver, loss, FinalTolerance(order_dependent, order_dependent))


Objective = DirectObjective | MatrixFreeObjective | OtherMetricObjective


def make_objective(
    source: RowSource,
    prior: Prior,
    plan: Plan,
    seed: int = 0,
    final_tolerance: FinalTolerance | None = None,
) -> Objective:
    """Return the objective of rows and a prior that a plan asks for; `seed` matters where labels are drawn."""
    loss, final_tolerance = PenalisedLoss(source, prior), final_tolerance or FinalTolerance()
    if plan.fisher != "true":
        return OtherMetricObjective(loss, plan, final_tolerance, LabelDraws(seed), _solver(plan))
    if plan.matrix_free:
        return MatrixFreeObjective(loss, plan, final_tolerance, _solver(plan))
    return DirectObjective(loss, plan, final_tolerance)


def _solver(plan: Plan) -> NewtonCG:
    """Return a solver that has not solved anything yet."""
    return NewtonCG(PreconditionerPolicy(list(plan.preconditioners)), RecycledDirections(plan.shape.directions()))


def _stored(measured: Measured) -> PooledInformation:
    return cast("PooledInformation", measured.information)


def _matrix_free(measured: Measured) -> MatrixFreeInformation:
    return cast("MatrixFreeInformation", measured.information)


def _metric_step(measured: Measured, shift: Array) -> Array:
    """Return −M⁻¹g, M the metric plus I ⊗ diag(shift)."""
    return -centre(measured.information.precision(shift).solve(measured.gradient))


def _image(gradient: Array, solution: Solution, shift: Array) -> Array:
    """Return F times the step from the residual r of its solve: A x = g − r, and A = F + shift."""
    return solution.residual - gradient + shift * solution.move


def _direct_decrement(measured: Measured, information: PooledInformation, prior: Array) -> NewtonDecrement:
    precision = information.precision(prior)

    def resolve(gradient: Array) -> Array:
        return -centre(precision.solve(gradient))

    move = resolve(measured.gradient)
    decrement = _decrement(measured, move, in_range=_is_in_range(precision, measured))
    return NewtonDecrement(move, information.matvec(move), decrement, resolve)


def _iterated_decrement(
    measured: Measured, information: MatrixFreeInformation, prior: Array, near: Proposal | None
) -> NewtonDecrement:
    gradient, start = measured.gradient, None
    if near is not None:
        start = Solution(-near.move, gradient + near.image + prior * near.move)
    solution = information.precision(prior).solution(gradient, start, final=True)
    converged = solution.status is Status.converged
    in_range = converged and _is_in_range(information.preconditioner(prior), measured)
    move = -centre(solution.move)
    return NewtonDecrement(move, _image(gradient, solution, prior), _decrement(measured, move, in_range=in_range))


def _decrement(measured: Measured, move: Array, *, in_range: bool) -> float:
    """Return ½ gᵀ(F+Λ)⁻¹g of the step −(F+Λ)⁻¹g, or infinity if part of the gradient is not in the range of F+Λ.

    A solve omits that part. As a rule it is rounding; but it may be a direction too nearly collinear to be told from
    rounding, or the whole gradient, where all probabilities have saturated and F has vanished. Its decrease is unknown.
    """
    return -0.5 * float(np.vdot(measured.gradient, move)) if in_range else np.inf


def _is_in_range(precision: FactorisedPrecision, measured: Measured) -> bool:
    """Say whether the gradient has no more outside the range of a factorised matrix than rounding."""
    # Σ s|r x| ≤ √(Σ s r²/v) √(Σ s v x²), with v the variance of the score, and r²/v = e^ℓ − 1 is about the loss ℓ: so
    # this, in the units of `outside`, is the rounding of the sum that makes the gradient
    return bool(precision.norm_outside_range(measured.gradient) <= ROUNDING * np.sqrt(measured.loss))
