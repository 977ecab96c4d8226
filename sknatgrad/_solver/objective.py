"""Binds a source of rows, a prior and a plan into the few callables that the descent sees."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._model.information import DenseInformation, IdentityInformation
from sknatgrad._model.kernels import FisherProductKernel, InformationKernel, MeasureKernel, MetricScores, SquaresKernel
from sknatgrad._model.layout import centre, classes_for
from sknatgrad._model.metrics import PRECONDITIONERS
from sknatgrad._solver.conjugate_gradients import Solution
from sknatgrad._solver.newton_cg import IN_DOUBLE, IterativeInformation, Preconditioner
from sknatgrad._solver.plan import on_sample
from sknatgrad._solver.records import Certificate, Direction, Measured
from sknatgrad._solver.stopping import ROUNDING, FinalTolerance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._model.prior import Prior
    from sknatgrad._model.protocols import Information, RowScores, Structure
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.plan import Plan
    from sknatgrad._typing import Array


# of the score of one logit
LARGEST_VARIANCE = 0.25
# sums of squares in float32 below this have lost digits
SINGLE_FLOOR = 1e-30


@dataclass(frozen=True)
class Objective:
    """J(θ) = Σ s_i ℓ_i(θ) + ½ Σ_j λ_j ‖θ_{·j} − μ_{·j}‖², with the metric that `plan` names.

    And the quadratic model of the past, where there is one, whose information is pooled with that of the rows.
    """

    source: RowSource
    prior: Prior
    plan: Plan
    seed: int = 0
    final_tolerance: FinalTolerance = field(default_factory=FinalTolerance)
    preconditioner: Preconditioner = field(init=False)
    _draws: Iterator[int] = field(default_factory=count, init=False)

    def __post_init__(self) -> None:
        """Begin with the cheapest preconditioner."""
        cheapest = Preconditioner(offers=list(self.plan.offers), rows=self.plan.shape.directions())
        object.__setattr__(self, "preconditioner", cheapest)

    def measure(self, theta: Array, *, last: bool = False) -> Measured:
        """Return loss, gradient and metric at θ, in one pass; labels are drawn anew each time.

        The last point of a descent is left without a metric, as no step begins there.
        """
        expectation = self.plan.expectation(self.seed + next(self._draws))
        structure = IdentityInformation if self.plan.iterative or last else self.plan.structure
        needed = self.plan.needs_products and not last
        sums = self.source.total(MeasureKernel(theta, expectation, structure, needed and not self.source.out_of_core))
        scores = (
            MetricScores.recomputed(theta, expectation) if self.source.out_of_core else MetricScores.stored(sums.scores)
        )
        loss = sums.loss + self.prior.value(theta)
        information: Information = sums.information
        if self.plan.iterative and not last:
            information = self._iterative(scores.metric, loss, self.preconditioner)
        else:
            information = self.prior.merged(sums.information)
        return Measured(
            theta=theta,
            loss=loss,
            gradient=sums.gradient + self.prior.gradient(theta),
            information=information,
            weight=sums.weight,
            worst=sums.max_loss,
            scores=scores,
        )

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``."""
        return self.prior.precision

    def begin(self, theta: Array) -> Measured:
        """Measure θ, or zero if that has the lower loss: far out, where F has vanished, no step leads back."""
        at_zero = np.log(classes_for(theta.shape[0])) * (1.0 + ROUNDING)
        with np.errstate(over="ignore", invalid="ignore"):
            point = self.measure(theta)
            zero = np.zeros_like(theta)
            return point if point.loss <= point.weight * at_zero + self.prior.value(zero) else self.measure(zero)

    def on_sample(self, source: RowSource, n_rows: int, accuracy: float) -> Objective:
        """Return the same objective as a sample of the rows, about so many, estimates it.

        A column of which the sample has few entries would be taken too far, and back from there leads no quadratic
        model. So the prior knows of one row more: the curvature that one of the sample's may have at most.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            squares, of_squares = source.total(SquaresKernel(self.prior_precision.size))
            row = np.divide(of_squares, squares, out=np.zeros_like(squares), where=squares > 0)
        # what is not finite is found, and reported, by the descent
        more = LARGEST_VARIANCE * np.where(np.isfinite(row), row, 0.0)
        plan = on_sample(self.plan, n_rows)
        prior = self.prior._replace(precision=self.prior.precision + more)
        return Objective(source, prior, plan, self.seed, FinalTolerance(accuracy, accuracy))

    @property
    def accuracy(self) -> float:
        """Error of a last step that is as good as none, relative to the loss."""
        return (
            self._errors.order_independent
            if self.plan.iterative and self.preconditioner.repeatable
            else self.final_tolerance.order_dependent
        )

    @property
    def _errors(self) -> FinalTolerance:
        order_dependent = self.final_tolerance.order_dependent
        return self.final_tolerance if self.plan.exact else FinalTolerance(order_dependent, order_dependent)

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M the metric plus I ⊗ diag(shift)."""
        precision: Any = measured.information.precision(shift)
        if not (self.plan.exact and self.plan.iterative):
            move = -centre(precision.solve(measured.gradient))
            return Direction(move, None if self.plan.needs_products else measured.information.matvec(move))
        solution: Solution = precision.descend(measured.gradient)
        how = f"{solution.products} products by {self.preconditioner.name}"
        return Direction(-centre(solution.move), _image(measured.gradient, solution, shift), how)

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return the true Fisher times each of `moves`, ``(j, q, d)``, without the prior."""
        images: Array = self.source.total(FisherProductKernel(measured.scores.true, moves))
        if self.prior.quadratic is not None:
            images += np.array([self.prior.quadratic.information.matvec(move) for move in moves])
        return images

    @property
    def direct(self) -> bool:
        """Whether a certificate comes with a factorised matrix, so that solving again costs next to nothing."""
        return self.plan.dense_certificate

    def certificate(self, measured: Measured, near: Direction | None = None) -> Certificate:
        """Return −(F+Λ)⁻¹g with the true Fisher and no damping, and ½ gᵀ(F+Λ)⁻¹g; `near` is a first guess.

        A solve leaves out what lies outside the numerical range of F+Λ: nothing but rounding, as a rule, but also
        directions too nearly collinear to be told from rounding; or everything, where all probabilities have saturated
        and F has vanished. If the gradient has more there than rounding, what it could gain is not known.
        """
        if not self.plan.dense_certificate:
            return self._iterated_certificate(measured, near)
        information = self._true(measured)
        precision = information.precision(self.prior.precision)
        move = -centre(precision.solve(measured.gradient))
        known = _within_range(precision, measured)
        certificate = _certificate(measured, move, information.matvec(move), known=known)
        return certificate._replace(again=lambda gradient: -centre(precision.solve(gradient)))

    def matrix(self, measured: Measured) -> Array:
        """Return F + Λ as a matrix, ``(qd, qd)``, for whoever watches, by a pass where the metric is another."""
        return np.asarray(self._true(measured).dense()) + np.diag(
            np.tile(self.prior.precision, measured.theta.shape[0])
        )

    def _true(self, measured: Measured) -> Any:
        """Return the true Fisher information in a form that has a matrix, by a pass if it is not at hand."""
        return self._build(measured.scores.true, DenseInformation) if self.plan.needs_products else measured.information

    def decrement(self, measured: Measured) -> float:
        """Return what is still to be gained at a point, in nats, for whoever watches."""
        if self.plan.exact and self.plan.iterative:
            # with a preconditioner of its own: the descent goes no other way for being watched
            own = self._iterative(measured.scores.metric, measured.loss, replace(self).preconditioner)
            measured = measured._replace(information=own)
        return self.certificate(measured).decrement

    def _iterated_certificate(self, measured: Measured, near: Direction | None) -> Certificate:
        information: Any = measured.information
        if not (self.plan.exact and self.plan.iterative):
            # by the true diagonal, whatever the metric: in other units than a column's own, "solved" would mean little
            cheapest = Preconditioner(rows=self.plan.shape.directions())
            information = self._iterative(measured.scores.true, measured.loss, cheapest)
        start = None
        if near is not None and near.image is not None:
            residual = measured.gradient + near.image + self.prior.precision * near.move
            start = Solution(-near.move, residual)
        precision = information.precision(self.prior.precision)
        solution = precision.descend(measured.gradient, start, last=True)
        known = solution.solved and _within_range(information.preconditioner(self.prior.precision), measured)
        return _certificate(
            measured, -centre(solution.move), _image(measured.gradient, solution, self.prior.precision), known=known
        )

    def _build(self, scores: RowScores, structure: Structure, *, rounded: bool = False) -> Any:
        """Return the information of known scores in any structure, by a pass of its own; of rounded ones, rounded."""
        source = self._rounded_source if rounded and self.plan.rounded else self.source
        return self.prior.merged(source.total(InformationKernel(scores, structure, self.prior_precision.size, rounded)))

    def _holds(self, diagonal: Array) -> bool:
        """Say whether float32 has room for sums of squares: none too large, and none lost that no prior adds to."""
        lost = (diagonal < SINGLE_FLOOR) & (self.prior.precision == 0.0)
        return bool(np.isfinite(diagonal).all() and not lost.any())

    @cached_property
    def _rounded_source(self) -> RowSource:
        return self.source.as_float32()

    def _iterative(self, scores: RowScores, loss: float, known: Preconditioner) -> IterativeInformation:
        @cache
        def rounded_scores() -> RowScores:
            return scores.as_float32()

        def product(source: RowSource, scores: RowScores, move: Array) -> Array:
            image: Array = source.total(FisherProductKernel(scores, move[None]))[0]
            return image if self.prior.quadratic is None else image + self.prior.quadratic.information.matvec(move)

        def build(structure: str) -> Any:
            if structure not in IN_DOUBLE:
                information = self._build(rounded_scores(), PRECONDITIONERS[structure], rounded=True)
                if self._holds(information.diagonal()):
                    return information
            return self._build(scores, PRECONDITIONERS[structure])

        return IterativeInformation(
            product=lambda move: product(self.source, scores, move),
            rounded=(lambda move: product(self._rounded_source, rounded_scores(), move)) if self.plan.rounded else None,
            build=build,
            bought=known,
            loss=loss,
            final_tolerance=self._errors,
        )


def _image(gradient: Array, solution: Solution, shift: Array) -> Array:
    """Return the true Fisher times the step: A x = g - r, and A = F + shift."""
    return solution.residual - gradient + shift * solution.move


def _within_range(precision: Any, measured: Measured) -> bool:
    """Say whether the gradient has no more outside the range of a factorised matrix than rounding."""
    # Σ s|r x| ≤ √(Σ s r²/v) √(Σ s v x²), with v the variance of the score, and r²/v = e^ℓ − 1 is about the loss ℓ: so
    # this, in the units of `outside`, is the rounding of the sum that makes the gradient
    return bool(precision.norm_outside_range(measured.gradient) <= ROUNDING * np.sqrt(measured.loss))


def _certificate(measured: Measured, move: Array, image: Array, *, known: bool) -> Certificate:
    decrement = -0.5 * float(np.vdot(measured.gradient, move)) if known else np.inf
    return Certificate(move, image, decrement)
