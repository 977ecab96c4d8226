"""Kernels: functions of one block of rows, and how the results of two blocks merge. They can be pickled, for Dask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.categorical import predict
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information.dense import DenseInformation
from sknatgrad._model.information.low_rank import LowRankInformation
from sknatgrad._model.protocols import PooledInformation
from sknatgrad._rows.design import Design
from sknatgrad._rows.matrices import as_float32
from sknatgrad._rows.sampling import is_constant, largest_with_weight

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.categorical import Prediction
    from sknatgrad._model.expectations import Expectation
    from sknatgrad._model.protocols import RowScores, Scores
    from sknatgrad._model.score_covariance import ModelScores
    from sknatgrad._rows.source import RowBlock

Pooled = TypeVar("Pooled", bound=PooledInformation)


class BlockScores(NamedTuple):
    """The scores of one block, by two expectations over labels."""

    metric: Scores  # by the metric's expectation
    true: Scores  # over the labels of the model: those of the true Fisher information


@record
class StoredScores:
    """Scores of all rows, stored when they were measured: q numbers a row, or twice that."""

    blocks: tuple[Scores, ...]

    def of_block(self, block: RowBlock, n_columns: int) -> Scores:  # noqa: ARG002 - the protocol
        """Return those of a block."""
        return self.blocks[block.number]

    def as_float32(self) -> StoredScores:
        """Return the same in float32."""
        return StoredScores(tuple(of_block.as_float32() for of_block in self.blocks))


@record
class RecomputedScores:
    """Scores of all rows at θ, recomputed for every block: out of core, those of all rows may exceed memory."""

    theta: Array  # (q, d)
    expectation: Expectation

    def of_block(self, block: RowBlock, n_columns: int) -> Scores:
        """Return those of a block."""
        prediction = predict(Design.of_block(block, n_columns).logits(self.theta))
        return self.expectation.scores(prediction, block.codes, block.start)

    def as_float32(self) -> RecomputedScores:
        """Return the same: products out of core are computed in float64."""
        return self


class MetricScores(NamedTuple):
    """The scores of all rows at one point, by two expectations over labels."""

    metric: RowScores  # by the metric's expectation
    true: RowScores  # over the labels of the model: those of the true Fisher information

    @classmethod
    def stored(cls, blocks: tuple[BlockScores, ...]) -> MetricScores:
        """Return those that a measurement has stored for each block."""
        return cls(
            StoredScores(tuple(each.metric for each in blocks)), StoredScores(tuple(each.true for each in blocks))
        )

    @classmethod
    def recomputed(cls, theta: Array, expectation: Expectation) -> MetricScores:
        """Return those at θ, recomputed for every block."""
        return cls(RecomputedScores(theta, expectation), RecomputedScores(theta, TrueExpectation()))


class Sums(NamedTuple, Generic[Pooled]):
    """Sums over rows, without prior."""

    loss: float
    gradient: Array  # (q, d)
    information: Pooled
    weight: float
    max_loss: float  # a maximum, not a sum: the largest loss of a row with positive weight
    scores: tuple[BlockScores, ...] = ()  # of each block, if they are stored: q numbers a row, or twice that


@record
class MeasureKernel(Generic[Pooled]):
    """Loss, gradient and information at θ, in one pass."""

    theta: Array  # (q, d)
    expectation: Expectation
    structure: type[Pooled]
    store_scores: bool = False
    float32: bool = False  # whether the information is summed in float32

    def __call__(self, block: RowBlock) -> Sums[Pooled]:
        """Measure one block."""
        design = Design.of_block(block, self.theta.shape[-1])
        prediction = predict(design.logits(self.theta))
        row_loss, residual = prediction.loss_and_residual(block.codes)
        scores = self.expectation.scores(prediction, block.codes, block.start)
        weight = block.weight
        residual *= weight[:, None]
        constant = is_constant(weight)
        return Sums(
            loss=float(weight[0] * np.add.reduce(row_loss) if constant else np.add.reduce(weight * row_loss)),
            gradient=design.transposed_product(residual),
            information=self._information(design, scores, weight),
            weight=weight.size * float(weight[0]) if constant else float(weight.sum()),
            max_loss=largest_with_weight(row_loss, weight),
            scores=(self._both(scores, prediction),) if self.store_scores else (),
        )

    def _information(self, design: Design, scores: Scores, weight: Array) -> Pooled:
        if self.float32:
            return self.structure.of_block(design, scores.as_float32(), as_float32(weight))
        return self.structure.of_block(design, scores, weight)

    def _both(self, scores: Scores, prediction: Prediction) -> BlockScores:
        return BlockScores(scores, scores if isinstance(self.expectation, TrueExpectation) else prediction.scores())

    def merge(self, left: Sums[Pooled], right: Sums[Pooled]) -> Sums[Pooled]:
        """Pool two runs of rows."""
        return Sums(
            loss=left.loss + right.loss,
            gradient=left.gradient + right.gradient,
            information=left.information.merge(right.information),
            weight=left.weight + right.weight,
            max_loss=max(left.max_loss, right.max_loss),
            scores=left.scores + right.scores,
        )


@record
class InformationKernel(Generic[Pooled]):
    """The information of given scores in some structure."""

    scores: RowScores
    structure: type[Pooled]
    n_columns: int
    float32: bool = False  # whether the scores and the blocks are in float32

    def __call__(self, block: RowBlock) -> Pooled:
        """Return the information of one block."""
        weight = as_float32(block.weight) if self.float32 else block.weight
        scores = self.scores.of_block(block, self.n_columns)
        return self.structure.of_block(Design.of_block(block, self.n_columns), scores, weight)

    def merge(self, left: Pooled, right: Pooled) -> Pooled:
        """Pool two runs of rows."""
        return left.merge(right)


class LargestPairs(NamedTuple):
    """The largest contributions of pairs of a row and a class to tr(Λ⁻¹F), and the sum of all."""

    largest: Array  # (count,) at most, in descending order
    total: float


@record
class LargestPairsKernel:
    """The contributions s_i p_ik ‖e_k − p_i‖² x_iᵀΛ⁻¹x_i to the trace of Λ⁻¹F, of more than two classes."""

    scores: RowScores
    inverse_prior: Array  # (d,), the diagonal of Λ⁻¹; 0 for a column without prior
    count: int

    def __call__(self, block: RowBlock) -> LargestPairs:
        """Return the largest of one block."""
        contributions = self.contributions(block).ravel()
        return LargestPairs(self._largest(contributions), float(contributions.sum()))

    def contributions(self, block: RowBlock) -> Array:
        """Return the contribution of each row and class, ``(m, q)``."""
        n_columns = self.inverse_prior.size
        squares = Design.of_block(block, n_columns).squared_logits(self.inverse_prior[None])
        contributions: Array = self.scores_of(block).traces() * (block.weight[:, None] * squares)
        return contributions

    def scores_of(self, block: RowBlock) -> ModelScores:
        """Return the scores of a block."""
        return cast("ModelScores", self.scores.of_block(block, self.inverse_prior.size))

    def _largest(self, values: Array) -> Array:
        first = max(values.size - self.count, 0)
        largest: Array = np.sort(np.partition(values, first)[first:] if first else values)[::-1]
        return largest

    def merge(self, left: LargestPairs, right: LargestPairs) -> LargestPairs:
        """Pool two runs of rows."""
        return LargestPairs(self._largest(np.concatenate([left.largest, right.largest])), left.total + right.total)


@record
class LowRankKernel:
    """The information with those pairs stored whose contribution exceeds a threshold."""

    pairs: LargestPairsKernel
    threshold: float

    def __call__(self, block: RowBlock) -> LowRankInformation:
        """Return the information of one block."""
        design = Design.of_block(block, self.pairs.inverse_prior.size)
        stored = self.pairs.contributions(block) > self.threshold
        return LowRankInformation.of_block(design, self.pairs.scores_of(block), block.weight, stored)

    def merge(self, left: LowRankInformation, right: LowRankInformation) -> LowRankInformation:
        """Pool two runs of rows."""
        return left.merge(right)


@record
class HalvesKernel:
    """The true Fisher information at θ of two halves of the rows: of every other row of a block, and of the rest."""

    theta: Array  # (q, d)

    def __call__(self, block: RowBlock) -> tuple[DenseInformation, DenseInformation]:
        """Return those of one block."""
        design = Design.of_block(block, self.theta.shape[1])
        first, second = (self._half(design, block.weight, slice(start, None, 2)) for start in range(2))
        return first, second

    def _half(self, design: Design, weight: Array, part: slice) -> DenseInformation:
        rows = design.rows(part)
        return DenseInformation.of_block(rows, predict(rows.logits(self.theta)).scores(), weight[part])

    def merge(
        self, left: tuple[DenseInformation, DenseInformation], right: tuple[DenseInformation, DenseInformation]
    ) -> tuple[DenseInformation, DenseInformation]:
        """Pool two runs of rows."""
        return left[0].merge(right[0]), left[1].merge(right[1])


@record
class ShiftKernel:
    """The largest change, nats, of the difference of two logits of a row of positive weight along a step.

    The Fisher information at both ends then differs by a factor of at most its exponential along any direction: its
    derivative along the step is a third cumulant of the logits of a row, at most their range times the variance.
    """

    move: Array  # (q, d)

    def __call__(self, block: RowBlock) -> float:
        """Return that of one block."""
        logits = Design.of_block(block, self.move.shape[1]).logits(self.move)
        changes = abs(logits[:, 0]) if logits.shape[1] == 1 else logits.max(axis=1) - logits.min(axis=1)
        return largest_with_weight(changes, block.weight)

    def merge(self, left: float, right: float) -> float:
        """Pool two runs of rows."""
        return max(left, right)


@record
class SquaresKernel:
    """Σ s x² and Σ (s x²)² of every column; their ratio is a mean of s x² in which large values dominate."""

    n_columns: int

    def __call__(self, block: RowBlock) -> Array:
        """Return the sums over one block, ``(2, d)``."""
        squared = Design(block.X, intercept=False).squared()
        sums = np.zeros((2, self.n_columns))
        # all rows inform the intercept: its sums stay 0
        for power, (row, design) in enumerate(zip(sums, (squared, squared.squared()), strict=True), start=1):
            row[: design.n_columns] = design.transposed_product(block.weight[:, None] ** power)[0]
        return sums

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


@record
class FisherProductKernel:
    """F v for several v at once, without forming F: logits of v, given scores applied, one transposed product.

    In float32 if the block and the scores are.
    """

    scores: RowScores
    moves: Array  # (j, q, d)

    def __call__(self, block: RowBlock) -> Array:
        """Return the products over one block, ``(j, q, d)``."""
        design = Design.of_block(block, self.moves.shape[-1])
        # moves of several logits go in one product; of one logit, j products with vectors are faster than one with a
        # thin matrix
        together = self.moves[None] if self.moves.shape[1] > 1 else self.moves[:, None]
        scores = self.scores.of_block(block, self.moves.shape[-1])
        products = [self._products(design, block, scores, moves) for moves in together]
        return products[0] if len(products) == 1 else np.concatenate(products)

    @staticmethod
    def _products(design: Design, block: RowBlock, scores: Scores, moves: Array) -> Array:
        n_logits = moves.shape[1]
        logits = design.logits(moves.reshape(-1, moves.shape[2]).astype(block.X.dtype, copy=False))
        if len(moves) == 1:
            rows = scores.apply(logits)
        else:
            rows = np.empty_like(logits)
            for start in range(0, logits.shape[1], n_logits):
                part = slice(start, start + n_logits)
                rows[:, part] = scores.apply(logits[:, part])
        rows *= block.weight[:, None]
        return design.transposed_product(rows).reshape(moves.shape)

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right
