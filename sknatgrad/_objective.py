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
from sknatgrad._typing import Certificate, Measured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._categorical import Expectation
    from sknatgrad._strategy import Plan
    from sknatgrad._typing import Array, Information, RowSource

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

    def certificate(self, measured: Measured) -> Certificate:
        """Return −(F+Λ)⁻¹g with the true Fisher and no damping, and ½ gᵀ(F+Λ)⁻¹g.

        A solve leaves out what lies outside the range of F+Λ: rounding, or, where all probabilities have saturated and
        F has vanished, everything. What is left out is counted as still to be gained, at the scale of the diagonal.
        """
        gradient = measured.gradient
        if self.plan.exact and not self.plan.matrix_free:
            information: Information = measured.information
        elif self.plan.dense_certificate:
            kernel = MeasureKernel(measured.theta, TrueExpectation(), DenseInformation)
            information = self.source.total(kernel).information
        else:
            return self._iterated_certificate(measured)
        move = -centre(information.precision(self.prior).solve(gradient))
        rest = gradient + information.matvec(move) + self.prior * move
        return Certificate(move, -0.5 * float(np.vdot(gradient, move)) + _energy(rest, information, self.prior))

    def _iterated_certificate(self, measured: Measured) -> Certificate:
        metric = measured.information
        if isinstance(metric, MatrixFreeInformation):
            metric = metric.diagonal_part
        solution = conjugate_gradients(
            lambda move: self.products(measured, move[None])[0] + self.prior * move,
            measured.gradient,
            metric.precision(self.prior),
            tolerance=CERTIFICATE_TOLERANCE,
        )
        move = -centre(solution.move)
        gained = -0.5 * float(np.vdot(measured.gradient, move))
        return Certificate(move, gained if solution.solved else np.inf)

    def _matrix_free(
        self, theta: Array, expectation: Expectation, diagonal: Information, tolerance: float
    ) -> MatrixFreeInformation:
        def product(move: Array) -> Array:
            kernel = FisherProductKernel(theta, move[None], expectation)
            return np.ascontiguousarray(self.source.total(kernel)[0])

        return MatrixFreeInformation(diagonal, product, tolerance)


def _energy(rest: Array, information: Information, prior: Array) -> float:
    """Return ½ Σ rest² / diagonal in nats: infinite where there is something and the diagonal is zero."""
    diagonal = information.diagonal() + prior
    known = diagonal > 0
    return 0.5 * float((rest[known] ** 2 / diagonal[known]).sum()) if not rest[~known].any() else np.inf
