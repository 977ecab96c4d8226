"""Binds a source of rows, a prior and a plan into the few callables that the descent sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._categorical import TrueExpectation
from sknatgrad._information import DenseInformation, DiagonalInformation
from sknatgrad._measure import FisherProductKernel, MeasureKernel
from sknatgrad._parameters import centre
from sknatgrad._refine import MatrixFreeInformation, conjugate_gradients
from sknatgrad._stopping import ROUNDING
from sknatgrad._typing import Certificate, Measured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._categorical import Expectation
    from sknatgrad._information import Structure
    from sknatgrad._strategy import Plan
    from sknatgrad._typing import Array, Information, RowSource

# An inexact step is corrected by the next one; a certificate is the last.
STEP_TOLERANCE = 1e-2
CERTIFICATE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Objective:
    """J(θ) = Σ s_i ℓ_i(θ) + ½ Σ_j λ_j ‖θ_{·j}‖², with the metric that `plan` names."""

    source: RowSource
    prior: Array  # (d,), λ
    plan: Plan
    seed: int = 0
    _draws: Iterator[int] = field(default_factory=count)

    def measure(self, theta: Array) -> Measured:
        """Return loss, gradient and metric at θ, in one pass; labels are drawn anew each time."""
        expectation = self.plan.expectation(self.seed + next(self._draws))
        sums = self.source.total(MeasureKernel(theta, expectation, self.plan.structure))
        information: Information = sums.information
        if self.plan.matrix_free:
            information = self._matrix_free(theta, expectation, sums.information, STEP_TOLERANCE)
        return Measured(
            theta=theta,
            loss=sums.loss + 0.5 * float((self.prior * theta**2).sum()),
            gradient=sums.gradient + self.prior * theta,
            information=information,
            weight=sums.weight,
            worst=sums.worst,
        )

    def better_start(self, theta: Array) -> Array:
        """Return θ, or zero if that has the lower loss: far out, where F has vanished, no step leads back."""
        with np.errstate(over="ignore", invalid="ignore"):
            given, zero = (self.measure(start).loss for start in (theta, np.zeros_like(theta)))
        return theta if given <= zero else np.zeros_like(theta)

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return the true Fisher times each of `moves`, ``(j, q, d)``, without the prior."""
        if self.plan.exact and not self.plan.matrix_free:
            return np.stack([measured.information.matvec(move) for move in moves])
        return self.source.total(FisherProductKernel(measured.theta, moves, TrueExpectation()))

    def certificate(self, measured: Measured) -> Certificate:
        """Return −(F+Λ)⁻¹g with the true Fisher and no damping, and ½ gᵀ(F+Λ)⁻¹g.

        A solve leaves out what lies outside the numerical range of F+Λ: nothing but rounding, as a rule, but also
        directions too nearly collinear to be told from rounding; or everything, where all probabilities have saturated
        and F has vanished. If the gradient has more there than rounding, what it could gain is not known.
        """
        if not self.plan.dense_certificate:
            return self._iterated_certificate(measured)
        information: Any = measured.information
        if not self.plan.exact:
            information = self._information(measured.theta, DenseInformation)
        precision = information.precision(self.prior)
        move = -centre(precision.solve(measured.gradient))
        # Σ s|r x| ≤ √(Σ s r²/v) √(Σ s v x²), with v the variance of the score, and r²/v = e^ℓ − 1 is about the loss ℓ:
        # so this, in the units of `outside`, is the rounding of the sum that makes the gradient
        rounding = ROUNDING * np.sqrt(measured.loss)
        return _certificate(measured, move, known=precision.outside(measured.gradient) <= rounding)

    def _iterated_certificate(self, measured: Measured) -> Certificate:
        # by the true diagonal, whatever the metric: in other units than each column's own, "solved" would mean little
        precision = self._information(measured.theta, DiagonalInformation).precision(self.prior)
        solution = conjugate_gradients(
            lambda move: self.products(measured, move[None])[0] + self.prior * move,
            measured.gradient,
            precision,
            tolerance=CERTIFICATE_TOLERANCE,
        )
        known = solution.solved and precision.outside(measured.gradient) == 0.0
        return _certificate(measured, -centre(solution.move), known=known)

    def _information(self, theta: Array, structure: Structure) -> Any:
        """Return the true Fisher information at θ in another structure than the plan's, by a pass of its own."""
        return self.source.total(MeasureKernel(theta, TrueExpectation(), structure)).information

    def _matrix_free(
        self, theta: Array, expectation: Expectation, diagonal: Information, tolerance: float
    ) -> MatrixFreeInformation:
        def product(move: Array) -> Array:
            kernel = FisherProductKernel(theta, move[None], expectation)
            return np.ascontiguousarray(self.source.total(kernel)[0])

        return MatrixFreeInformation(diagonal, product, tolerance)


def _certificate(measured: Measured, move: Array, *, known: bool) -> Certificate:
    return Certificate(move, -0.5 * float(np.vdot(measured.gradient, move)) if known else np.inf)
