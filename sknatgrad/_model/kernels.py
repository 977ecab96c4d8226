"""Kernels: what is computed of one block of rows, and how two blocks pool. Frozen, so that they travel by pickle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._model.categorical import TrueExpectation, predict
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._model.categorical import Expectation, Prediction
    from sknatgrad._model.information import Structure
    from sknatgrad._model.protocols import RowScores, Scores
    from sknatgrad._rows.source import RowBlock
    from sknatgrad._typing import Array


class BlockScores(NamedTuple):
    """The scores of one block."""

    own: Scores  # by the metric's expectation
    model: Scores  # over the model's own labels: the true Fisher's


@dataclass(frozen=True)
class KeptScores:
    """Scores of all rows that were kept when they were measured: q numbers a row, or twice that."""

    blocks: tuple[Scores, ...]

    def of_block(self, block: RowBlock, n_columns: int) -> Scores:  # noqa: ARG002 - one signature for both
        """Return those of a block."""
        return self.blocks[block.number]

    def rounded(self) -> KeptScores:
        """Return the same in float32."""
        return KeptScores(tuple(of_block.rounded() for of_block in self.blocks))


@dataclass(frozen=True)
class ScoresAt:
    """Scores of all rows at θ, computed anew for every block: rows that are far may be more than memory holds."""

    theta: Array  # (q, d)
    expectation: Expectation

    def of_block(self, block: RowBlock, n_columns: int) -> Scores:
        """Return those of a block."""
        prediction = predict(Design.of_block(block, n_columns).logits(self.theta))
        return self.expectation.scores(prediction, block.codes, block.start)

    def rounded(self) -> ScoresAt:
        """Return the same: rows that are far are not rounded."""
        return self


class MetricScores(NamedTuple):
    """The scores of all rows at one point."""

    own: RowScores  # by the metric's expectation
    model: RowScores  # over the model's own labels

    @classmethod
    def kept(cls, blocks: tuple[BlockScores, ...]) -> MetricScores:
        """Return those of blocks that kept theirs."""
        return cls(KeptScores(tuple(each.own for each in blocks)), KeptScores(tuple(each.model for each in blocks)))

    @classmethod
    def at(cls, theta: Array, expectation: Expectation) -> MetricScores:
        """Return those of rows that are far."""
        return cls(ScoresAt(theta, expectation), ScoresAt(theta, TrueExpectation()))


class Sums(NamedTuple):
    """Sums over rows, without prior."""

    loss: float
    gradient: Array  # (q, d)
    information: Any  # a structure of `_information`
    weight: float
    worst: float  # a maximum, not a sum: the largest loss of a row with positive weight
    scores: tuple[BlockScores, ...] = ()  # of each block, where they are kept: q numbers a row, or twice that


@dataclass(frozen=True)
class MeasureKernel:
    """Loss, gradient and information at θ, in one pass."""

    theta: Array  # (q, d)
    expectation: Expectation
    structure: Structure
    keep: bool = False  # whether to return the scores too

    def __call__(self, block: RowBlock) -> Sums:
        """Measure one block."""
        design = Design.of_block(block, self.theta.shape[-1])
        prediction = predict(design.logits(self.theta))
        row_loss = prediction.loss(block.codes)
        own = self.expectation.scores(prediction, block.codes, block.start)
        residual = prediction.residual(block.codes)
        residual *= block.weight[:, None]
        return Sums(
            loss=float((block.weight * row_loss).sum()),
            gradient=design.transposed_product(residual),
            information=self.structure.of_block(design, own, block.weight),
            weight=float(block.weight.sum()),
            worst=_worst(row_loss, block.weight),
            scores=(self._kept(own, prediction),) if self.keep else (),
        )

    def _kept(self, own: Scores, prediction: Prediction) -> BlockScores:
        return BlockScores(own, own if isinstance(self.expectation, TrueExpectation) else prediction.scores())

    def merge(self, left: Sums, right: Sums) -> Sums:
        """Pool two runs of rows."""
        return Sums(
            loss=left.loss + right.loss,
            gradient=left.gradient + right.gradient,
            information=left.information.merge(right.information),
            weight=left.weight + right.weight,
            worst=max(left.worst, right.worst),
            scores=left.scores + right.scores,
        )


def _worst(row_loss: Array, weight: Array) -> float:
    counts = weight > 0
    # to choose among rows takes longer than all the rest
    return float(row_loss.max(initial=0.0) if counts.all() else row_loss.max(initial=0.0, where=counts))


@dataclass(frozen=True)
class InformationKernel:
    """The information in some structure, of scores that are known; in single precision if they are."""

    scores: RowScores
    structure: Structure
    n_columns: int
    rounded: bool = False

    def __call__(self, block: RowBlock) -> Any:
        """Return the information of one block."""
        weight: Any = block.weight.astype(np.float32) if self.rounded else block.weight
        scores = self.scores.of_block(block, self.n_columns)
        return self.structure.of_block(Design.of_block(block, self.n_columns), scores, weight)

    def merge(self, left: Any, right: Any) -> Any:
        """Pool two runs of rows."""
        return left.merge(right)


@dataclass(frozen=True)
class SquaresKernel:
    """Σ s x² and Σ (s x²)² of every column: their ratio is the s x² of a row, in a mean that knows the large ones."""

    n_columns: int

    def __call__(self, block: RowBlock) -> Array:
        """Return the sums over one block, ``(2, d)``."""
        squared = Design(block.X, intercept=False).squared()
        sums = np.zeros((2, self.n_columns))
        # all rows tell of the intercept: it stays 0
        for power, (row, design) in enumerate(zip(sums, (squared, squared.squared()), strict=True), start=1):
            row[: design.n_columns] = design.transposed_product(block.weight[:, None] ** power)[0]
        return sums

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


@dataclass(frozen=True)
class FisherProductKernel:
    """F v for several v at once, without forming F: logits of v, scores that are known, then one pull back.

    In single precision if the block and the scores are.
    """

    scores: RowScores
    moves: Array  # (j, q, d)

    def __call__(self, block: RowBlock) -> Array:
        """Return the products over one block, ``(j, q, d)``."""
        design = Design.of_block(block, self.moves.shape[-1])
        # several logits all at once; single ones are faster as so many products with vectors than with a thin matrix
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
