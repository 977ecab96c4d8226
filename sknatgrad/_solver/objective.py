"""The objectives: a source of rows, a prior and a plan, as the `DescentProblem` that the loop calls.

There are five, by how the metric is related to the true Fisher information F. The quadratic model of the loss, which
gives the length of a step and its predicted decrease, has F with all of them but the two whose metric approximates F:

- `DirectObjective`: the metric is F, as a matrix. A step is a solve with its Cholesky factor: Newton's method.
- `MatrixFreeObjective`: the metric is F, known by its products. A step is a solve by conjugate gradients: Newton-CG.
- `QuasiNewtonObjective`: the metric is F of a sample of the rows, updated by the gradients along the steps.
- `PlaneSearchObjective`: the metric is the diagonal of F at zero, updated likewise, and the loss is minimised over
  planes.
- `OtherMetricObjective`: the metric is another matrix, stored or known by its products.

Steps sum to zero over classes: their mean over classes, which changes no probability, is subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, cast

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import IdentityInformation
from sknatgrad._model.information.dense import DensePrecision
from sknatgrad._model.layout import zero_sum
from sknatgrad._solver.conjugate_gradients import Solution, Status
from sknatgrad._solver.krylov import RecycledDirections
from sknatgrad._solver.newton_cg import MatrixFreeInformation, NewtonCG
from sknatgrad._solver.penalised_loss import ObjectiveOfRows, PenalisedLoss, RowsOperator
from sknatgrad._solver.plane_search import PlaneSearchObjective
from sknatgrad._solver.preconditioning import FactorCache, PreconditionerPolicy, PriorShare
from sknatgrad._solver.quasi_newton import QuasiNewtonMemory, QuasiNewtonObjective
from sknatgrad._solver.records import Direction, NewtonDecrement
from sknatgrad._solver.stopping import LOSS_ROUNDING, ORDER_INDEPENDENT, FinalTolerance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._definitions import Array
    from sknatgrad._model.prior import Prior
    from sknatgrad._model.protocols import FactorisedPrecision, PooledInformation
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.plan import Plan
    from sknatgrad._solver.records import Measured
    from sknatgrad._solver.step import Proposal


# Corrections of a final step by the same factor. With 1, fits take an iteration more; with 3 as long as with 2.
MEASURED_CORRECTIONS = 2


@dataclass
class LatestFactor:
    """The most recent factorisation, which the step and the Newton decrement of a point share without damping."""

    _information: PooledInformation | None = None
    _shift: Array | None = None
    _precision: FactorisedPrecision | None = None

    def precision(self, information: PooledInformation, shift: Array) -> FactorisedPrecision:
        """Return the factor of F + I ⊗ diag(shift)."""
        if self._precision is None or information is not self._information or (shift != self._shift).any():
            # the memory of the old factor is freed before the new one is computed
            self._precision = None
            self._precision = information.precision(shift)
            self._information, self._shift = information, shift
        return self._precision


@record
class DirectObjective(ObjectiveOfRows):
    """The metric is the true Fisher information, stored as a matrix at every point."""

    plan: Plan
    final_tolerance: FinalTolerance
    latest: LatestFactor  # changes with every solve

    @property
    def corrections(self) -> int:
        """How many times the final step is corrected: it costs little, as the matrix is factorised.

        Out of core a measurement takes as long as one with F.
        """
        return 1 if self.plan.shape.out_of_core else MEASURED_CORRECTIONS

    @property
    def negligible_error(self) -> float:
        """Excess of the loss over its minimum that the final step may leave, as a share of the loss."""
        return self.final_tolerance.order_dependent

    def measure(self, theta: Array, *, final: bool = False) -> Measured:
        """Return loss, gradient and F at θ; at the end of a `final` step, no F."""
        structure = IdentityInformation if final else self.plan.structure
        return self.penalised_loss.measure(
            theta, structure, TrueExpectation(), keep_scores=False, float32=self.plan.float32_metric
        )

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return v = −M⁻¹g, M = F + I ⊗ diag(shift), and F v."""
        information: PooledInformation = measured.information  # type: ignore[assignment]  # it was stored
        move = -zero_sum(self.latest.precision(information, shift).solve(measured.gradient))
        return Direction(move, information.matvec(move), exact_solve=True)

    def fisher_products(self, measured: Measured, moves: Array) -> Array:
        """Return F times each of `moves`, ``(j, q, d)``."""
        return np.array([measured.information.matvec(move) for move in moves])

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:  # noqa: ARG002
        """Return −(F+Λ)⁻¹g and its decrease, by a factorisation."""
        information = _stored(measured)
        return _direct_decrement(measured, information, self.latest.precision(information, self.prior_precision))

    def decrement(self, measured: Measured) -> float:
        """Return the Newton decrement at a point, nats, for observers."""
        return self.newton_decrement(measured).decrement

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ at a point, ``(qd, qd)``, for observers."""
        return self.penalised_loss.matrix(_stored(measured))


@record
class MatrixFreeObjective(ObjectiveOfRows):
    """The metric is the true Fisher information, known by its products."""

    plan: Plan
    final_tolerance: FinalTolerance
    solver: NewtonCG  # changes with every solve

    @property
    def corrections(self) -> int:
        """How many times the final step is corrected: not at all, as a solve costs as much as the first."""
        return 0

    @property
    def negligible_error(self) -> float:
        """Excess of the loss over its minimum that the final step may leave, as a share of the loss."""
        order_independent = self.solver.policy.order_independent
        return self.final_tolerance.order_independent if order_independent else self.final_tolerance.order_dependent

    def measure(self, theta: Array, *, final: bool = False) -> Measured:
        """Return loss, gradient and F as an operator at θ; at the end of a `final` step, no F."""
        measured = self.penalised_loss.measure(theta, IdentityInformation, TrueExpectation(), keep_scores=not final)
        return measured if final else measured._replace(information=self._information(measured, self.solver))

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return v = −M⁻¹g, M = F + I ⊗ diag(shift), and F v, which follows from the residual of the solve."""
        solution = _matrix_free(measured).precision(shift).solution(measured.gradient)
        solve_summary = f"{solution.products} products by {self.solver.policy.current.name}"
        return Direction(-zero_sum(solution.x), _image(measured.gradient, solution, shift), solve_summary)

    def fisher_products(self, measured: Measured, moves: Array) -> Array:
        """Return F times each of `moves`, ``(j, q, d)``."""
        return self.penalised_loss.products(measured.scores.true, moves)

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return −(F+Λ)⁻¹g and its decrease, by conjugate gradients from the step that is `near`."""
        return _iterated_decrement(measured, _matrix_free(measured), self.prior_precision, near)

    def decrement(self, measured: Measured) -> float:
        """Return the Newton decrement at a point, nats, for observers.

        It has a solver of its own, so that a descent with callbacks takes the same path as one without.
        """
        own = measured._replace(information=self._information(measured, _solver(self.plan, self.penalised_loss.prior)))
        return self.newton_decrement(own).decrement

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ at a point, ``(qd, qd)``, for observers, by a pass."""
        return self.penalised_loss.matrix(self.penalised_loss.dense(measured))

    def _information(self, measured: Measured, solver: NewtonCG) -> MatrixFreeInformation:
        operator = RowsOperator(self.penalised_loss, measured.scores.metric, self.plan.float32_products)
        return MatrixFreeInformation(operator, solver, measured.loss, self.final_tolerance)


