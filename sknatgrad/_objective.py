"""Binds a source of rows, a prior and a plan into the few callables that the descent sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._categorical import TrueExpectation
from sknatgrad._information import DenseInformation
from sknatgrad._measure import FisherProductKernel, MeasureKernel
from sknatgrad._parameters import centre
from sknatgrad._refine import MatrixFreeInformation, conjugate_gradients
from sknatgrad._typing import Measured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._categorical import Expectation
    from sknatgrad._strategy import Plan
    from sknatgrad._typing import Array, Information, Precision, RowSource

# An inexact step is corrected by the next one; a certificate is the last.
STEP_TOLERANCE = 1e-2
CERTIFICATE_TOLERANCE = 1e-5


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

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return the true Fisher times each of `moves`, ``(j, q, d)``, without the prior."""
        if self.plan.exact and not self.plan.matrix_free:
            return np.stack([measured.information.matvec(move) for move in moves])
        return self.source.total(FisherProductKernel(measured.theta, moves, TrueExpectation()))

    def natural_step(self, measured: Measured) -> Array | None:
        """Return −(F+Λ)⁻¹g with the true Fisher and no damping: the certificate; None where it could not be had."""
        if self.plan.exact and self.plan.dense_fits:
            solved = measured.information.precision(self.prior).solve(measured.gradient)
        elif self.plan.dense_fits:
            kernel = MeasureKernel(measured.theta, TrueExpectation(), DenseInformation)
            information = self.source.total(kernel).information
            solved = information.precision(self.prior).solve(measured.gradient)
        else:
            solution = conjugate_gradients(
                lambda move: self.products(measured, move[None])[0] + self.prior * move,
                measured.gradient,
                self._preconditioner(measured),
                tolerance=CERTIFICATE_TOLERANCE,
            )
            if not solution.solved:
                return None
            solved = solution.move
        return -centre(solved)

    def _preconditioner(self, measured: Measured) -> Precision:
        information: Information = measured.information
        if isinstance(information, MatrixFreeInformation):
            information = information.diagonal_part
        return information.precision(self.prior)

    def _matrix_free(
        self, theta: Array, expectation: Expectation, diagonal: Information, tolerance: float
    ) -> MatrixFreeInformation:
        def product(move: Array) -> Array:
            kernel = FisherProductKernel(theta, move[None], expectation)
            return np.ascontiguousarray(self.source.total(kernel)[0])

        return MatrixFreeInformation(diagonal, product, tolerance)
