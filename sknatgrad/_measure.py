"""Kernels: what is computed of one block of rows, and how two blocks pool. Frozen, so that they travel by pickle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._categorical import predict
from sknatgrad._design import Design

if TYPE_CHECKING:
    from sknatgrad._categorical import Expectation
    from sknatgrad._information import Structure
    from sknatgrad._typing import Array, RowBlock


class Sums(NamedTuple):
    """Sums over rows, without prior."""

    loss: float
    gradient: Array  # (q, d)
    information: Any  # a structure of `_information`
    weight: float
    worst: float  # a maximum, not a sum: the largest loss of a row with positive weight


@dataclass(frozen=True)
class MeasureKernel:
    """Loss, gradient and information at θ, in one pass."""

    theta: Array  # (q, d)
    expectation: Expectation
    structure: Structure

    def __call__(self, block: RowBlock) -> Sums:
        """Measure one block."""
        design = Design.of(block.X, self.theta)
        prediction = predict(design.logits(self.theta))
        row_loss = prediction.loss(block.codes)
        scores = self.expectation.scores(prediction, block.codes, block.start)
        return Sums(
            loss=float(block.weight @ row_loss),
            gradient=design.pull_back(block.weight[:, None] * prediction.residual(block.codes)),
            information=self.structure.of_block(design, scores, block.weight),
            weight=float(block.weight.sum()),
            worst=float(row_loss.max(initial=0.0, where=block.weight > 0)),
        )

    def merge(self, left: Sums, right: Sums) -> Sums:
        """Pool two runs of rows."""
        return Sums(
            loss=left.loss + right.loss,
            gradient=left.gradient + right.gradient,
            information=left.information.merge(right.information),
            weight=left.weight + right.weight,
            worst=max(left.worst, right.worst),
        )


@dataclass(frozen=True)
class FisherProductKernel:
    """F v at θ for several v at once, without forming F: logits of θ and of v, then one pull back."""

    theta: Array  # (q, d)
    moves: Array  # (j, q, d)
    expectation: Expectation

    def __call__(self, block: RowBlock) -> Array:
        """Return the products over one block, ``(j, q, d)``."""
        design = Design.of(block.X, self.theta)
        scores = self.expectation.scores(predict(design.logits(self.theta)), block.codes, block.start)
        return np.stack(
            [design.pull_back(block.weight[:, None] * scores.apply(design.logits(move))) for move in self.moves]
        )

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right