@record
class OtherMetricObjective(ObjectiveOfRows):
    """The metric is not the true Fisher information F; a product with F takes a pass over the rows."""

    plan: Plan
    final_tolerance: FinalTolerance
    draws: LabelDraws  # changes with every measurement
    solver: NewtonCG  # changes with every solve, where the metric is too large to be stored

    @property
    def corrections(self) -> int:
        """How many times the final step is corrected: once if F + Λ is factorised for it, which takes a pass."""
        return int(self.plan.direct_decrement)

    @property
    def negligible_error(self) -> float:
        """Excess of the loss over its minimum that the final step may leave, as a share of the loss."""
        return self.final_tolerance.order_dependent

    def measure(self, theta: Array, *, final: bool = False) -> Measured:
        """Return loss, gradient and metric at θ, with labels drawn anew; at the end of a `final` step, no metric."""
        expectation = self.plan.expectation(self.draws.next_seed())
        structure = IdentityInformation if final or self.plan.matrix_free else self.plan.structure
        measured = self.penalised_loss.measure(theta, structure, expectation, keep_scores=not final)
        if final or not self.plan.matrix_free:
            return measured
        operator = RowsOperator(self.penalised_loss, measured.scores.metric, uses_float32=False)
        return measured._replace(information=self._information(operator, measured.loss, self.solver))

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M the metric plus I ⊗ diag(shift)."""
        return Direction(_natural_direction(measured, shift))

    def fisher_products(self, measured: Measured, moves: Array) -> Array:
        """Return F times each of `moves`, ``(j, q, d)``."""
        return self.penalised_loss.products(measured.scores.true, moves)

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return −(F+Λ)⁻¹g and its decrease; `near` is a first guess.

        Conjugate gradients are preconditioned by the diagonal of F, whatever the metric: the estimate of the error is
        good only if columns are in comparable units.
        """
        if self.plan.direct_decrement:
            stored = self.penalised_loss.dense(measured)
            return _direct_decrement(measured, stored, stored.precision(self.prior_precision))
        operator = RowsOperator(self.penalised_loss, measured.scores.true, uses_float32=False)
        information = self._information(operator, measured.loss, _solver(self.plan, self.penalised_loss.prior))
        return _iterated_decrement(measured, information, self.prior_precision, near)

    def decrement(self, measured: Measured) -> float:
        """Return the Newton decrement at a point, nats, for observers."""
        return self.newton_decrement(measured).decrement

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ at a point, ``(qd, qd)``, for observers, by a pass."""
        return self.penalised_loss.matrix(self.penalised_loss.dense(measured))

    def _information(self, operator: RowsOperator, loss: float, solver: NewtonCG) -> MatrixFreeInformation:
        order_dependent = self.final_tolerance.order_dependent
        return MatrixFreeInformation(operator, solver, loss, FinalTolerance(order_dependent, order_dependent))


@dataclass
class LabelDraws:
    """Seeds of the labels that ``'monte_carlo'`` draws: a new one for each measurement."""

    seed: int
    _drawn: Iterator[int] = field(default_factory=count)

    def next_seed(self) -> int:
        """Return the seed of the next measurement."""
        return self.seed + next(self._drawn)


Objective = DirectObjective | MatrixFreeObjective | QuasiNewtonObjective | PlaneSearchObjective | OtherMetricObjective


def make_objective(
    source: RowSource,
    prior: Prior,
    plan: Plan,
    seed: int = 0,
    final_tolerance: FinalTolerance | None = None,
) -> Objective:
    """Return the objective that a plan chooses, of rows and a prior; only drawn labels depend on the `seed`."""
    penalised_loss, final_tolerance = PenalisedLoss(source, prior), final_tolerance or FinalTolerance()
    if plan.fisher != "true":
        return OtherMetricObjective(
            penalised_loss, plan, final_tolerance, LabelDraws(seed), _solver(plan, penalised_loss.prior)
        )
    exact = _without_search(penalised_loss, plan, final_tolerance)
    if not plan.plane_search or prior.quadratic is not None:
        return exact
    return PlaneSearchObjective(penalised_loss, plan, final_tolerance, exact)


def _without_search(
    penalised_loss: PenalisedLoss, plan: Plan, final_tolerance: FinalTolerance
) -> DirectObjective | MatrixFreeObjective | QuasiNewtonObjective:
    newton = _newton(penalised_loss, plan, final_tolerance)
    if not plan.quasi_newton:
        return newton
    later = _newton(penalised_loss, plan, final_tolerance._replace(order_independent=final_tolerance.order_dependent))
    memory = QuasiNewtonMemory(by_influence=plan.shape.influence_sampled)
    return QuasiNewtonObjective(penalised_loss, plan, final_tolerance, newton, later, memory)


def _newton(
    penalised_loss: PenalisedLoss, plan: Plan, final_tolerance: FinalTolerance
) -> DirectObjective | MatrixFreeObjective:
    """Return the objective whose metric is the true Fisher information."""
    if plan.matrix_free:
        return MatrixFreeObjective(penalised_loss, plan, final_tolerance, _solver(plan, penalised_loss.prior))
    return DirectObjective(penalised_loss, plan, final_tolerance, LatestFactor())


def _solver(plan: Plan, prior: Prior) -> NewtonCG:
    """Return a solver that has not solved anything yet."""
    shape = plan.shape
    share = PriorShare.of(shape.n_rows * shape.n_logits, prior.precision)
    # the information of a row is measured against that of the prior
    compares = share.proper and prior.quadratic is None
    options = [option for option in plan.preconditioners if compares or not option.rank]
    policy = PreconditionerPolicy(options, centred=shape.centred)
    return NewtonCG(policy, RecycledDirections(shape.n_directions()), FactorCache(prior=share))


def _stored(measured: Measured) -> PooledInformation:
    """Return the information of an objective that stores it as a matrix."""
    return cast("PooledInformation", measured.information)


def _matrix_free(measured: Measured) -> MatrixFreeInformation:
    """Return the information of an objective that knows it by its products."""
    return cast("MatrixFreeInformation", measured.information)


def _natural_direction(measured: Measured, shift: Array) -> Array:
    """Return −M⁻¹g, M the metric plus I ⊗ diag(shift), at zero sum over classes."""
    return -zero_sum(measured.information.precision(shift).solve(measured.gradient))


def _image(gradient: Array, solution: Solution, shift: Array) -> Array:
    """Return F v of the step v = −x, from the residual r of its solve: (F + I ⊗ diag(shift)) x = g − r."""
    return solution.residual - gradient + shift * solution.x


def _direct_decrement(
    measured: Measured, information: PooledInformation, precision: FactorisedPrecision
) -> NewtonDecrement:
    """Return the Newton step by a factorisation of F + Λ."""

    def resolve(gradient: Array) -> Array:
        return -zero_sum(precision.solve(gradient))

    move = resolve(measured.gradient)
    decrement = _decrement(measured, move, in_range=_is_in_range(precision, measured))
    well_conditioned = isinstance(precision, DensePrecision) and precision.well_conditioned
    return NewtonDecrement(move, information.matvec(move), decrement, resolve, well_conditioned, squared_error=0.0)


def _iterated_decrement(
    measured: Measured, information: MatrixFreeInformation, prior: Array, near: Proposal | None
) -> NewtonDecrement:
    """Return the Newton step by conjugate gradients, started from the step `near`."""
    gradient, start = measured.gradient, None
    if near is not None:
        # x = −v, and the residual g − (F + Λ) x
        start = Solution(-near.move, gradient + near.image + prior * near.move)
    solution = information.precision(prior).solution(gradient, start, final=True)
    converged = solution.status is Status.converged
    in_range = converged and _is_in_range(information.preconditioner(prior), measured)
    move = -zero_sum(solution.x)
    decrement = _decrement(measured, move, in_range=in_range)
    image = _image(gradient, solution, prior)
    # The estimate misses directions that no iteration has reached: one of 2e-6 nats exceeded it by a factor of 1,000.
    # A decrease above `tol` of the loss along one would have been taken by earlier steps.
    missed = measured.loss * information.tolerance.order_independent / ORDER_INDEPENDENT
    squared_error = max(solution.remaining, missed) if converged else np.inf
    return NewtonDecrement(move, image, decrement, squared_error=squared_error)


def _decrement(measured: Measured, move: Array, *, in_range: bool) -> float:
    """Return ½ gᵀ(F+Λ)⁻¹g of the step −(F+Λ)⁻¹g, or infinity if part of the gradient is outside the range of F+Λ.

    A solve omits that part, so the decrease along it is unknown. Usually it is rounding. But it may be along a
    direction so nearly collinear that the factorisation cannot distinguish it from rounding; or it is the whole
    gradient, where all probabilities have saturated and F has vanished.
    """
    return -0.5 * float(np.vdot(measured.gradient, move)) if in_range else np.inf


def _is_in_range(precision: FactorisedPrecision, measured: Measured) -> bool:
    """Say whether the part of the gradient outside the range of a factorised matrix is no more than rounding."""
    # The gradient of one column is Σ s r x, with r the score of a row, v its variance, s its weight and ℓ its loss. Its
    # rounding is relative to Σ s |r x| ≤ √(Σ s r²/v) √(Σ s v x²). The second root is the unit of `norm_outside_range`,
    # the diagonal of F. The first is about the root of the loss, as r²/v = e^ℓ − 1 is about ℓ.
    return bool(precision.norm_outside_range(measured.gradient) <= LOSS_ROUNDING * np.sqrt(measured.loss))
