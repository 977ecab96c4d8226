"""J(θ) of rows and prior, its gradient and its Fisher information, by passes over the rows."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import (
    FisherProductKernel,
    InformationKernel,
    LargestPairsKernel,
    LowRankKernel,
    MeasureKernel,
    MetricScores,
    ShiftKernel,
)
from sknatgrad._model.metrics import PRECONDITIONERS
from sknatgrad._solver.preconditioning import FLOAT64_KEYS
from sknatgrad._solver.records import Measured

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.expectations import Expectation
    from sknatgrad._model.information import LowRankInformation
    from sknatgrad._model.kernels import Sums
    from sknatgrad._model.prior import Prior
    from sknatgrad._model.protocols import PooledInformation, PreconditioningInformation, RowScores, Structure
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.preconditioning import PreconditionerOption

# Sums of squares in float32 below this have lost digits: terms of 1e-8 of a sum still count, and terms below 1e-38, the
# smallest normal number of float32, have fewer digits.
FLOAT32_FLOOR = 1e-30
# Share of tr(Λ⁻¹F) that the stored pairs have at least where F counts as one of low rank. With 0.5 no count changes;
# with 0.99 raw MNIST takes as many products at C = 1, and pixels between 0 and 1 at C = 10⁴ take 1,008 for 724.
MIN_SHARE = 0.9
NO_SCORES = MetricScores.stored(())


@record
class PenalisedLoss:
    """J(θ) = Σ s_i ℓ_i(θ) + ½ (θ − μ)ᵀ (I ⊗ diag(λ) + F₀) (θ − μ), the loss of rows with a prior.

    F₀ is the information of a quadratic approximation to earlier rows, or of a prior whose precision is not diagonal; 0
    if there is neither. Every information that is computed from the rows is pooled with F₀, so F means both together.
    """

    source: RowSource
    prior: Prior

    @cached_property
    def in_float32(self) -> PenalisedLoss:
        """The same loss of a copy of the rows in float32, which is made once."""
        return replace(self, source=self.source.as_float32())

    def measure(
        self,
        theta: Array,
        structure: Structure,
        expectation: Expectation,
        *,
        keep_scores: bool,
        float32: bool = False,
    ) -> Measured:
        """Return loss, gradient and metric at θ, in one pass.

        With `keep_scores`, the scores of rows in memory, q numbers a row, are stored for later products. The scores of
        rows out of core are computed again from θ in each pass. With `float32`, the metric is summed in that precision.
        """
        recompute = keep_scores and self.source.out_of_core
        kernel = MeasureKernel(theta, expectation, structure, keep_scores and not recompute, float32)
        sums = self.source.total(kernel)
        scores = NO_SCORES
        if keep_scores:
            scores = MetricScores.recomputed(theta, expectation) if recompute else MetricScores.stored(sums.scores)
        return self.measured(theta, sums, scores)

    def measured(self, theta: Array, sums: Sums[Any], scores: MetricScores = NO_SCORES) -> Measured:
        """Return loss, gradient and metric at θ from the sums over the rows there."""
        penalty, penalty_gradient = self.prior.value_and_gradient(theta)
        return Measured(
            theta,
            sums.loss + penalty,
            sums.gradient + penalty_gradient,
            self.prior.merged(sums.information),
            sums.weight,
            sums.max_loss,
            scores,
        )

    def information(self, scores: RowScores, structure: Structure, *, float32: bool = False) -> PooledInformation:
        """Return the information of known scores in a structure, by a pass; summed in `float32` if the scores are."""
        kernel = InformationKernel(scores, structure, self.prior.precision.size, float32)
        information: PooledInformation = self.prior.merged(self.source.total(kernel))
        return information

    def shift(self, move: Array) -> float:
        """Return the largest change of the difference of two logits of a row along a step, nats, by a pass."""
        shift: float = self.source.total(ShiftKernel(move))
        return shift

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
        """Return the true Fisher information at a point as a matrix, without Λ, by a pass."""
        return self.information(measured.scores.true, DenseInformation)


@record
class ObjectiveOfRows:
    """What all objectives of rows with a prior answer the loop alike (`DescentProblem`)."""

    penalised_loss: PenalisedLoss

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``: the diagonal of Λ for each class."""
        return self.penalised_loss.prior.precision

    def shift(self, move: Array) -> float:
        """Return the largest change of the difference of two logits of a row along a step, nats, by a pass."""
        return self.penalised_loss.shift(move)

    @property
    def contraction(self) -> float:
        """Share of the error that a step leaves at least: none, as Newton's method squares it."""
        return 0.0


@record
class RowsOperator:
    """The Fisher information of known scores at one point: the `FisherOperator` that `newton_cg` solves with."""

    penalised_loss: PenalisedLoss
    scores: RowScores
    uses_float32: bool  # whether solves use products in float32, by a copy of the rows

    @cached_property
    def _float32_scores(self) -> RowScores:
        return self.scores.as_float32()

    def product(self, move: Array) -> Array:
        """Return F v, ``(q, d)``."""
        product: Array = self.penalised_loss.products(self.scores, move[None])[0]
        return product

    def float32_product(self, move: Array) -> Array:
        """Return F v, computed in float32."""
        product: Array = self.penalised_loss.in_float32.products(self._float32_scores, move[None])[0]
        return product

    def build(self, option: PreconditionerOption) -> PreconditioningInformation:
        """Return F in the structure of an option; in float32 if that is allowed and has the range."""
        if option.rank:
            return self._of_low_rank(option.rank)
        structure = PRECONDITIONERS[option.key]
        if option.key not in FLOAT64_KEYS:
            penalised_loss = self.penalised_loss.in_float32 if self.uses_float32 else self.penalised_loss
            information = penalised_loss.information(self._float32_scores, structure, float32=True)
            if self._is_representable(information.diagonal()):
                return information
        return self.penalised_loss.information(self.scores, structure)

    def is_low_rank(self, rank: int) -> bool:
        """Say whether so many pairs of a row and a class have almost all of the trace of Λ⁻¹F."""
        pairs = self.penalised_loss.source.total(self._largest_pairs(rank))
        return bool(pairs.largest.sum() >= MIN_SHARE * pairs.total)

    def _of_low_rank(self, rank: int) -> LowRankInformation:
        """Return F with so many pairs stored, fewer if others have the same contribution."""
        source, kernel = self.penalised_loss.source, self._largest_pairs(rank + 1)
        largest = source.total(kernel).largest
        information: LowRankInformation = source.total(
            LowRankKernel(kernel, largest[rank] if largest.size > rank else 0.0)
        )
        return information

    def _largest_pairs(self, count: int) -> LargestPairsKernel:
        prior = self.penalised_loss.prior.precision
        return LargestPairsKernel(
            self.scores, np.divide(1.0, prior, out=np.zeros_like(prior), where=prior > 0.0), count
        )

    def _is_representable(self, diagonal: Array) -> bool:
        """Say whether no sum of squares overflows float32, nor underflows in a column without a prior."""
        lost = (diagonal < FLOAT32_FLOOR) & (self.penalised_loss.prior.precision == 0.0)
        return bool(np.isfinite(diagonal).all() and not lost.any())
