"""J(θ) of rows and prior, its gradient and its Fisher information, by passes over the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import FisherProductKernel, InformationKernel, MeasureKernel, MetricScores
from sknatgrad._model.metrics import PRECONDITIONERS
from sknatgrad._solver.preconditioning import IN_DOUBLE
from sknatgrad._solver.records import Measured

if TYPE_CHECKING:
    from sknatgrad._model.expectations import Expectation
    from sknatgrad._model.prior import Prior
    from sknatgrad._model.protocols import PooledInformation, RowScores, Structure
    from sknatgrad._rows.source import RowSource
    from sknatgrad._typing import Array

# Sums of squares in float32 below this have lost digits: terms down to 1e-8 of a sum count, and below 1e-38, the
# smallest normal number, they are rounded.
SINGLE_FLOOR = 1e-30


@dataclass(frozen=True)
class PenalisedLoss:
    """J(θ) = Σ s_i ℓ_i(θ) + ½ (θ − μ)ᵀ (I ⊗ diag(λ) + F₀) (θ − μ), the loss of rows with a prior.

    F₀ is the information of a quadratic approximation to rows seen before, or of a prior that is no diagonal; it is
    pooled with that of the rows wherever that is computed.
    """

    source: RowSource
    prior: Prior

    @cached_property
    def single(self) -> PenalisedLoss:
        """The same of the rows in float32, which are converted once."""
        return replace(self, source=self.source.as_float32())

    def measure(self, theta: Array, structure: Structure, expectation: Expectation, *, keep_scores: bool) -> Measured:
        """Return loss, gradient and metric at θ, in one pass.

        The scores, q numbers a row, are kept for later products if that is asked for and the rows are in memory; of
        rows out of core they are computed from θ again.
        """
        out_of_core = self.source.out_of_core
        sums = self.source.total(MeasureKernel(theta, expectation, structure, keep_scores and not out_of_core))
        return Measured(
            theta=theta,
            loss=sums.loss + self.prior.value(theta),
            gradient=sums.gradient + self.prior.gradient(theta),
            information=self.prior.merged(sums.information),
            weight=sums.weight,
            worst=sums.max_loss,
            scores=MetricScores.recomputed(theta, expectation) if out_of_core else MetricScores.stored(sums.scores),
        )

    def information(self, scores: RowScores, structure: Structure, *, single: bool = False) -> PooledInformation:
        """Return the information of known scores in a structure, by a pass; in float32 if the scores are `single`."""
        kernel = InformationKernel(scores, structure, self.prior.precision.size, single)
        information: PooledInformation = self.prior.merged(self.source.total(kernel))
        return information

    def products(self, scores: RowScores, moves: Array) -> Array:
        """Return the information of known scores times each of `moves`, ``(j, q, d)``, by a pass, without Λ."""
        images: Array = self.source.total(FisherProductKernel(scores, moves))
        if self.prior.quadratic is None:
            return images
        pooled: Array = images + np.array([self.prior.quadratic.information.matvec(move) for move in moves])
        return pooled

    def matrix(self, information: PooledInformation) -> Array:
        """Return F + Λ of dense information, ``(qd, qd)``."""
        n_logits = len(information.diagonal())
        return np.asarray(information.dense()) + np.diag(np.tile(self.prior.precision, n_logits))

    def dense(self, measured: Measured) -> PooledInformation:
        """Return the true Fisher information at a point as a matrix, by a pass."""
        return self.information(measured.scores.true, DenseInformation)


@dataclass(frozen=True)
class RowsOperator:
    """The Fisher information of scores at one point as an operator: its products, and preconditioners for them."""

    loss: PenalisedLoss
    scores: RowScores
    has_single: bool  # whether products are computed in float32, from a copy of the rows

    @cached_property
    def _single_scores(self) -> RowScores:
        return self.scores.as_float32()

    def product(self, move: Array) -> Array:
        """Return F v, ``(q, d)``."""
        product: Array = self.loss.products(self.scores, move[None])[0]
        return product

    def single_product(self, move: Array) -> Array:
        """Return F v, computed in float32."""
        product: Array = self.loss.single.products(self._single_scores, move[None])[0]
        return product

    def build(self, structure: str) -> PooledInformation:
        """Return F in a structure that preconditions, summed in float32 where that may be and suffices."""
        if structure not in IN_DOUBLE:
            loss = self.loss.single if self.has_single else self.loss
            information = loss.information(self._single_scores, PRECONDITIONERS[structure], single=True)
            if self._is_representable(information.diagonal()):
                return information
        return self.loss.information(self.scores, PRECONDITIONERS[structure])

    def _is_representable(self, diagonal: Array) -> bool:
        """Say whether float32 can hold sums of squares: none too large, and none lost to which no prior adds."""
        lost = (diagonal < SINGLE_FLOOR) & (self.loss.prior.precision == 0.0)
        return bool(np.isfinite(diagonal).all() and not lost.any())
